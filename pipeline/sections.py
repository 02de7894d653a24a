"""Parts of a file that can be rendered apart: where they are cut, and their frames out of the decoder.

A cut lies before every SEGMENT_FRAMES-th frame, whatever the frames show. A part is decoded from a key
frame before it; that this gives the pictures that decoding from the beginning gives is checked on its
first frame, by a hash that the first pass over the file left.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from veilcast.config import Limits
from veilcast.errors import DamagedMedia
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.demux import UNSTAMPED, translated
from veilcast.pipeline.encode import SEGMENT_FRAMES
from veilcast.pipeline.plan import Plan
from veilcast.types import Frame

Json = dict[str, Any]

BACK_S = (0, 4, 20)  # how far before a cut to look for its key frame, one after the other


class Elsewhere(Exception):
    """The container did not lead to the frame that was asked for. Decoding from the beginning does."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One part of a file: frames `first` to `end` - 1."""

    number: int
    first: int
    end: int
    pts: int  # of frame `first`
    picture: str  # hash of its samples

    @classmethod
    def of(cls, values: Json) -> Cut:
        return cls(**values)

    def json(self) -> Json:
        return asdict(self)


@dataclass(slots=True)
class Scout:
    """What the first pass over a file notes besides its faces. A `Tap` for `detect_file`."""

    reads: array[int] = field(default_factory=lambda: array("q"))  # packets read when frame i came out
    pictures: list[str] = field(default_factory=list)  # hash of each part's first frame
    leads: bool = True  # whether the container can be entered at a time

    def __call__(self, decoder: Decoder, frames: Iterator[Frame]) -> Iterator[Frame]:
        self.leads = decoder.container.format.name not in UNSTAMPED
        for frame in frames:
            self.reads.append(decoder.demuxer.read)
            if frame.index % SEGMENT_FRAMES == 0:
                self.pictures.append(hashed(frame))
            yield frame

    def cuts(self, plan: Plan) -> list[Cut]:
        firsts = range(0, len(plan), SEGMENT_FRAMES)
        return [
            Cut(n, first, min(first + SEGMENT_FRAMES, len(plan)), plan[first].pts, self.pictures[n])
            for n, first in enumerate(firsts)
        ]


def hashed(frame: Frame) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for plane in frame.planes:
        digest.update(plane.tobytes())
    return digest.hexdigest()


class Section(Decoder):
    """The frames from one cut on, numbered as in the whole file. `back_s`: how far before the cut to
    enter the container; None = at the beginning of the file."""

    def __init__(
        self,
        source: Path,
        cut: Cut,
        back_s: int | None,
        limits: Limits = Limits(),  # noqa: B008  (frozen)
        damaged: Literal["refuse", "slate"] = "refuse",
    ) -> None:
        super().__init__(source, limits, damaged)
        self._cut, self._back_s = cut, back_s

    def frames(self) -> Iterator[Frame]:
        """Raises Elsewhere, in place of the first frame, where it is not the one of the cut. One that is
        damaged is covered whole, whatever it shows."""
        if self._back_s is None or self._cut.first == 0:
            yield from self._from_the_beginning()
            return
        self.demuxer.settle()
        with translated(self.source, "decoding"):
            index = self._cut.first
            for decoded in self._sought(self._back_s):
                frame = self._frame(index, decoded.pts, decoded, damaged=False)
                self._check(frame)
                yield frame
                index += 1

    def _from_the_beginning(self) -> Iterator[Frame]:
        for frame in super().frames():
            if frame.index >= self._cut.first:
                self._check(frame)
                yield frame
            elif self._retain:
                self.carrier(frame.index)

    def _check(self, frame: Frame) -> None:
        if frame.index == self._cut.first and not frame.damaged and hashed(frame) != self._cut.picture:
            raise Elsewhere(f"frame {frame.index} is not the one that was looked at")

    def _sought(self, back_s: int) -> Iterator[Any]:
        """Pictures from the cut on, decoded from a key frame before it."""
        first = self._cut.pts
        place = first - round(Fraction(back_s) / self.info.time_base)
        self.container.seek(place, stream=self.stream, backward=True)
        codec = self.stream.codec_context
        codec.flush_buffers()
        entered = started = False
        for packet in self._demux():
            self.demuxer.unload()
            if packet is not None and not entered:
                if not packet.is_keyframe or packet.pts is None:
                    continue
                if packet.pts > first:
                    raise Elsewhere(f"no key frame before frame {self._cut.first}")
                entered = True
            for decoded in codec.decode(packet):
                if decoded.is_corrupt or decoded.pts is None:
                    raise DamagedMedia(f"{self.source}: a frame is damaged")
                if not started and decoded.pts < first:
                    continue
                if not started and decoded.pts != first:
                    raise Elsewhere(f"frame {self._cut.first} is not where it was")
                started = True
                yield decoded
        if not started:
            raise Elsewhere(f"frame {self._cut.first} was not met")

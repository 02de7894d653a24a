"""Encoded parts of a video on the disk, and how they become one file. Beside encode.py, whose encoder both
classes are, the only place that handles encoded pictures.

A segment holds packets of covered frames alone. Joined, segments are muxed call by call as one encoder
would have done it, so that the file has the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import uuid
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from veilcast.config import Encode
from veilcast.errors import PrivacyTripped, WorkerDied
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.encode import NO_TAGS, SEGMENT_FRAMES, Encoder, packed, writing
from veilcast.pipeline.ledger import Fate, Ledger, Stretch

Json = dict[str, Any]
FrameNote = tuple[int, int, int]  # pts, stated duration (0 = none), packets that came when it was encoded
PacketNote = tuple[int, bool, int]  # pts counted from the segment's first frame, key frame, bytes

MAGIC = b"VEILSEG1"
_END = struct.Struct("<Q8s")  # bytes of the index, MAGIC


def segment_path(folder: Path, number: int) -> Path:
    return folder / f"segment-{number:06d}"


class SegmentEncoder(Encoder):
    """Encodes frames into segment files in `folder`, from segment `number` on; a fresh encoder each.

    scratch: a name whose suffix is the output's; nothing is written there. ledger_of: the ledger of a
    segment. on_segment: told (number, sha256) of each that is whole and on the disk.
    """

    def __init__(
        self,
        decoder: Decoder,
        scratch: Path,
        folder: Path,
        number: int,
        ledger_of: Callable[[int], Ledger],
        on_segment: Callable[[int, str], None],
        settings: Encode = Encode(),  # noqa: B008  (frozen)
        tags: Mapping[str, str] = NO_TAGS,
    ) -> None:
        super().__init__(decoder, scratch, settings, tags)
        self._folder, self._number = folder, number
        self._ledger_of, self._on_segment = ledger_of, on_segment
        # a name of its own: an actor that is given up may still be writing the same segment
        self._own = uuid.uuid4().hex
        self._file: BinaryIO | None = None
        self._frames: list[FrameNote] = []
        self._notes: list[PacketNote] = []
        if number:
            self._begin_segment()

    def close(self) -> None:
        """Ends the last segment. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        with writing(self._target):
            if self._frames:
                self._finish()
            self._out.close()

    def _note(self, pts: int, duration: int) -> None:
        super()._note(pts, duration)
        self._frames.append((pts, duration or 0, 0))

    def _end_segment(self) -> None:
        self._finish()
        self._begin_segment()

    def _mux_video(self, packets: Sequence[Any], last: bool = False) -> None:
        if self._file is None:
            self._file = self._part().open("wb")
        for packet in packets:
            data = bytes(packet)
            self._file.write(data)
            self._notes.append((int(packet.pts or 0), bool(packet.is_keyframe), len(data)))
        pts, duration, _ = self._frames[-1]
        self._frames[-1] = (pts, duration, len(packets))
        self._times.forget_durations()

    def _mux_copies(self, packets: Iterable[Any]) -> None:
        """They are added when the segments are joined."""

    def _part(self) -> Path:
        return self._folder / f"part-{self._number:06d}-{self._own}"

    def _finish(self) -> None:
        """What the encoder still holds, the index, the disk, the name."""
        pts, duration, before = self._frames[-1]
        self._mux_video(self._context.encode(None))
        self._frames[-1] = (pts, duration, before)
        ledger = self._ledger_of(self._number)
        ledger.balance(len(self._frames))
        index = {
            "number": self._number,
            "frames": self._frames,
            "packets": self._notes,
            "stretches": [asdict(stretch) for stretch in ledger.stretches],
        }
        data = json.dumps(index).encode()
        assert self._file is not None
        self._file.write(data + _END.pack(len(data), MAGIC))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        with self._part().open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self._part().rename(segment_path(self._folder, self._number))
        self._on_segment(self._number, sha256)
        self._number += 1
        self._file, self._frames, self._notes = None, [], []


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment on the disk."""

    path: Path
    number: int
    frames: Sequence[FrameNote]
    packets: Sequence[PacketNote]
    stretches: Sequence[Stretch]

    def calls(self) -> Iterator[tuple[FrameNote | None, list[Any]]]:
        """Each frame with the packets that came with it, then (None, those that came at the end)."""
        with self.path.open("rb") as file:
            notes = iter(self.packets)
            for frame in self.frames:
                yield frame, [_read(file, next(notes)) for _ in range(frame[2])]
            yield None, [_read(file, note) for note in notes]


def _read(file: BinaryIO, note: PacketNote) -> Any:
    pts, key, size = note
    return packed(file.read(size), pts, key)


def open_segment(path: Path, sha256: str) -> Segment:
    """Raises WorkerDied, as its work is to be done again, unless the file is the one that was written."""
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise WorkerDied(f"{path.name} is not what was written; it is rendered again")
            file.seek(-_END.size, os.SEEK_END)
            size, magic = _END.unpack(file.read(_END.size))
            if magic != MAGIC:
                raise WorkerDied(f"{path.name} is no segment; it is rendered again")
            file.seek(-_END.size - size, os.SEEK_END)
            told = json.loads(file.read(size))
    except OSError as error:
        raise WorkerDied(f"{path.name} cannot be read ({error.strerror}); it is rendered again") from None
    stretches = [Stretch(s["first"], s["last"], Fate(s["fate"]), s["reason"]) for s in told["stretches"]]
    return Segment(path, told["number"], told["frames"], told["packets"], stretches)


class Joiner(Encoder):
    """Writes the file that one `Encoder` would have written, from segments. `reads`: how many packets of
    the source were read when each frame came out of the decoder, which says where its sound belongs."""

    def __init__(
        self, decoder: Decoder, target: Path, settings: Encode, tags: Mapping[str, str], reads: array[int]
    ) -> None:
        super().__init__(decoder, target, settings, tags)
        self._reads = reads
        self._tail: list[Any] = []

    def write(self, safe: object) -> None:
        raise PrivacyTripped("a joiner takes segments, not frames")

    def add(self, segment: Segment) -> None:
        """The next segment."""
        with writing(self._target):
            self._mux_video(self._tail)
            self._segment = len(self._times)
            for frame, packets in segment.calls():
                if frame is None:
                    self._tail = packets
                    break
                number = len(self._times)
                self._note(frame[0], frame[1])
                passengers = self._decoder.demuxer.skim(self._reads[number])
                self._mux_video(packets)
                self._mux_copies(passengers)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with writing(self._target):
            if len(self._times):
                self._mux_video(self._tail, last=True)
            self._mux_copies(self._decoder.demuxer.skim(None))
            self._out.close()
            with self._target.open("rb") as file:
                os.fsync(file.fileno())


def segment_of(index: int) -> int:
    """The segment that a frame is in."""
    return index // SEGMENT_FRAMES


def joined_ledger(stretches: Iterable[Stretch], frames: int) -> Ledger:
    """The ledger of the whole file. Raises PrivacyTripped unless every frame has its fate, once."""
    whole = Ledger()
    due = 0
    for stretch in stretches:
        if stretch.first != due:
            raise PrivacyTripped(f"frame {due} has no fate: the segments do not follow one another")
        due = stretch.last + 1
        whole.counts[stretch.fate] += due - stretch.first
        last = whole.stretches[-1] if whole.stretches else None
        if last and (last.fate, last.reason) == (stretch.fate, stretch.reason):
            whole.stretches[-1] = Stretch(last.first, stretch.last, last.fate, last.reason)
        else:
            whole.stretches.append(stretch)
    whole.balance(frames)
    return whole

"""Packets -> frames.

A file is decoded twice (find, then cover); both times give the same frames with the same indices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import av
import av.error
from av.container import InputContainer

from veilcast.config import Limits
from veilcast.errors import DamagedMedia, NotVideo, UnsupportedMedia
from veilcast.pipeline import hdr
from veilcast.pipeline.admission import (
    check_clock,
    check_limits,
    check_square,
    check_whole,
)
from veilcast.pipeline.boxes import missing_bytes
from veilcast.pipeline.carriers import (
    blacken,
    display_matrix,
    side_data,
    side_kinds,
    views,
)
from veilcast.pipeline.codecs import pixel_format
from veilcast.pipeline.demux import UNSTAMPED, Demuxer, open_input, translated
from veilcast.pipeline.description import facts, stream_info
from veilcast.pipeline.tally import Tally
from veilcast.types import Elsewhere, Frame, PixelFormat, Plane

# any broken rule of the bit stream is an error: by itself FFmpeg passes over most damage in silence
STRICT = {"err_detect": "explode"}
DAV1D_THREADS = 4
SLACK_FRAMES = 3  # how far a container's stated duration may lie beyond what it holds


@dataclass(frozen=True, slots=True)
class Carrier:
    """A decoded picture with its side data, and what other streams brought before it."""

    picture: av.VideoFrame
    packets: tuple[av.Packet[Any], ...]


class Decoder:
    """The video stream of one file, frame by frame. A context manager.

    Raises InputMissing, NotVideo, UnsupportedMedia, InputTooLarge, DamagedMedia.
    """

    def __init__(
        self,
        source: Path,
        limits: Limits = Limits(),  # noqa: B008  (frozen)
        damaged: Literal["refuse", "slate"] = "refuse",
        writable: bool = True,
        threads: int = 1,
    ) -> None:
        """`writable=False` saves a copy of each frame where they are only looked at. More `threads` are
        faster and miss some damage: for a pass over what another one judges."""
        self.source = source
        self._slate, self._writable, self._threads = damaged == "slate", writable, threads
        self._retain = False
        self._carriers: dict[int, Carrier] = {}
        self.container = self._open_container()
        self._tally = Tally(trusted=self.container.format.name not in UNSTAMPED)
        try:
            self._open(limits)
        except BaseException:
            self.close()
            raise

    def _open(self, limits: Limits) -> None:
        self.demuxer = Demuxer(self.source, self.container, tolerant=self._slate)
        self.stream = self.demuxer.video
        check_limits(self.source, self.container, self.stream, limits)
        if not self._slate and "mov" in self.container.format.name and missing_bytes(self.source):
            raise DamagedMedia(f"{self.source} is cut off: its last part is missing")
        self.told = self.demuxer.told()
        check_whole(self.source, self.told)
        self._set_codec()
        self._decoded = self._decode_slating() if self._slate else self._decode_strictly()
        self.first, self._first_damaged = self._prime()
        check_clock(self.source, self.container, self.first.pts)
        self.matrix = display_matrix(self.first)
        mastering = side_data(self.first, "MASTERING_DISPLAY_METADATA")
        self.side_kinds = side_kinds(self.first)
        self.light = hdr.light(mastering, side_data(self.first, "CONTENT_LIGHT_LEVEL"))
        layout = self._layout(self.first)
        self.info = stream_info(self.source, self.container, self.stream, self.first, layout)
        check_square(self.source, self.info.sample_aspect_ratio)
        self._same = (self.first.width, self.first.height, self.first.format.name)
        self._aspect = self.stream.codec_context.sample_aspect_ratio

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.container.close()

    # -- what the file is

    @property
    def facts(self) -> dict[str, Any]:
        return facts(self.container, self.info, self.interlaced)

    @property
    def interlaced(self) -> bool:
        return self.first.interlaced_frame or int(self.stream.codec_context.field_order) > 1

    @property
    def nominal_ticks(self) -> int:
        """A frame's duration at the stream's own rate, in ticks of its time base, at least 1."""
        rate = self.stream.average_rate or self.stream.guessed_rate
        return max(1, round(1 / (rate * self.info.time_base))) if rate else 1

    # -- for the encoder

    def carry(self, indices: frozenset[int]) -> None:
        """From now on keep the decoded frames and the packets of the streams `indices` until `carrier`
        fetches them; what comes after the last frame stays with the demuxer."""
        self._retain = True
        self.demuxer.carry(indices)

    def carrier(self, index: int) -> Carrier:
        """The decoded frame itself. Once: it is forgotten here."""
        return self._carriers.pop(index)

    # -- frames

    def frames(self) -> Iterator[Frame]:
        """Every frame in presentation order, once. Its planes are views of the decoder's own frame.

        Raises DamagedMedia in refuse mode; in slate mode what is or may be damaged comes with
        damaged=True, and a frame that could not be decoded at all comes as a blank one in its place."""
        self.demuxer.settle()
        last: int | None = None
        with translated(self.source, "decoding"):
            for index, (decoded, damaged) in enumerate(self._all()):
                last, sound = self._clock(decoded, last)
                if not sound and not self._slate:
                    raise DamagedMedia(f"{self.source}: time stamps do not rise at frame {index}")
                yield self._frame(index, last, decoded, damaged or not sound)

    def _frame(self, index: int, pts: int, decoded: av.VideoFrame, damaged: bool) -> Frame:
        info = self.info
        if (decoded.width, decoded.height, decoded.format.name) != self._same:
            decoded, damaged = self._misfit(decoded, index), True
        if not damaged:
            self._check_shown_alike(decoded, index)
        decoded.pts, decoded.time_base = pts, info.time_base
        planes, there = self._samples(decoded)
        if self._retain:
            self._carriers[index] = Carrier(decoded, tuple(self.demuxer.unload()))
        layout = (info.format, info.colour, info.orientation)
        return Frame(index, pts, info.time_base, planes, *layout, damaged, there)

    def _all(self) -> Iterator[tuple[av.VideoFrame, bool]]:
        yield self.first, self._first_damaged
        yield from self._decoded

    def _clock(self, decoded: av.VideoFrame, last: int | None) -> tuple[int, bool]:
        """The frame's pts, and whether it follows the last one."""
        step = decoded.duration or self.nominal_ticks
        slot = self._tally.slot()
        pts = decoded.pts if slot is None else slot
        if pts is None:
            return (0 if last is None else last + step), True
        if last is not None and pts <= last:
            return last + step, False
        return pts, True

    def _misfit(self, decoded: av.VideoFrame, index: int) -> av.VideoFrame:
        """What stands for a frame whose size or format differs from the first one's."""
        info = self.info
        if not self._slate:
            raise UnsupportedMedia(
                f"{self.source} changes its picture from {info.width}x{info.height} {info.format.name} to "
                f"{decoded.width}x{decoded.height} {decoded.format.name} at frame {index}; split it there"
            )
        return self._blank(None)

    def _check_shown_alike(self, decoded: av.VideoFrame, index: int) -> None:
        """Of what an encoder is told once for all frames. Progressive frames among interlaced ones are usual,
        and coded in fields lose nothing; fields coded as a frame would be lost."""
        aspect = self.stream.codec_context.sample_aspect_ratio
        if aspect != self._aspect:
            change = f"its sample aspect ratio from {self._aspect or 1} to {aspect or 1}"
        elif decoded.interlaced_frame and not self.interlaced:
            change = "from progressive to interlaced"
        else:
            return
        raise UnsupportedMedia(f"{self.source} changes {change} at frame {index}; split it there")

    def _blank(self, pts: int | None) -> av.VideoFrame:
        if not hasattr(self, "first"):
            raise DamagedMedia(f"{self.source} is damaged from its first frame on")
        frame = av.VideoFrame(self.first.width, self.first.height, self.first.format.name)
        blacken(frame, pixel_format(frame.format.name))
        frame.pts = pts
        return frame

    # -- packets

    def _decode_strictly(self) -> Iterator[tuple[av.VideoFrame, bool]]:
        """Frames, until anything at all is wrong."""
        for packet in self._demux():
            if packet is not None and packet.is_corrupt:
                raise DamagedMedia(f"{self.source}: the container marks a part of the video as corrupt")
            for frame in self.stream.codec_context.decode(packet):
                if frame.is_corrupt:
                    raise DamagedMedia(f"{self.source}: frame {self._tally.frames} is damaged")
                self._tally.came(frame.pts)
                yield frame, False
        self._check_complete()

    def _check_complete(self) -> None:
        """The container's own counts and durations against what came, for an end need not be the end."""
        in_fields = self._tally.frames > 0 and self.interlaced
        indexed = len(self.stream.index_entries)
        if (missing := self._tally.shortfall(self.stream.frames, indexed, in_fields)) is not None:
            raise DamagedMedia(f"{self.source} is damaged: {missing}")
        if self.container.duration and "matroska" in self.container.format.name:
            missing_s = Fraction(self.container.duration, 1_000_000) - self.demuxer.end_s
            if missing_s > SLACK_FRAMES * self.nominal_ticks * self.info.time_base:
                raise DamagedMedia(f"{self.source} ends {float(missing_s):.2f} s before its stated end")

    def _decode_slating(self) -> Iterator[tuple[av.VideoFrame, bool]]:
        """Frames with a flag: from an error until the next clean key frame all are suspect."""
        suspect = False
        clean_from: int | None = None  # pts of the key frame that ends a damaged part
        replaced: set[int] = set()  # pts that a blank stands for
        for packet in self._demux():
            frames, failed = self._try_decode(packet)
            if self.demuxer.has_failed() or failed or (packet is not None and packet.is_corrupt):
                suspect, clean_from = True, None
            elif suspect and clean_from is None and packet is not None and packet.is_keyframe:
                clean_from = packet.pts
            for frame in frames:
                if frame.pts in replaced:  # after a lost key frame they may come late, out of order
                    continue
                over = self._tally.came(frame.pts)
                for pts in over if suspect else ():
                    replaced.add(pts)
                    yield self._blank(pts), True
                if clean_from is not None and frame.pts is not None and frame.pts >= clean_from:
                    suspect, clean_from = False, None
                if frame.is_corrupt:
                    suspect, clean_from = True, None
                yield frame, suspect
        for pts in self._tally.rest() if suspect else ():
            yield self._blank(pts), True

    def _try_decode(self, packet: av.Packet[Any] | None) -> tuple[list[av.VideoFrame], bool]:
        try:
            return self.stream.codec_context.decode(packet), False
        except av.error.FFmpegError:
            return [], True

    def _demux(self) -> Iterator[av.Packet[Any] | None]:
        """The video's packets, None at the end."""
        for packet in self.demuxer.packets():
            if packet is not None:
                self._tally.sent(packet.pts, packet.dts, packet.is_discard)
            yield packet

    # -- opening

    def _open_container(self) -> InputContainer:
        return open_input(self.source)

    def _set_codec(self) -> None:
        codec = self.stream.codec_context
        codec.options = dict(STRICT)
        # One thread. With frame threads av loses an error that comes after a frame in the same call, with
        # slice threads H.264's marks of damage are lost: whether a broken file is refused would depend on
        # the machine and its load. dav1d's own threads report as one does.
        codec.thread_type = "SLICE" if self._threads == 1 else "FRAME"
        codec.thread_count = DAV1D_THREADS if codec.name == "libdav1d" else self._threads

    def _prime(self) -> tuple[av.VideoFrame, bool]:
        """The first frame: only it shows the pixel format and the side data for sure."""
        with translated(self.source, "decoding"):
            first = next(self._decoded, None)
        if first is None:
            raise NotVideo(f"{self.source} has a video stream without a single frame")
        # before its side data is looked at: av keeps pointers that a later copy would leave dangling
        self._own(first[0])
        return first

    # -- where samples lie: in this process's memory, unless a subclass says otherwise

    def _layout(self, decoded: av.VideoFrame) -> PixelFormat:
        return pixel_format(decoded.format.name)

    def _own(self, decoded: av.VideoFrame) -> None:
        """Sees to it that nobody else changes the picture, nor sees it change."""
        decoded.make_writable()

    def _samples(self, decoded: av.VideoFrame) -> tuple[tuple[Plane, ...], Elsewhere | None]:
        """The picture's planes here and elsewhere."""
        if self._writable:
            self._own(decoded)
        planes = views(decoded, self.info.format)
        for plane in planes:
            plane.flags.writeable = self._writable
        return planes, None

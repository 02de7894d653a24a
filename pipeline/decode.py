"""Packets -> frames. With encode.py the only user of av.

The content decides what a file is: its name never does, and only the containers in CONTAINERS are
tried. A file is decoded twice (find, then cover); both times give the same frames with the same indices.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Literal, Self

import av
import av.error
import av.logging
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.stream import VideoStream

from veilcast.config import Limits
from veilcast.errors import DamagedMedia, DiskFull, InputMissing, NotVideo, UnsupportedMedia
from veilcast.pipeline import hdr
from veilcast.pipeline.admission import (
    Told,
    check_clock,
    check_limits,
    check_opaque,
    check_square,
    check_whole,
    codec_name,
    told,
)
from veilcast.pipeline.boxes import missing_bytes
from veilcast.pipeline.carriers import (
    blacken,
    colour_of,
    display_matrix,
    orientation,
    side_data,
    side_kinds,
    views,
)
from veilcast.pipeline.codecs import pixel_format
from veilcast.pipeline.tally import Tally
from veilcast.types import Elsewhere, Frame, PixelFormat, Plane, StreamInfo

CONTAINERS = "mov,mp4,matroska,webm,mpegts,mxf,avi,mpeg"
# any broken rule of the bit stream is an error: by itself FFmpeg passes over most damage in silence
STRICT = {"err_detect": "explode"}
DAV1D_THREADS = 4
SLACK_FRAMES = 3  # how far a container's stated duration may lie beyond what it holds
GEN_PTS = 1  # AVFMT_FLAG_GENPTS
# whose pts are not times of presentation: frames take the times of their packets, in order
UNSTAMPED = ("avi", "mxf")
_DESCRIBING = Lock()  # the log is everybody's
READ_FAILURES = 100  # of the container, in slate mode, before the rest of it is given up


@contextmanager
def translated(path: Path, doing: str) -> Iterator[None]:
    """av's exceptions as ours: their texts may hold a URL with a password, and none may be shown."""
    try:
        yield
    except av.error.PermissionError:
        raise InputMissing(f"{path} may not be read; check its permissions") from None
    except (av.error.DecoderNotFoundError, av.error.PatchWelcomeError):
        raise UnsupportedMedia(f"{path} uses a codec or a feature that cannot be decoded here") from None
    except av.error.FFmpegError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull(f"no space left while {doing} {path}; free some and start again") from None
        raise DamagedMedia(f"{path} is damaged ({type(error).__name__} while {doing})") from None


def open_input(path: Path, card: HWAccel | None = None) -> InputContainer:
    """The container at `path`, whatever its name says; `card`: decodes its video. Raises InputMissing,
    NotVideo."""
    if not path.is_file():
        raise InputMissing(f"there is no file {path}; check the path")
    # "file:" keeps a name such as "concat:a|b" from being read as a protocol
    name = f"file:{path.absolute()}"
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    with translated(path, "opening"):
        try:
            container = av.open(name, "r", container_options=options, metadata_errors="replace", hwaccel=card)
        except (av.error.InvalidDataError, av.error.ArgumentError, av.error.EOFError):
            raise NotVideo(
                f"{path} is not a video in a known container ({CONTAINERS}), or is damaged"
            ) from None
    # av asks FFmpeg to make up missing time stamps; those are counted in `_clock` instead
    container.flags &= ~GEN_PTS
    return container


def described(container: InputContainer, stream: VideoStream) -> Told:
    """FFmpeg writes what av does not hand on into its log, which is silent but for this moment."""
    with _DESCRIBING:
        level = av.logging.get_level()
        av.logging.set_libav_level(av.logging.VERBOSE)
        av.logging.set_level(av.logging.INFO)
        try:
            return told(container.dumps_format(), stream.index)  # type: ignore[attr-defined]  # no stub has it
        finally:
            av.logging.set_level(level)
            av.logging.set_libav_level(av.logging.INFO)


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
        self.passengers: list[av.Packet[Any]] = []  # packets of other streams since the last frame
        self._carried: frozenset[int] | None = None  # their indices; None = nobody has said yet: all
        self._retain = False
        self._carriers: dict[int, Carrier] = {}
        self._unreadable = False  # the container could not be read since the last packet
        self._end = Fraction(0)  # seconds, of all streams
        self.packets_read = 0  # of all streams, so far
        self.container = self._open_container()
        self._tally = Tally(trusted=self.container.format.name not in UNSTAMPED)
        try:
            self._open(limits)
        except BaseException:
            self.close()
            raise

    def _open(self, limits: Limits) -> None:
        self.stream = self._main_stream()
        check_limits(self.source, self.container, self.stream, limits)
        if not self._slate and "mov" in self.container.format.name and missing_bytes(self.source):
            raise DamagedMedia(f"{self.source} is cut off: its last part is missing")
        self.told = described(self.container, self.stream)
        check_whole(self.source, self.told)
        self._set_codec()
        self._decoded = self._decode_slating() if self._slate else self._decode_strictly()
        self.first, self._first_damaged = self._prime()
        check_clock(self.source, self.container, self.first.pts)
        self.matrix = display_matrix(self.first)
        mastering = side_data(self.first, "MASTERING_DISPLAY_METADATA")
        self.side_kinds = side_kinds(self.first)
        self.light = hdr.light(mastering, side_data(self.first, "CONTENT_LIGHT_LEVEL"))
        self.info = self._describe()
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
        """Container, streams and the names of tags, for the report. No tag's value: it could name someone."""
        info = self.info
        return {
            "container": self.container.format.name,
            "codec": info.codec,
            "size": [info.width, info.height],
            "pixel_format": info.format.name,
            "rate": None if info.rate is None else str(info.rate),
            "time_base": str(info.time_base),
            "frames": info.frames,
            "duration_s": None if info.duration is None else float(info.duration),
            "interlaced": self.interlaced,
            "streams": [f"{s.index} {s.type} {codec_name(s)}" for s in self.container.streams],
            "tags": sorted(self.container.metadata),
        }

    @property
    def interlaced(self) -> bool:
        return self.first.interlaced_frame or int(self.stream.codec_context.field_order) > 1

    @property
    def timecode(self) -> str | None:
        """Of the first frame, hh:mm:ss:ff (";ff" drops frames), from wherever the container keeps it."""
        places = (
            self.stream.metadata,
            self.container.metadata,
            *(s.metadata for s in self.container.streams),
        )
        return next((tags["timecode"] for tags in places if "timecode" in tags), None)

    @property
    def nominal_ticks(self) -> int:
        """A frame's duration at the stream's own rate, in ticks of its time base, at least 1."""
        rate = self.stream.average_rate or self.stream.guessed_rate
        return max(1, round(1 / (rate * self.info.time_base))) if rate else 1

    # -- for the encoder

    def carry(self, indices: frozenset[int]) -> None:
        """From now on keep the decoded frames and the packets of the streams `indices` until `carrier`
        fetches them; what comes after the last frame stays in `passengers`."""
        self._carried, self._retain = indices, True
        self.passengers = [packet for packet in self.passengers if packet.stream.index in indices]

    def carrier(self, index: int) -> Carrier:
        """The decoded frame itself. Once: it is forgotten here."""
        return self._carriers.pop(index)

    def is_mute(self, stream: Any) -> bool:
        """Whether a sound that is announced has no packet in the whole file. Looked for only where FFmpeg,
        which reads some seconds ahead, found none. Raises UnsupportedMedia where it begins after those."""
        if stream.codec_context is None or stream.codec_context.sample_rate:
            return False
        with translated(self.source, "reading"), open_input(self.source) as again:
            if not any(packet.size for packet in again.demux(again.streams[stream.index])):
                return True
        raise UnsupportedMedia(
            f"sound of stream {stream.index} of {self.source} begins too late to be known; give --audio drop"
        )

    def skim(self, packets_read: int | None) -> list[av.Packet[Any]]:
        """Reads on without decoding until so many packets were read in all, None = to the end. Gives what
        the other streams brought since the last frame."""
        demuxed = self._demux()
        with translated(self.source, "reading"):
            while packets_read is None or self.packets_read < packets_read:
                if next(demuxed) is None:
                    break
        passengers, self.passengers = self.passengers, []
        return passengers

    # -- frames

    def frames(self) -> Iterator[Frame]:
        """Every frame in presentation order, once. Its planes are views of the decoder's own frame.

        Raises DamagedMedia in refuse mode; in slate mode what is or may be damaged comes with
        damaged=True, and a frame that could not be decoded at all comes as a blank one in its place."""
        if self._carried is None:
            self._carried = frozenset()
            self.passengers.clear()
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
            self._carriers[index] = Carrier(decoded, tuple(self.passengers))
            self.passengers = []
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
            missing_s = Fraction(self.container.duration, 1_000_000) - self._end
            if missing_s > SLACK_FRAMES * self.nominal_ticks * self.info.time_base:
                raise DamagedMedia(f"{self.source} ends {float(missing_s):.2f} s before its stated end")

    def _decode_slating(self) -> Iterator[tuple[av.VideoFrame, bool]]:
        """Frames with a flag: from an error until the next clean key frame all are suspect."""
        suspect = False
        clean_from: int | None = None  # pts of the key frame that ends a damaged part
        replaced: set[int] = set()  # pts that a blank stands for
        for packet in self._demux():
            frames, failed = self._try_decode(packet)
            if failed or self._unreadable or (packet is not None and packet.is_corrupt):
                suspect, clean_from, self._unreadable = True, None, False
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
        """The video's packets, None at the end; those of carried streams go to `passengers`."""
        for packet in self._read():
            self.packets_read += 1
            if packet.size == 0:  # av's flush packet, or an avi's "nothing new"
                continue
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.stream.time_base
                self._end = max(self._end, end)
            if packet.stream.index == self.stream.index:
                check_opaque(self.source, self.stream, packet)
                self._tally.sent(packet.pts, packet.dts, packet.is_discard)
                yield packet
            elif self._carried is None or packet.stream.index in self._carried:
                self.passengers.append(packet)
        yield None

    def _read(self) -> Iterator[av.Packet[Any]]:
        failures = 0
        while True:
            try:
                yield from self.container.demux()
                return
            except av.error.FFmpegError:
                failures += 1
                self._unreadable = True
                if not self._slate or failures > READ_FAILURES:
                    raise

    # -- opening

    def _open_container(self) -> InputContainer:
        return open_input(self.source)

    def _main_stream(self) -> VideoStream:
        with translated(self.source, "opening"):
            stream = self.container.streams.best("video")
        if not isinstance(stream, VideoStream) or "attached_pic" in str(stream.disposition.name):
            raise NotVideo(f"{self.source} has no video stream")
        if stream.codec_context is None:
            raise UnsupportedMedia(f"the video codec of {self.source} cannot be decoded here")
        return stream

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

    def _time_base(self) -> Fraction:
        base = self.stream.time_base
        if not base:
            raise DamagedMedia(f"{self.source} states no unit of time for its video")
        return Fraction(base)

    def _describe(self) -> StreamInfo:
        stream, first = self.stream, self.first
        duration = stream.duration * self._time_base() if stream.duration else None
        if duration is None and self.container.duration:
            duration = Fraction(self.container.duration, 1_000_000)
        return StreamInfo(
            codec=codec_name(stream),
            width=first.width,
            height=first.height,
            format=self._layout(first),
            colour=colour_of(first),
            orientation=orientation(self.matrix),
            sample_aspect_ratio=Fraction(stream.sample_aspect_ratio or 1),
            time_base=self._time_base(),
            rate=Fraction(stream.average_rate) if stream.average_rate else None,
            frames=stream.frames or None,
            duration=duration,
        )

"""A file -> packets, for decode.py.

The content decides what a file is: its name never does, and only the containers in CONTAINERS are tried.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any

import av
import av.error
import av.logging
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.stream import VideoStream

from veilcast.errors import DamagedMedia, DiskFull, InputMissing, NotVideo, UnsupportedMedia
from veilcast.pipeline.admission import Told, check_opaque, told

CONTAINERS = "mov,mp4,matroska,webm,mpegts,mxf,avi,mpeg"
# whose pts are not times of presentation: frames take the times of their packets, in order
UNSTAMPED = ("avi", "mxf")
GEN_PTS = 1  # AVFMT_FLAG_GENPTS
READ_FAILURES = 100  # of the container, where they are tolerated, before the rest of it is given up
_DESCRIBING = Lock()  # the log is everybody's


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
    # av asks FFmpeg to make up missing time stamps; those are counted by the decoder instead
    container.flags &= ~GEN_PTS
    return container


class Demuxer:
    """One file's packets: those of its video one by one, those of its other streams beside them.

    `tolerant`: what cannot be read is passed over. Raises NotVideo, UnsupportedMedia, DamagedMedia.
    """

    def __init__(self, source: Path, container: InputContainer, tolerant: bool = False) -> None:
        self.source, self.container, self._tolerant = source, container, tolerant
        self.video = self._main_stream()
        self.read = 0  # packets of all streams, so far
        self.end_s = Fraction(0)  # of what was read, of all streams
        self._failed = False  # reading, since somebody asked
        self._carried: frozenset[int] | None = None  # indices of streams; None = nobody has said yet: all
        self._passengers: list[av.Packet[Any]] = []

    def _main_stream(self) -> VideoStream:
        with translated(self.source, "opening"):
            stream = self.container.streams.best("video")
        if not isinstance(stream, VideoStream) or "attached_pic" in str(stream.disposition.name):
            raise NotVideo(f"{self.source} has no video stream")
        if stream.codec_context is None:
            raise UnsupportedMedia(f"the video codec of {self.source} cannot be decoded here")
        return stream

    def told(self) -> Told:
        """FFmpeg writes what av does not hand on into its log, which is silent but for this moment."""
        with _DESCRIBING:
            level = av.logging.get_level()
            av.logging.set_libav_level(av.logging.VERBOSE)
            av.logging.set_level(av.logging.INFO)
            try:
                # no stub has it
                return told(self.container.dumps_format(), self.video.index)  # type: ignore[attr-defined]
            finally:
                av.logging.set_level(level)
                av.logging.set_libav_level(av.logging.INFO)

    def is_mute(self, sound: Any) -> bool:
        """Whether a sound that is announced has no packet in the whole file. Looked for only where FFmpeg,
        which reads some seconds ahead, found none. Raises UnsupportedMedia where it begins after those."""
        if sound.codec_context is None or sound.codec_context.sample_rate:
            return False
        with translated(self.source, "reading"), open_input(self.source) as again:
            if not any(packet.size for packet in again.demux(again.streams[sound.index])):
                return True
        raise UnsupportedMedia(
            f"sound of stream {sound.index} of {self.source} begins too late to be known; give --audio drop"
        )

    # -- packets

    def packets(self) -> Iterator[av.Packet[Any] | None]:
        """The video's, None at the end."""
        for packet in self._all():
            self.read += 1
            if packet.size == 0:  # av's flush packet, or an avi's "nothing new"
                continue
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.stream.time_base
                self.end_s = max(self.end_s, end)
            if packet.stream.index == self.video.index:
                check_opaque(self.source, self.video, packet)
                yield packet
            elif self._carried is None or packet.stream.index in self._carried:
                self._passengers.append(packet)
        yield None

    def _all(self) -> Iterator[av.Packet[Any]]:
        failures = 0
        while True:
            try:
                yield from self.container.demux()
                return
            except av.error.FFmpegError:
                failures += 1
                self._failed = True
                if not self._tolerant or failures > READ_FAILURES:
                    raise

    def has_failed(self) -> bool:
        """Whether something could not be read since the last call."""
        failed, self._failed = self._failed, False
        return failed

    # -- packets of other streams

    def carry(self, indices: frozenset[int]) -> None:
        """From now on those of these streams alone are kept."""
        self._carried = indices
        self._passengers = [packet for packet in self._passengers if packet.stream.index in indices]

    def settle(self) -> None:
        """Who has not asked for any by now wants none."""
        if self._carried is None:
            self.carry(frozenset())

    def unload(self) -> list[av.Packet[Any]]:
        """What other streams brought since the last call."""
        passengers, self._passengers = self._passengers, []
        return passengers

    def skim(self, read: int | None) -> list[av.Packet[Any]]:
        """Reads on until so many packets were read in all, None = to the end, whatever the video's are.
        Gives what the other streams brought since the last call."""
        packets = self.packets()
        with translated(self.source, "reading"):
            while read is None or self.read < read:
                if next(packets) is None:
                    break
        return self.unload()

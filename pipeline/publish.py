"""Covered frames -> a live output: what encode.py is for files. It imports av for itself because a live
output keeps no promise to a source's container: one codec, times as they come, reopened when it breaks.

What goes in is a `SafeFrame` or a `Card`; a card holds no pixels, it is drawn here.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import av.error
from av.video.stream import VideoStream

from veilcast.config import Live
from veilcast.errors import ConfigError, NotWritable, PrivacyTripped
from veilcast.pipeline.addresses import Address, Kind
from veilcast.pipeline.carriers import views
from veilcast.pipeline.clocks import BASE, TICKS
from veilcast.pipeline.codecs import pixel_format
from veilcast.pipeline.files import part_of
from veilcast.pipeline.gate import SafeFrame
from veilcast.pipeline.mixer import Mixer
from veilcast.pipeline.recordings import SURVIVING, claimed, keep
from veilcast.pipeline.slates import Card, luma
from veilcast.types import Frame

MUXERS: dict[Kind, str] = {"rtsp": "rtsp", "rtmp": "flv", "udp": "mpegts", "hls": "hls"}
FILES = {".mp4": "mp4", ".mkv": "matroska", ".ts": "mpegts", ".mov": "mov"}
KEY_EVERY_S = 0.95  # just below a second, so that an HLS segment never lasts longer
NOMINAL_RATE = 25
HEADER_S = 2.0  # that a server which has just answered may take for each step of ANNOUNCE
PREVIEW_PX = 640  # the preview's width at most
SOUND_RATE = 48_000
SOUND_SAMPLES = 1024  # of one AAC frame

Item = SafeFrame | Card


@dataclass(frozen=True, slots=True)
class Output:
    """Where a stream goes and how it is encoded. `width`: the most that it may have, None = as it is."""

    address: Address
    live: Live
    width: int | None = None

    @property
    def has_sound(self) -> bool:
        return self.live.audio == "keep" and self.width is None


@contextmanager
def translated(address: Address) -> Iterator[None]:
    """av's exceptions, whose texts hold the whole address with its password, as ours."""
    try:
        yield
    except av.error.HTTPUnauthorizedError:
        raise NotWritable(f"{address} refuses the credentials, or wants some") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise NotWritable(f"{address} could not be written ({type(error).__name__})") from None


def check(address: Address) -> None:
    """Raises ConfigError for an output that cannot work."""
    if address.kind == "file" and Path(address.path).suffix.lower() not in FILES:
        raise ConfigError(f"{address} must end in one of {', '.join(FILES)}, in .m3u8, or in /")
    if address.kind in ("file", "hls") and not Path(address.path).parent.is_dir():
        raise NotWritable(f"the folder {Path(address.path).parent} does not exist; make it first")
    if address.kind == "segments" and not Path(address.path).is_dir():
        raise NotWritable(f"the folder {address} does not exist; make it first")


def answers(address: Address, within_s: float) -> None:
    """Raises OSError where nobody answers at an RTSP server's address. Asked first, from here: while av waits
    for a server it holds the interpreter, and with it all that a session does."""
    if address.scheme != "rtsp":
        return
    with socket.create_connection((address.host, address.port), timeout=within_s) as peer:
        peer.sendall(f"OPTIONS {address} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
        if not peer.recv(64).startswith(b"RTSP/"):
            raise OSError("it does not speak RTSP")


class Publisher:
    """One opened output. A context manager. Raises NotWritable, PrivacyTripped.

    size: (width, height) of everything that will come; what differs is scaled to it.
    """

    def __init__(self, output: Output, size: tuple[int, int], mixer: Mixer | None = None) -> None:
        self.output, self._mixer = output, mixer
        self.size = _fitted(size, output.width)
        self._key_due = self._last = -1
        self._sound_start: int | None = None
        self._sound_frames = 0
        self._final: Path | None = None
        self._pictures = 0  # written
        try:
            with translated(output.address):
                self._open()
        except BaseException:
            self._drop_empty()
            raise

    def _open(self) -> None:
        answers(self.output.address, self.output.live.connect_s)
        name, muxer = self._target()
        self._out = av.open(name, "w", format=muxer, container_options=self._options(muxer))
        self._out.flags |= 0x200  # AVFMT_FLAG_FLUSH_PACKETS: nothing waits in a buffer
        stream = self._out.add_stream("libx264", rate=NOMINAL_RATE, options=self._encoder_options())
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = self.size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = BASE
        stream.codec_context.color_range = 1
        self._video = stream
        self._audio: Any = None
        if self.output.has_sound:
            self._audio = self._out.add_stream("aac", rate=SOUND_RATE)
            self._audio.codec_context.layout = "stereo"

    def _target(self) -> tuple[str, str]:
        address = self.output.address
        if address.kind == "file":
            return self._part(Path(address.path))
        if address.kind == "segments":
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            return self._part(Path(address.path) / f"{stamp}-{time.monotonic_ns() % 10**9:09}.mkv")
        name = address.reveal()
        if address.kind == "udp":
            name += "?pkt_size=1316"
        return name, MUXERS[address.kind]

    def _part(self, target: Path) -> tuple[str, str]:
        self._final = claimed(target)
        return f"file:{part_of(self._final)}", FILES[target.suffix.lower()]

    def _options(self, muxer: str) -> dict[str, str]:
        options = {"max_interleave_delta": "300000"}  # microseconds that one stream waits for another
        options |= SURVIVING.get(muxer, {})
        if muxer == "rtsp":
            timeout_us = round(min(self.output.live.connect_s, HEADER_S) * 1_000_000)
            options |= {"rtsp_transport": "tcp", "timeout": str(timeout_us)}
        if muxer == "flv":
            options["flvflags"] = "no_duration_filesize"
            options["rw_timeout"] = str(round(HEADER_S * 1_000_000))
        if muxer == "hls":
            options |= {
                "hls_time": "0.9",
                "hls_list_size": str(self.output.live.playlist),
                "hls_flags": "delete_segments+append_list+discont_start+temp_file+independent_segments",
                "hls_segment_filename": str(Path(self.output.address.path).with_suffix("")) + "-%06d.ts",
            }
        if muxer == "hls" and self.output.width is not None:
            # the preview page plays pieces of MP4, which every browser takes; each process begins its own
            for old in Path(self.output.address.path).parent.glob("live-*"):
                old.unlink(missing_ok=True)
            mark = f"{time.time_ns() // 1_000_000 % 10**12:012}"
            options |= {
                "hls_segment_type": "fmp4",
                "hls_fmp4_init_filename": f"live-{mark}.mp4",
                "hls_segment_filename": f"{Path(self.output.address.path).parent}/live-{mark}%06d.m4s",
                "hls_flags": "delete_segments+temp_file+independent_segments",
            }
        return options

    def _encoder_options(self) -> dict[str, str]:
        live = self.output.live
        options = {"crf": str(live.crf), "preset": live.preset, "tune": "zerolatency", "g": "250"}
        # a broken end of a link shows in the next key frame at the latest; no scene cuts between
        return options | {"x264-params": "scenecut=0:repeat-headers=1:threads=1", "forced-idr": "1"}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(whole=kind is None)

    def write(self, item: Item, pts: int, carrier: Any = None) -> None:
        """Encodes and sends one picture at `pts`, in ticks of the session, which must rise. carrier: the
        decoder's own picture, where its captions are to come along."""
        if type(item) is not SafeFrame and type(item) is not Card:
            raise PrivacyTripped(
                f"a {type(item).__name__} was handed to a live output instead of a SafeFrame"
            )
        if pts <= self._last:
            return
        self._last = pts
        with translated(self.output.address):
            picture = self._picture(item, carrier)
            picture.pts, picture.time_base = pts, BASE
            picture.pict_type = self._kind(pts)
            for packet in self._video.encode(picture):
                self._out.mux(packet)
            self._sing(pts)
        self._pictures += 1

    def _kind(self, pts: int) -> int:
        """1 = a key frame is due, 0 = as the encoder likes."""
        if pts < self._key_due:
            return 0
        self._key_due = pts + round(KEY_EVERY_S * TICKS)
        return 1

    def _picture(self, item: Item, carrier: Any) -> av.VideoFrame:
        picture = _card(item) if isinstance(item, Card) else _copied(item.frame, carrier)
        if (picture.width, picture.height, picture.format.name) == (*self.size, "yuv420p"):
            return picture
        width, height = self.size
        full = picture.format.name.startswith("yuvj") or int(picture.color_range) == 2
        ranges = {"src_color_range": 2, "dst_color_range": 1} if full else {}
        return picture.reformat(width, height, "yuv420p", **ranges)

    def _sing(self, pts: int) -> None:
        """All sound up to the picture, silence where there is none."""
        if self._audio is None or self._mixer is None:
            return
        if self._sound_start is None:
            self._sound_start = pts
        while True:
            at = self._sound_start + round(self._sound_frames * SOUND_SAMPLES * TICKS / SOUND_RATE)
            if at + TICKS * SOUND_SAMPLES // SOUND_RATE > pts:
                return
            frame = av.AudioFrame.from_ndarray(
                self._mixer.take(at, SOUND_SAMPLES), format="fltp", layout="stereo"
            )
            frame.sample_rate, frame.time_base = SOUND_RATE, Fraction(1, SOUND_RATE)
            frame.pts = round(self._sound_start * SOUND_RATE / TICKS) + self._sound_frames * SOUND_SAMPLES
            self._sound_frames += 1
            for packet in self._audio.encode(frame):
                self._out.mux(packet)

    def close(self, whole: bool = True) -> None:
        """`whole`: the output is well and is ended as it should be; else it is let go."""
        try:
            with translated(self.output.address):
                if whole and self._last >= 0:
                    for stream in filter(None, (self._video, self._audio)):
                        for packet in stream.encode(None):
                            self._out.mux(packet)
                self._out.close()
                if self._final is not None and self._pictures:
                    keep(self._final)
        except NotWritable:
            if whole:
                raise
        finally:
            self._drop_empty()

    def _drop_empty(self) -> None:
        """A disk that is full would get one such file for each try."""
        if self._final is not None and not self._pictures:
            part_of(self._final).unlink(missing_ok=True)


def _fitted(size: tuple[int, int], most: int | None) -> tuple[int, int]:
    """Even, as 4:2:0 wants it, and no wider than `most`."""
    width, height = size
    if most is not None and width > most:
        width, height = most, round(height * most / width)
    return max(2, width // 2 * 2), max(2, height // 2 * 2)


def _copied(frame: Frame, carrier: Any) -> av.VideoFrame:
    """A new picture with the frame's samples and nothing else: no side data of the camera's comes along,
    unless `carrier` brings it."""
    width, height = frame.size
    picture = av.VideoFrame(width, height, frame.format.name) if carrier is None else carrier
    for own, safe in zip(views(picture, frame.format), frame.planes, strict=True):
        if own.ctypes.data != safe.ctypes.data:
            own[...] = safe
    picture.color_range = 2 if frame.colour.full_range else 1
    with suppress(ValueError):
        picture.colorspace = frame.colour.matrix
    return picture


def _card(card: Card) -> av.VideoFrame:
    width, height = (side // 2 * 2 for side in card.size)
    picture = av.VideoFrame(width, height, "yuv420p")
    first, *chroma = views(picture, pixel_format("yuv420p"))
    first[...] = luma(card.reason, (width, height))
    for plane in chroma:
        plane[...] = 128
    picture.color_range = 1
    return picture

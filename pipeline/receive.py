"""Live packets -> frames: what decode.py is for files. It imports av for itself because hardly anything of
a file's decoder holds here: a stream has no end, no second pass and no promise about its time stamps, and
what is damaged is covered rather than refused.

What may be opened is narrow: the demuxer is forced by the kind of address, protocols, containers and
decoders are on lists, and every error is told in our own words, for FFmpeg's may hold a password.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Any, Self

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from veilcast.arrays import Float32
from veilcast.config import Limits, Live
from veilcast.errors import InputTooLarge, NotVideo, StreamLost, UnsupportedMedia
from veilcast.pipeline.addresses import Address, Kind, check_readable
from veilcast.pipeline.carriers import colour_of, views
from veilcast.pipeline.clocks import BASE, Clock
from veilcast.pipeline.codecs import pixel_format
from veilcast.pipeline.demux import CONTAINERS
from veilcast.types import Frame

CODECS = "h264,hevc,mjpeg,mpeg4,mpeg2video,mpeg1video,h263,vp8,vp9,libdav1d,rawvideo"
SOUNDS = "aac,aac_latm,mp3,mp3float,mp2,opus,pcm_alaw,pcm_mulaw,pcm_s16be,pcm_s16le,adpcm_g722,adpcm_g726"
STRICT = {"err_detect": "explode", "threads": "1"}  # frame threads would each hold a frame back
LOW_DELAY = 1 << 19  # AV_CODEC_FLAG_LOW_DELAY
SOUND_RATE = 48_000
UNHEALTHY_S = 15.0  # with pictures but no healthy one, after which the connection is given up

# demuxer (None = the content decides among the containers), containers, protocols
OPENED: dict[Kind, tuple[str | None, str, str]] = {
    "rtsp": ("rtsp", "rtsp", "rtp,udp,tcp"),
    "rtmp": ("flv", "flv", "rtmp,tcp"),
    "hls": ("hls", "hls,mpegts,mov,mp4", "http,httpproxy,tcp,crypto"),
    "http": (None, "mpegts,mpjpeg,flv,matroska,webm,mov,mp4", "http,httpproxy,tcp"),
    "udp": ("mpegts", "mpegts", "udp"),
    "device": ("v4l2", "v4l2", "file"),
    "file": (None, CONTAINERS, "file"),
}
# the least that tells what a stream is: probing is delay
PROBING = {
    "probesize": "500000",
    "analyzeduration": "500000",
    "fpsprobesize": "0",
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A decoded picture. `frame.pts` is in ticks by the camera's own count, `frame.damaged` holds until the
    next clean key frame. `picture` is the decoder's own frame, whose planes the frame's are."""

    frame: Frame
    arrived_s: float  # on time.monotonic's clock
    picture: Any
    pts: int  # ticks of the session: when it is shown
    anew: bool = False  # the camera's clock jumped: nothing that was known of the frames before it holds


@dataclass(frozen=True, slots=True)
class Sound:
    """Decoded audio: (2, n) samples of SOUND_RATE from `pts` on, in ticks of the session."""

    pts: int
    samples: Float32[np.ndarray, "2 n"]


@contextmanager
def translated(address: Address, doing: str) -> Iterator[None]:
    """av's exceptions, whose texts hold the whole address with its password, as ours."""
    try:
        yield
    except av.error.HTTPUnauthorizedError:
        raise StreamLost(f"{address} refuses the credentials, or wants some") from None
    except (av.error.EOFError, av.error.FFmpegError, OSError, ValueError) as error:
        raise StreamLost(f"{address} failed ({type(error).__name__} while {doing})") from None


class Receiver:
    """One connection. A context manager; `frames` may be read once.

    start_s: when the session began, time.monotonic's. via: where to connect instead, a relay that watches
    over the peer. Raises StreamLost, InputMissing, NotVideo, UnsupportedMedia, InputTooLarge.
    """

    def __init__(
        self,
        address: Address,
        settings: Live,
        limits: Limits,
        clock: Clock,
        start_s: float,
        first_index: int,
        via: Address | None = None,
        on_sound: Callable[[Sound], None] | None = None,
        proxy: str | None = None,
    ) -> None:
        self.address, self._settings, self._limits = address, settings, limits
        self._clock, self._start_s, self.next_index = clock, start_s, first_index
        self._on_sound = on_sound
        self._suspect = True  # until the first clean key frame
        self._healthy_s = time.monotonic()  # of the last healthy picture
        self._resampler = av.AudioResampler(format="fltp", layout="stereo", rate=SOUND_RATE)
        check_readable(address)
        try:
            self._container = self._connected(via or address, proxy)
        except StreamLost:
            if address.kind == "file":
                raise NotVideo(
                    f"{address} is not a video in a known container ({CONTAINERS}), or is damaged"
                ) from None
            raise
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _connected(self, place: Address, proxy: str | None) -> InputContainer:
        with translated(self.address, "connecting"):
            return av.open(
                place.reveal(),
                "r",
                format=OPENED[self.address.kind][0],
                container_options=self._options(proxy),
                timeout=(self._settings.connect_s, self._settings.stall_s),
                metadata_errors="replace",
            )

    def _options(self, proxy: str | None) -> dict[str, str]:
        kind = self.address.kind
        _, containers, protocols = OPENED[kind]
        options = {
            "format_whitelist": containers,
            "protocol_whitelist": protocols,
            "codec_whitelist": f"{CODECS},{SOUNDS}",
            "max_streams": "16",
        }
        if kind not in ("file", "hls"):
            options |= PROBING
        if kind == "rtsp":
            options |= {
                "rtsp_transport": self._settings.transport,
                "allowed_media_types": "video+audio" if self._on_sound else "video",
                "timeout": str(round(self._settings.connect_s * 1_000_000)),
                "reorder_queue_size": "500",
                "buffer_size": str(4 << 20),  # a key frame comes in one burst
                "max_delay": "100000",
            }
        if kind == "hls":
            options |= {"live_start_index": "-1", "http_persistent": "0", "max_reload": "5"}
        if proxy:
            options["http_proxy"] = proxy
        return options

    def _open(self) -> None:
        streams = [s for s in self._container.streams.video if not int(s.disposition) & 0x400]
        if not streams:
            raise NotVideo(f"{self.address} sends no video")
        stream = streams[0]
        assert isinstance(stream, VideoStream)
        self._stream = stream
        self._base = Fraction(stream.time_base or BASE)
        context = stream.codec_context
        self._check_size(context.width, context.height)
        context.options = STRICT | {"max_pixels": str(self._limits.max_pixels)}
        context.flags |= LOW_DELAY
        context.thread_count = 1
        sounds = self._container.streams.audio if self._on_sound else ()
        self._sound = sounds[0] if sounds else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._container.close()

    @property
    def facts(self) -> dict[str, Any]:
        """What the camera sends, for people."""
        context, rate = self._stream.codec_context, self._stream.average_rate
        return {
            "codec": context.name,
            "size": [context.width, context.height],
            "rate": float(rate) if rate else None,
            "streams": [s.type for s in self._container.streams],
        }

    def frames(self) -> Iterator[Arrival]:
        """Every picture as it comes. Raises StreamLost at the end, whatever ended it."""
        with translated(self.address, "reading"):
            wanted = [s for s in (self._stream, self._sound) if s is not None]
            for packet in self._container.demux(wanted):
                self._check_healthy()
                if packet.size == 0:
                    continue
                if packet.stream.index == self._stream.index:
                    yield from self._pictures(packet)
                elif self._on_sound is not None:
                    self._hear(packet)
            # a decoder still holds the last pictures of what has an end
            if self.address.kind == "file":
                yield from self._pictures(None)
        raise StreamLost(f"{self.address} ended")

    def _pictures(self, packet: Any) -> Iterator[Arrival]:
        arrived_s = time.monotonic()
        try:
            decoded = self._stream.codec_context.decode(packet)
        except av.error.FFmpegError:
            self._suspect, decoded = True, []
        if packet is not None and packet.is_corrupt:
            self._suspect = True
        for picture in decoded:
            arrival = self._arrival(picture, arrived_s)
            handed_s = time.monotonic()
            yield arrival
            # whoever takes it waits until it is due, or until the networks are ready: no fault of the stream
            self._healthy_s += time.monotonic() - handed_s

    def _check_healthy(self) -> None:
        if time.monotonic() - self._healthy_s > UNHEALTHY_S:
            raise StreamLost(f"{self.address} sends nothing that can be shown")

    def _arrival(self, picture: av.VideoFrame, arrived_s: float) -> Arrival:
        time_s = None if picture.pts is None else picture.pts * self._base
        ticks = self._clock.at(time_s, arrived_s - self._start_s)
        if picture.is_corrupt or (self._clock.gap and self._is_lossy):
            self._suspect = True
        elif picture.key_frame:
            self._suspect = False
        if not self._suspect:
            self._healthy_s = time.monotonic()
        self._check_size(picture.width, picture.height)
        picture, damaged = self._planar(picture), self._suspect
        planes = views(picture, layout := pixel_format(picture.format.name))
        count, colour = self._clock.count, colour_of(picture)
        frame = Frame(self.next_index, count, BASE, planes, layout, colour, damaged=damaged)
        self.next_index += 1
        return Arrival(frame, arrived_s, picture, ticks, self._clock.broken)

    @property
    def _is_lossy(self) -> bool:
        """Whether packets may get lost on the way: then a gap in time is a gap in what others refer to."""
        return self.address.kind == "udp" or (
            self.address.kind == "rtsp" and self._settings.transport == "udp"
        )

    def _planar(self, picture: av.VideoFrame) -> av.VideoFrame:
        """In a layout that covers can be written to, and ours alone to write to."""
        try:
            layout = pixel_format(picture.format.name)
            plain = layout.family == "yuv" and layout.depth == 8 and not layout.alpha
        except UnsupportedMedia:
            plain = False
        if not plain:
            return picture.reformat(format="yuv420p")
        picture.make_writable()
        return picture

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._limits.max_pixels:
            raise InputTooLarge(f"{self.address} sends {width}x{height}, beyond limits.max_pixels")

    def _hear(self, packet: Any) -> None:
        """Sound that cannot be decoded is silence."""
        assert self._on_sound is not None
        try:
            for heard in packet.decode():
                for piece in self._resampler.resample(heard):
                    known = piece.pts is not None and piece.time_base is not None
                    ticks = self._clock.moved((piece.pts or 0) * Fraction(piece.time_base or BASE))
                    if known and ticks is not None:
                        self._on_sound(Sound(ticks, piece.to_ndarray()))
        except (av.error.FFmpegError, ValueError, TypeError):
            return

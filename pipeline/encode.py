"""Frames -> packets.

Only a `SafeFrame` is ever encoded; packets of the source's video never are. The encoder counts frames;
the muxer gets the source's own times back (timeline.py).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import av
import av.error
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from veilcast.config import Encode
from veilcast.errors import (
    DiskFull,
    NotWritable,
    PrivacyTripped,
    UnsupportedMedia,
)
from veilcast.pipeline.carriers import views
from veilcast.pipeline.codecs import FAMILIES, Choice, choose, encoder_options, pixel_format, slices
from veilcast.pipeline.containers import (
    REFUSES,
    TAKES,
    UNTURNED,
    may_reorder,
    muxer_for,
    muxer_options,
    telling_suffix,
)
from veilcast.pipeline.copies import Copies
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.description import timecode
from veilcast.pipeline.expected import Expected, can_be_entered, plain
from veilcast.pipeline.gate import SafeFrame
from veilcast.pipeline.nvenc import on_card
from veilcast.pipeline.priority import give_back_real_time
from veilcast.pipeline.streams import StreamFate, kept_tags, side_fate, siting_fate
from veilcast.pipeline.timeline import Timeline
from veilcast.types import Frame, Orientation

# A fresh encoder every so many frames: a long file can be encoded in parts and joined to the same bytes
SEGMENT_FRAMES = 600
BITEXACT = 1 << 23  # AV_CODEC_FLAG_BITEXACT: no version strings, the same code path everywhere
MUX_BITEXACT = 1 << 10  # AVFMT_FLAG_BITEXACT
IN_FIELDS = (1 << 18) | (1 << 29)  # AV_CODEC_FLAG_INTERLACED_DCT | AV_CODEC_FLAG_INTERLACED_ME
QSCALE = 1 << 1  # AV_CODEC_FLAG_QSCALE
NO_TAGS: Mapping[str, str] = MappingProxyType({})
RANGES = {None: 0, False: 1, True: 2}  # AVColorRange


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Exceptions while writing as ours: what the system says of the output, what FFmpeg says of the input."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull(f"no space left for {path}; free some and start again") from None
        if error.errno in errno.errorcode and error.errno != errno.EINVAL:
            raise NotWritable(f"{path} could not be written ({type(error).__name__})") from None
        raise UnsupportedMedia(
            f"{path} cannot hold what is in the source ({type(error).__name__}); write to a .mkv file"
        ) from None


class Encoder:
    """One output file. A context manager: without an error, leaving it closes the file.

    Raises NotWritable, DiskFull, UnsupportedMedia, ConfigError, PrivacyTripped.
    """

    _context: VideoCodecContext  # of the current segment

    def __init__(
        self,
        decoder: Decoder,
        target: Path,
        settings: Encode = Encode(),  # noqa: B008  (frozen)
        tags: Mapping[str, str] = NO_TAGS,
        card: bool = False,
    ) -> None:
        """`tags` are written into the file's own metadata: what the product says about itself. `card`: encode
        there, where it can."""
        self._decoder, self._target, self._settings, self._card = decoder, target, settings, card
        self._segment = 0  # number of the current segment's first frame
        self._closed = False
        source = decoder.container
        self._muxer = muxer_for(target, source.format.name)
        bases = (Fraction(s.time_base) for s in source.streams if s.time_base)
        options = muxer_options(self._muxer, decoder.info.time_base, bases, telling_suffix(target))
        with writing(target):
            target.open("wb").close()
            name = f"file:{target.absolute()}"
            self._out = av.open(name, "w", format=self._muxer, container_options=options)
        self._out.flags |= MUX_BITEXACT
        self.choice = self._choose()
        # SVT-AV1 writes to stderr whatever FFmpeg is told
        os.environ.setdefault("SVT_LOG", "1")
        self._video = self._add_video()
        self._copies = Copies(self._out, self._muxer, decoder, settings.audio == "keep")
        self.streams: list[StreamFate] = [self._copies.add(stream) for stream in source.streams]
        encoder, main = self.choice.family.encoder, decoder.stream.index
        self.streams[main] = replace(self.streams[main], reason=self._video_reason())
        self.streams += [side_fate(main, kind, encoder) for kind in decoder.side_kinds]
        if decoder.told.siting is not None:
            self.streams.append(siting_fate(main, decoder.told.siting, encoder, self._muxer))
        self._out.metadata.update(tags)
        self._out.set_chapters(source.chapters())
        decoder.carry(self._copies.indices)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    # -- writing

    def write(self, safe: SafeFrame) -> None:
        """Encodes the next frame: the only way for a picture into the file."""
        if type(safe) is not SafeFrame:
            raise PrivacyTripped(f"a {type(safe).__name__} was handed to the encoder instead of a SafeFrame")
        frame = safe.frame
        if self._times.pts and frame.pts <= self._times.pts[-1]:
            raise PrivacyTripped(f"frame {frame.index} was handed to the encoder out of order")
        if self._muxer == "avi" and not self._on_time(frame):
            raise UnsupportedMedia("an avi file holds frames at an even rate from zero on; write a .mkv")
        carrier = self._decoder.carrier(frame.index)
        with writing(self._target):
            if len(self._times) - self._segment == SEGMENT_FRAMES:
                self._end_segment()
            self._mux_video(self._context.encode(self._enter(carrier.picture, frame)))
            self._mux_copies(carrier.packets)

    def close(self) -> None:
        """Flushes, writes the trailer, fsyncs. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        with writing(self._target):
            if len(self._times):
                self._mux_video(self._context.encode(None), last=True)
            self._mux_copies(self._decoder.demuxer.unload())
            self._out.close()
            with self._target.open("rb") as file:
                os.fsync(file.fileno())

    @property
    def expected(self) -> Expected:
        """What `verify` shall find in the file."""
        info, codec = self._decoder.info, self.choice.family.codec
        kept = (s for s in self.streams if s.kept and s.kind != "side data")
        streams = (f"{s.kind} {codec if s.kind == 'video' else s.codec}" for s in kept)
        size = (info.width, info.height)
        entry = self._times.entry if can_be_entered(self._muxer, codec) else None
        return Expected(self._times.pts, info.time_base, size, self.choice.pix_fmt, tuple(streams), entry)

    def _enter(self, picture: av.VideoFrame, frame: Frame) -> av.VideoFrame:
        """The decoder's picture, with exactly the pixels that the gate let through, numbered."""
        for own, safe in zip(views(picture, frame.format), frame.planes, strict=True):
            if own.ctypes.data != safe.ctypes.data:
                own[...] = safe
        self._note(frame.pts, picture.duration)
        picture = self._named(picture)
        picture.pts, picture.duration, picture.pict_type = len(self._times) - 1 - self._segment, 1, 0
        picture.time_base = self._context.time_base
        return picture

    def _note(self, pts: int, duration: int) -> None:
        """The time of the next frame; `duration` 0 = it states none."""
        self._times.note(pts, duration)

    def _on_time(self, frame: Frame) -> bool:
        """Whether a frame stands on the grid of the average rate, the first one at zero."""
        place = frame.time * self._rate()
        return abs(place - round(place)) < Fraction(1, 8) and (frame.index > 0 or round(place) == 0)

    def _named(self, picture: av.VideoFrame) -> av.VideoFrame:
        """yuvj420p and full-range yuv420p are the same bytes by two names; anything else is converted
        because a person asked for it (--pix-fmt)."""
        name = picture.format.name
        if name == self.choice.pix_fmt:
            return picture
        if plain(name) == plain(self.choice.pix_fmt) and self._decoder.info.colour.full_range:
            return picture.reformat(format=self.choice.pix_fmt, src_color_range=2, dst_color_range=2)
        return picture.reformat(format=self.choice.pix_fmt)

    def _end_segment(self) -> None:
        self._mux_video(self._context.encode(None))
        self._begin_segment()

    def _begin_segment(self) -> None:
        self._segment = len(self._times)
        context = VideoCodecContext.create(self.choice.family.encoder, "w")
        assert isinstance(context, VideoCodecContext)  # by the kind of the encoder
        self._configure(context)
        context.flags = self._context.flags
        self._context = context

    def _mux_video(self, packets: Sequence[av.Packet[Any]], last: bool = False) -> None:
        give_back_real_time()  # a later segment's encoder opens when it gets its first frame
        for left, packet in enumerate(map(bare, packets), 1 - len(packets)):
            number = self._segment + int(packet.pts or 0)
            packet.pts, packet.dts, packet.duration = self._times.stamp(number, packet.is_keyframe)
            if last and left == 0 and self._muxer in ("mp4", "mov"):
                packet.duration = self._times.rest(packet.dts)
            packet.time_base, packet.stream = self._decoder.info.time_base, self._video
            self._out.mux(packet)

    def _mux_copies(self, packets: Iterable[av.Packet[Any]]) -> None:
        self._copies.write(packets)

    # -- planning

    def _choose(self) -> Choice:
        info, interlaced = self._decoder.info, self._decoder.interlaced
        takes = (TAKES.get(self._muxer) or self._out.supported_codecs) - REFUSES.get(self._muxer, frozenset())
        if info.orientation != Orientation() and self._muxer in UNTURNED:
            raise UnsupportedMedia(f"a {self._muxer} file cannot say that it is turned; write a .mp4")
        # av cannot hand the sample aspect ratio to a matroska file, and an avi has no place for it
        aspect = info.sample_aspect_ratio != 1 and self._muxer in ("matroska", "webm", "avi")
        given = (info.codec, info.format, interlaced, aspect, self._settings)
        choice = choose(*given, pixel_formats, takes.__contains__)
        if not self._card or self._decoder.told.siting is not None:
            return choice
        return on_card(choice, info, interlaced, self._decoder.light, self._settings)

    def _add_video(self) -> VideoStream:
        decoder, family = self._decoder, self.choice.family
        stream = self._out.add_stream(family.encoder, rate=self._rate())
        assert isinstance(stream, VideoStream)  # by the kind of the encoder
        # an avi has a place for every frame at its rate, and no finer time
        stream.time_base = 1 / self._rate() if self._muxer == "avi" else decoder.info.time_base
        first, pace = decoder.first.pts or 0, decoder.nominal_ticks
        self._delay = family.delay if may_reorder(self._muxer, first, pace) else 0
        self._times = Timeline(pace, self._delay)
        self._context = stream.codec_context
        self._configure(self._context)
        if decoder.matrix is not None:
            stream.set_display_matrix(decoder.matrix)
        if family.codec == "hevc" and self._muxer in ("mp4", "mov"):
            self._context.codec_tag = "hvc1"
        stream.metadata.update(kept_tags(decoder.stream.metadata))
        if (code := timecode(decoder.container, decoder.stream)) is not None:
            (self._out if self._muxer == "mxf" else stream).metadata["timecode"] = code
        stream.disposition = decoder.stream.disposition
        self._open_encoder(stream.codec_context)
        return stream

    def _open_encoder(self, context: VideoCodecContext) -> None:
        try:
            context.open()
            give_back_real_time()
        except (ValueError, av.error.FFmpegError):
            raise UnsupportedMedia(
                f"{self.choice.family.encoder} does not take {context.width}x{context.height} "
                f"{self.choice.pix_fmt} at {float(self._rate()):g} frames a second; choose another with -c:v"
            ) from None

    def _rate(self) -> Fraction:
        return (self._decoder.info.rate or Fraction(25)).limit_denominator(1 << 16)

    def _configure(self, context: VideoCodecContext) -> None:
        """Everything an encoder is told; the same for each segment."""
        decoder, info, family = self._decoder, self._decoder.info, self.choice.family
        context.width, context.height, context.pix_fmt = info.width, info.height, self.choice.pix_fmt
        context.framerate, context.time_base = self._rate(), 1 / self._rate()
        context.sample_aspect_ratio = info.sample_aspect_ratio
        context.color_primaries, context.color_trc = info.colour.primaries, info.colour.transfer
        full = True if self.choice.pix_fmt.startswith("yuvj") else info.colour.full_range
        context.colorspace, context.color_range = info.colour.matrix, RANGES[full]
        # how many threads encode, and how they share the work, is part of what fixes the bytes
        context.thread_count, context.thread_type = self._settings.threads, "FRAME"
        context.flags |= BITEXACT
        if decoder.interlaced:
            context.flags |= IN_FIELDS
            context.field_order = decoder.stream.codec_context.field_order
        if not self._delay:
            context.max_b_frames = 0
        if family.quality == "qscale":
            context.flags |= QSCALE
            context.global_quality = round(family.default)
        picture = (context.width * context.height, float(self._rate()))
        context.options = encoder_options(
            self.choice, self._settings.threads, decoder.light, *picture, info.frames
        )
        if family.codec == "ffv1":
            count = slices(context.width, context.height, pixel_format(self.choice.pix_fmt))
            context.options = {**context.options, "slices": str(count)}
        if decoder.told.siting is not None:
            context.options = {**context.options, "chroma_sample_location": decoder.told.siting}

    def _video_reason(self) -> str:
        family, why = self.choice.family, self.choice.reason
        quality = f" at {family.quality} {family.default:g}" if family.quality else ""
        fields = ", every frame in fields" if self._decoder.interlaced and family.interlaced else ""
        return f"anonymised, encoded by {family.encoder}{quality}{fields}" + (f" ({why})" if why else "")


def bare(packet: av.Packet[Any]) -> av.Packet[Any]:
    """The packet as it comes out of a segment on the disk: not marked as disposable, which a muxer would
    note and nobody can set again."""
    return packed(bytes(packet), packet.pts, packet.is_keyframe) if packet.is_disposable else packet


def packed(data: bytes, pts: int | None, key: bool) -> av.Packet[Any]:
    """An encoded picture."""
    packet: av.Packet[Any] = av.Packet(data)
    packet.pts, packet.is_keyframe = pts, key
    return packet


def pixel_formats(encoder: str) -> set[str]:
    """The names of the pixel formats that an encoder of this machine takes. A JPEG's range is full."""
    names = {layout.name for layout in av.Codec(encoder, "w").video_formats or ()}
    return {name for name in names if name.startswith("yuvj")} if encoder == "mjpeg" else names


def encoders() -> dict[str, bool]:
    """Of each codec, whether an encoder for it is on this machine."""
    return {codec: family.encoder in av.codecs_available for codec, family in FAMILIES.items()}

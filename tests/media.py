"""Synthetic clips: every codec, container and peculiarity that the tests ask for, made when asked."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.packet import PacketSideData, packet_sidedata_type_from_literal
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from veilcast.pipeline.carriers import views
from veilcast.pipeline.codecs import pixel_format
from veilcast.pipeline.priority import give_back_real_time

# boxes of an mp4 that hold others, and what comes before those
NESTED = dict.fromkeys((b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl"), 0) | {b"stsd": 8}
INTERLACED = (1 << 18) | (1 << 29)
FORMATS = {".mkv": "matroska", ".ts": "mpegts", ".mpg": "vob"}
ROTATED = {  # display matrices: quarter turns clockwise, then the same after mirroring left to right
    0: (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30),
    90: (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30),
    180: (-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30),
    270: (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30),
}
HDR10 = (
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400"
)


@dataclass(frozen=True)
class Clip:
    """What a clip is like. `pts` in ticks of `time_base`; None = one frame a tick of `rate`."""

    encoder: str = "libx264"
    pix_fmt: str = "yuv420p"
    size: tuple[int, int] = (96, 64)
    frames: int = 12
    rate: Fraction = Fraction(25)
    pts: Sequence[int] | None = None
    time_base: Fraction | None = None
    options: dict[str, str] = field(default_factory=dict)
    matrix: Sequence[int] | None = None
    aspect: Fraction | None = None
    colour: tuple[int, int, int, int] | None = None  # primaries, transfer, matrix, range
    field_order: int = 1  # AVFieldOrder: 1 progressive, 2 top first, 3 bottom first
    audio: Sequence[str] = ()  # one language per track
    audio_codec: str = "aac"
    audio_start: Fraction = Fraction(0)
    subtitles: Sequence[str] = ()  # one language per track
    chapters: Sequence[str] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    video_metadata: dict[str, str] = field(default_factory=dict)
    muxer_options: dict[str, str] = field(default_factory=dict)
    captions: bool = False  # CEA-608 in H.264 or H.265, a different pair of characters in each frame
    extra_video: bool = False


def make(path: Path, clip: Clip) -> Path:
    """Writes the clip; the container is the suffix's. Returns `path`."""
    muxer = FORMATS.get(path.suffix, path.suffix[1:])
    with av.open(str(path), "w", format=muxer, container_options=dict(clip.muxer_options)) as out:
        out.metadata.update(clip.metadata)
        video = _add_video(out, clip)
        second = out.add_stream("mpeg4", rate=clip.rate, width=32, height=32) if clip.extra_video else None
        sounds = [_add_audio(out, clip, language) for language in clip.audio]
        texts = [_add_subtitles(out, language) for language in clip.subtitles]
        out.set_chapters([_chapter(i, name) for i, name in enumerate(clip.chapters)])
        for stream in sounds:
            _sing(out, stream, clip)
        for stream in texts:
            _write_text(out, stream)
        _film(out, video, clip)
        if isinstance(second, VideoStream):
            for i in range(clip.frames):
                out.mux(second.encode(picture(i, "yuv420p", (32, 32))))
            out.mux(second.encode(None))
    give_back_real_time()  # SVT-AV1 takes it; the tests that follow would starve all that they start
    return path


def picture(index: int, pix_fmt: str, size: tuple[int, int]) -> av.VideoFrame:
    """Frame `index`: smooth waves that move, with a little noise; no two alike."""
    frame = av.VideoFrame(*size, pix_fmt)
    layout = pixel_format(pix_fmt)
    top = (1 << layout.depth) - 1
    for n, plane in enumerate(views(frame, layout)):
        h, w = plane.shape
        y, x = np.mgrid[:h, :w]
        wave = 0.5 + 0.3 * np.sin((x * (n + 1) + 5 * index) * 4 / w) * np.cos(y * 3 / h + n + index / 7)
        noise = np.random.default_rng(index * 7 + n).normal(0, 0.01, (h, w))
        plane[...] = np.clip((wave + noise) * top, top * 0.07, top * 0.91).astype(layout.dtype)
    return frame


def _add_video(out: Any, clip: Clip) -> VideoStream:
    stream: VideoStream = out.add_stream(clip.encoder, rate=clip.rate, options=dict(clip.options))
    context = stream.codec_context
    context.width, context.height = clip.size
    context.pix_fmt = clip.pix_fmt
    stream.time_base = clip.time_base or 1 / clip.rate
    context.time_base = 1 / clip.rate
    if clip.aspect is not None:
        context.sample_aspect_ratio = clip.aspect
    if clip.colour is not None:
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = clip.colour
    if clip.field_order > 1:
        context.flags |= INTERLACED
        context.field_order = clip.field_order
    if clip.matrix is not None:
        stream.set_display_matrix(clip.matrix)
    stream.metadata.update(clip.video_metadata)
    return stream


def _film(out: Any, stream: VideoStream, clip: Clip) -> None:
    base = clip.time_base or 1 / clip.rate
    pts = list(clip.pts or (round(i / clip.rate / base) for i in range(clip.frames)))
    context: VideoCodecContext = stream.codec_context
    frames: list[av.VideoFrame | None] = [picture(i, clip.pix_fmt, clip.size) for i in range(len(pts))]
    for number, frame in enumerate([*frames, None]):
        if frame is not None and clip.colour is not None:
            frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range = clip.colour
        if frame is not None:
            frame.pts, frame.time_base = number, context.time_base
        for packet in context.encode(frame):
            _mux(out, stream, packet, pts, base, clip)


def _mux(out: Any, stream: VideoStream, packet: Any, pts: list[int], base: Fraction, clip: Clip) -> None:
    number, early = packet.pts, packet.dts
    if clip.captions:
        sent = av.Packet(with_captions(bytes(packet), number, clip.encoder))
        sent.is_keyframe = packet.is_keyframe
        packet = sent
    pace = min((after - before for before, after in pairwise(pts)), default=1)
    packet.pts, packet.time_base = pts[number], base
    packet.dts = min(pts[early] if early >= 0 else pts[0] + early * pace, packet.pts)
    packet.duration = pts[number + 1] - pts[number] if number + 1 < len(pts) else pace
    packet.stream = stream
    out.mux(packet)


def beside(packet: Any, data: bytes) -> None:
    """Ties `data` to the packet, as matroska's addition to its block: an id of 8 bytes, then anything."""
    kind = packet_sidedata_type_from_literal("matroska_block_additional")
    side = PacketSideData(kind, len(data))  # type: ignore[call-arg]  # av's stub knows no arguments
    side.update(data)
    packet.set_sidedata(side)


def with_edits(data: bytes, handler: bytes, edits: Sequence[tuple[int, int]]) -> bytes:
    """An mp4 whose tracks of a kind ("vide", "soun") have this edit list: (duration in 1/1000 s, start in the
    track's own ticks) of each piece."""
    listed = struct.pack(">II", 0, len(edits)) + b"".join(struct.pack(">IiI", *e, 1 << 16) for e in edits)

    def edited(kind: bytes, body: bytes) -> bytes:
        if kind != b"trak" or body[body.index(b"hdlr") + 12 :][:4] != handler:
            return body
        return rebuilt(body, lambda inner, old: listed if inner == b"elst" else old)

    return rebuilt(data, edited)


def with_aperture(data: bytes, size: tuple[int, int]) -> bytes:
    """An mp4 of H.264 that shows the middle of its pictures alone: its clean aperture (14496-12, 12.1.4)."""
    clap = struct.pack(">I4s8I", 40, b"clap", size[0], 1, size[1], 1, 0, 1, 0, 1)
    return rebuilt(data, lambda kind, body: body + clap if kind == b"avc1" else body)


def rebuilt(data: bytes, change: Callable[[bytes, bytes], bytes]) -> bytes:
    """An mp4 with the content of its boxes changed, from the inside outwards. Its moov must lie behind its
    mdat, so that no offset changes."""
    done = b""
    for kind, body in boxes(data):
        if kind in NESTED:
            body = body[: NESTED[kind]] + rebuilt(body[NESTED[kind] :], change)
        body = change(kind, body)
        done += struct.pack(">I4s", len(body) + 8, kind) + body
    return done


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the boxes of an mp4, one level deep."""
    while data:
        size, kind = struct.unpack(">I4s", data[:8])
        yield kind, data[8:size]
        data = data[size:]


def with_captions(data: bytes, number: int, encoder: str) -> bytes:
    """An Annex B packet with a caption SEI (ATSC A/53 part 4, ITU-T T.35) before its first slice."""
    cc = bytes([0xFC, 0x80 | (0x20 + number % 60), 0xC1, 0xFD, 0x80, 0x80])
    payload = b"\xb5\x00\x31GA94\x03" + bytes([0x40 | 2, 0xFF]) + cc + b"\xff"
    sei = bytes([4, len(payload)]) + payload + b"\x80"
    header = b"\x06" if encoder == "libx264" else b"\x4e\x01"
    # parameter sets come first in a key frame; an SEI may stand before the slice alone
    at = max(0, first_slice(data, encoder))
    return data[:at] + b"\x00\x00\x00\x01" + header + sei + data[at:]


def first_slice(data: bytes, encoder: str) -> int:
    """Where the start code of the first picture slice begins in an Annex B packet."""
    at = 0
    while (at := data.find(b"\x00\x00\x01", at)) >= 0:
        byte = data[at + 3]
        kind = byte & 31 if encoder == "libx264" else byte >> 1 & 63
        if (encoder == "libx264" and kind in (1, 5)) or (encoder == "libx265" and kind < 32):
            return at - 1 if at and data[at - 1] == 0 else at
        at += 3
    raise ValueError("no slice in this packet")


def _add_audio(out: Any, clip: Clip, language: str) -> Any:
    stream = out.add_stream(clip.audio_codec, rate=48000)
    stream.codec_context.layout = "mono"
    stream.metadata["language"] = language
    return stream


def _sing(out: Any, stream: Any, clip: Clip) -> None:
    seconds = clip.frames / clip.rate
    count = max(1, int(seconds * 48000) // 1024)
    context = stream.codec_context
    for i in range(count):
        t = np.arange(i * 1024, (i + 1) * 1024) / 48000
        wave = (np.sin(2 * np.pi * (440 + 50 * stream.index) * t) * 8000).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48000, i * 1024 + int(clip.audio_start * 48000)
        frame.time_base = Fraction(1, 48000)
        resampler = av.AudioResampler(format=context.format.name, layout="mono", rate=48000)
        for fitted in resampler.resample(frame):
            out.mux(stream.encode(fitted))
    out.mux(stream.encode(None))


def _add_subtitles(out: Any, language: str) -> Any:
    codec = {"mp4": "mov_text", "mov": "mov_text", "webm": "webvtt"}.get(out.format.name, "subrip")
    stream = out.add_mux_stream(codec)
    stream.time_base = Fraction(1, 1000)
    stream.metadata["language"] = language
    return stream


def _write_text(out: Any, stream: Any) -> None:
    for i in range(2):
        text = f"line {i}".encode()
        if out.format.name in ("mp4", "mov"):
            text = len(text).to_bytes(2, "big") + text
        packet = av.Packet(text)
        packet.pts = packet.dts = 100 + i * 200
        packet.duration, packet.time_base, packet.stream = 100, Fraction(1, 1000), stream
        out.mux(packet)


def _chapter(number: int, name: str) -> Any:
    base = Fraction(1, 1000)
    start = number * 200
    return {"id": number, "start": start, "end": start + 200, "time_base": base, "metadata": {"title": name}}

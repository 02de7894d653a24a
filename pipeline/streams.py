"""The policy: which streams and which metadata leave with the video, which do not, and why.

What can show or name a person or a place without being covered is dropped: other pictures, positions,
device facts, free text. Sound and subtitles are content and are kept as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

# of a stream; of the container's own none. A timecode is carried apart
KEPT_TAGS = ("language", "title", "filename", "mimetype")
FONT_TYPES = ("font", "truetype", "opentype")
FONT_BEGINNINGS = (b"\0\1\0\0", b"true", b"OTTO", b"ttcf", b"wOFF", b"wOF2")
DROPPED_DATA = {
    "scte_35": "cue points: the muxer cannot mark them as such",
    "klv": "KLV metadata can hold positions",
    "bin_data": "binary data that cannot be checked (chapters are written anew)",
    "timed_id3": "timed ID3 tags can hold anything",
    "smpte_2038": "ancillary data can hold anything",
    "dvd_nav_packet": "navigation belongs to another layout",
}
CAPTION_ENCODERS = ("libx264", "libx265", "mpeg2video")
LIGHT_ENCODERS = ("libx264", "libx265", "libsvtav1")
KEPT_SIDE_DATA = {
    "A53_CC": "captions, with their frames",
    "DISPLAYMATRIX": "rotation",
    "MASTERING_DISPLAY_METADATA": "HDR10",
    "CONTENT_LIGHT_LEVEL": "HDR10",
}
DROPPED_SIDE_DATA = {
    "DYNAMIC_HDR_PLUS": "HDR10+: no encoder here writes it",
    "DOVI_RPU_BUFFER": "Dolby Vision: it describes the pictures before the covers",
    "DOVI_METADATA": "Dolby Vision: it describes the pictures before the covers",
    "SEI_UNREGISTERED": "user data in the bit stream can hold anything",
    "FILM_GRAIN_PARAMS": "the grain is in the decoded pictures",
}
# these state where samples of chroma sit, or need not: JPEG and MPEG-1 know one place alone
SITING_ENCODERS = ("libx264", "libx265", "libsvtav1", "mjpeg", "mpeg1video")
SITING_MUXERS = ("matroska", "webm")
DROPPED_PICTURES = ("attached_pic", "timed_thumbnails", "still_image")


@dataclass(frozen=True, slots=True)
class StreamFate:
    """What became of one stream of the source."""

    index: int
    kind: str  # "video", "audio", "subtitle", "data", "attachment"
    codec: str
    kept: bool
    reason: str  # how it was kept, or why it was dropped
    language: str | None = None


@dataclass(frozen=True, slots=True)
class SourceStream:
    """What the policy looks at."""

    index: int
    kind: str
    codec: str
    dispositions: Collection[str]
    metadata: Mapping[str, str]
    content: bytes = b""  # of an attachment


def fate(stream: SourceStream, main: int, keep_audio: bool) -> StreamFate:
    """Whether `stream` leaves with the video stream of index `main`."""
    kept, reason = _judge(stream, main, keep_audio)
    return StreamFate(stream.index, stream.kind, stream.codec, kept, reason, stream.metadata.get("language"))


def _judge(stream: SourceStream, main: int, keep_audio: bool) -> tuple[bool, str]:
    if stream.kind == "video":
        return _judge_video(stream, main)
    if stream.kind == "audio":
        return keep_audio, "copied" if keep_audio else "--audio drop"
    if stream.kind == "subtitle":
        return True, "copied"
    if stream.kind == "attachment":
        return _judge_attachment(stream.metadata.get("mimetype", ""), stream.content)
    if stream.metadata.get("timecode") is not None or stream.codec == "tmcd":
        return False, "timecode track: written anew from its value"
    return False, DROPPED_DATA.get(stream.codec, "data that cannot be checked")


def _judge_video(stream: SourceStream, main: int) -> tuple[bool, str]:
    if stream.index == main:
        return True, "anonymised"
    if any(name in stream.dispositions for name in DROPPED_PICTURES):
        return False, "attached picture or thumbnail: not anonymised"
    return False, "extra video stream: not anonymised"


def _judge_attachment(mimetype: str, content: bytes) -> tuple[bool, str]:
    if not any(word in mimetype for word in FONT_TYPES):
        return False, "attachments can hold pictures"
    if not is_font(content):
        return False, "not the font that it says it is"
    return True, "font, copied"


def is_font(content: bytes) -> bool:
    """Whether a file begins as TrueType, OpenType, a collection of them or WOFF does."""
    return content.startswith(FONT_BEGINNINGS)


def side_fate(main: int, kind: str, encoder: str) -> StreamFate:
    """What becomes of side data that comes with the pictures, by av's name for it."""
    if kind == "A53_CC" and encoder not in CAPTION_ENCODERS:
        return StreamFate(main, "side data", kind, False, f"{encoder} cannot write captions")
    if KEPT_SIDE_DATA.get(kind) == "HDR10" and encoder not in LIGHT_ENCODERS:
        return StreamFate(main, "side data", kind, False, f"{encoder} cannot write HDR10's light levels")
    if kind in KEPT_SIDE_DATA:
        return StreamFate(main, "side data", kind, True, KEPT_SIDE_DATA[kind])
    return StreamFate(main, "side data", kind, False, DROPPED_SIDE_DATA.get(kind, f"{kind} is not carried"))


def siting_fate(main: int, siting: str, encoder: str, muxer: str) -> StreamFate:
    """What becomes of an unusual place of the samples of chroma, by FFmpeg's name for it."""
    kept = encoder in SITING_ENCODERS or muxer in SITING_MUXERS
    reason = f"samples of chroma at {siting}" + (
        "" if kept else f": {encoder} cannot say so in a {muxer} file"
    )
    return StreamFate(main, "side data", "chroma location", kept, reason)


def kept_tags(metadata: Mapping[str, str]) -> dict[str, str]:
    """The tags of a stream that are written again."""
    return {key: metadata[key] for key in KEPT_TAGS if key in metadata}

"""What of a file is refused by what its container says, before or beside decoding.

Containers, streams and packets are av's, known here by their attributes alone: this file does not import av.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from veilcast.config import Limits
from veilcast.errors import InputTooLarge, UnsupportedMedia

FIRST_ADDITION = (1).to_bytes(8, "big")


def codec_name(stream: Any) -> str:
    """FFmpeg's name of a stream's codec, not of its decoder; "unknown" where it has none."""
    if stream.codec_context is not None:
        return str(stream.codec_context.codec.canonical_name)
    return str(getattr(stream, "name", None) or "unknown")


def check_limits(source: Path, container: Any, stream: Any, limits: Limits) -> None:
    """Raises InputTooLarge. `stream`: the video that will be decoded."""
    codec, rate = stream.codec_context, stream.average_rate
    for name, value, most in (
        ("pixels a frame", codec.width * codec.height, limits.max_pixels),
        ("streams", len(container.streams), limits.max_streams),
        ("frames a second", float(rate) if rate else 0.0, limits.max_rate),
        ("seconds", _stated_s(container), limits.max_duration_s),
        ("bytes", source.stat().st_size, limits.max_bytes),
    ):
        if value > most:
            raise InputTooLarge(
                f"{source} has {value:g} {name}, the limit is {most:g}; raise it in the settings"
            )


def _stated_s(container: Any) -> float:
    """How long the file lasts, as far as it says so. Matroska counts from zero, not from its first frame."""
    end = container.duration or 0
    start = container.start_time if "matroska" in container.format.name else 0
    return (end - (start or 0)) / 1e6


def check_clock(source: Path, container: Any, first_pts: int | None) -> None:
    """Raises UnsupportedMedia for a clock of 33 bits that wraps soon after the start: FFmpeg counts backwards
    from there, and no container here holds pictures before zero."""
    if container.format.name in ("mpegts", "mpeg") and (first_pts or 0) < 0:
        raise UnsupportedMedia(
            f"the clock of {source} wraps around within its first minute; copy it to a .mkv first"
        )


def check_opaque(source: Path, stream: Any, packet: Any) -> None:
    """Raises UnsupportedMedia for VP8 and VP9 with alpha. They have it in matroska's first addition to each
    picture's block, where no decoder here looks. No tag is asked: it may be missing, or outlive its alpha."""
    codec = codec_name(stream)
    beside = packet.get_sidedata("matroska_block_additional")
    if codec in ("vp8", "vp9") and bytes(beside)[:8] == FIRST_ADDITION:
        raise UnsupportedMedia(f"{source} is {codec} with alpha, which would be lost; make it FFV1 first")

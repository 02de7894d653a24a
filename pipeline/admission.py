"""What of a file is refused by what its container says, before or beside decoding.

Containers, streams and packets are av's, known here by their attributes alone: this file does not import av.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from veilcast.config import Limits
from veilcast.errors import InputTooLarge, UnsupportedMedia

MOST_ASPECT = Fraction(9, 4)  # of a pixel: real formats reach 24:11
FIRST_ADDITION = (1).to_bytes(8, "big")


@dataclass(frozen=True, slots=True)
class Told:
    """What FFmpeg tells of a video stream in words alone, as av has no names for it."""

    hidden: str | None = None  # rows and columns that the container hides: top/bottom/left/right
    siting: str | None = None  # where samples of chroma sit, by FFmpeg's name; None = as usual


SITINGS = ("center", "topleft", "top", "bottomleft", "bottom")


def told(dump: str, index: int) -> Told:
    """`dump`: FFmpeg's description of a file. `index`: of the stream."""
    found = re.search(rf"^  Stream #0:{index}\b.*?: Video: (.*?)(?=^  Stream #|\Z)", dump, re.S | re.M)
    if found is None:
        return Told()
    first, _, rest = found[1].partition("\n")
    hidden = re.search(r"^ {6}Frame cropping: ([\d/]+)$", rest, re.M | re.I)
    layout = re.search(r", \w+\(([^()]*)\), \d+x\d+", first)
    said = layout[1].split(", ") if layout else []
    return Told(hidden[1] if hidden else None, next((name for name in said if name in SITINGS), None))


def check_whole(source: Path, said: Told) -> None:
    """Raises UnsupportedMedia for a picture whose edges the container hides (matroska's PixelCrop, a clean
    aperture): it cannot be told so again, and what somebody cut away would be seen."""
    if said.hidden is not None:
        raise UnsupportedMedia(
            f"{source} hides edges of its picture (top/bottom/left/right: {said.hidden}) that would be seen; "
            "crop the picture itself, or remove the crop, first"
        )


def check_square(source: Path, aspect: Fraction) -> None:
    """Raises UnsupportedMedia for pixels so far from square that faces are too squeezed to be found."""
    if not 1 / MOST_ASPECT <= aspect <= MOST_ASPECT:
        raise UnsupportedMedia(
            f"{source} has pixels of {aspect.numerator}:{aspect.denominator}, in which faces are too "
            "squeezed to be found; scale it to square pixels first"
        )


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
        raise UnsupportedMedia(
            f"{source} is {codec} with alpha, which would be lost; convert it to FFV1 with alpha first"
        )

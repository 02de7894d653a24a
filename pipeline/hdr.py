"""HDR10 static metadata as encoders want it spelled. Pure: bytes of FFmpeg's side data -> options."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

Point = tuple[Fraction, Fraction]


@dataclass(frozen=True, slots=True)
class Light:
    """What a stream says about its mastering display (SMPTE ST 2086) and content (CTA-861.3).
    Chromaticities are CIE 1931 xy, luminance and levels cd/m2; None = not stated."""

    primaries: tuple[Point, Point, Point, Point] | None = None  # red, green, blue, white
    luminance: Point | None = None  # least, greatest
    content: tuple[int, int] | None = None  # of the brightest sample, of the brightest frame's mean


def light(mastering: bytes | None, content: bytes | None) -> Light:
    """`mastering`: AVMasteringDisplayMetadata, 10 rationals of two int32 (red, green, blue, white x and y,
    least, greatest luminance) and two flags. `content`: AVContentLightMetadata, two uint32."""
    levels = struct.unpack("=2I", content[:8]) if content else None
    if not mastering:
        return Light(content=levels)
    values = struct.unpack("=22i", mastering[:88])
    q = [Fraction(values[i], values[i + 1] or 1) for i in range(0, 20, 2)]
    points = ((q[0], q[1]), (q[2], q[3]), (q[4], q[5]), (q[6], q[7]))
    return Light(points if values[20] else None, (q[8], q[9]) if values[21] else None, levels)


def x264_params(light: Light) -> list[str]:
    return _params(light, "cll", "mastering-display", _in_steps(light))


def x265_params(light: Light) -> list[str]:
    return _params(light, "max-cll", "master-display", _in_steps(light))


def svt_params(light: Light) -> list[str]:
    return _params(light, "content-light", "mastering-display", _in_decimals(light))


def _params(light: Light, level: str, display: str, spelled: str | None) -> list[str]:
    levels = [f"{level}={light.content[0]},{light.content[1]}"] if light.content else []
    return levels + ([f"{display}={spelled}"] if spelled else [])


def _in_steps(light: Light) -> str | None:
    """In the units of the bit stream: 1/50000, and 1/10000 cd/m2. None where a half is missing."""
    if light.primaries is None or light.luminance is None:
        return None
    r, g, b, w = (f"({round(x * 50000)},{round(y * 50000)})" for x, y in light.primaries)
    least, greatest = (round(value * 10000) for value in light.luminance)
    return f"G{g}B{b}R{r}WP{w}L({greatest},{least})"


def _in_decimals(light: Light) -> str | None:
    if light.primaries is None or light.luminance is None:
        return None
    r, g, b, w = (f"({float(x):.6f},{float(y):.6f})" for x, y in light.primaries)
    least, greatest = (float(value) for value in light.luminance)
    return f"G{g}B{b}R{r}WP{w}L({greatest:.4f},{least:.6f})"

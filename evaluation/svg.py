"""Line charts as inline SVG: no script, no font, no file beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 28, 12, 44
DASHES = ("", "7 4", "2 3", "10 3 2 3")  # lines stay apart in black and white

Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its label, its range, and whether it is logarithmic."""

    label: str
    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """0 at `low` to 1 at `high`; values beyond are put on the border."""
        low, high, v = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, v = math.log10(low), math.log10(high), math.log10(v)
        return (v - low) / (high - low) if high > low else 0.0

    def ticks(self) -> list[float]:
        """Powers of ten, or five even steps."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**e for e in range(first, last + 1)]
        return [self.low + (self.high - self.low) * i / 4 for i in range(5)]


def chart(curves: Mapping[str, Curve], x: Axis, y: Axis, level: float | None = None) -> str:
    """An SVG element with one line per curve, a legend, and a dotted line at `level` of y."""
    parts = [_grid(x, y)]
    if level is not None:
        at = _y(y, level)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" class="level"/>')
    for i, (name, points) in enumerate(curves.items()):
        path = " ".join(f"{_x(x, a):.1f},{_y(y, b):.1f}" for a, b in points)
        look = f'class="curve c{i % 4}" stroke-dasharray="{DASHES[i % 4] or "none"}"'
        parts.append(f'<polyline points="{path}" {look}/>')
        top = HEIGHT - BOTTOM - 16 - 20 * i
        parts.append(f'<line x1="{LEFT + 12}" x2="{LEFT + 44}" y1="{top}" y2="{top}" {look}/>')
        parts.append(f'<text x="{LEFT + 50}" y="{top + 5}">{escape(name)}</text>')
    label = escape(f"{y.label} against {x.label}: {', '.join(curves)}")
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _x(axis: Axis, value: float) -> float:
    return LEFT + axis.place(value) * (WIDTH - LEFT - RIGHT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis.place(value) * (HEIGHT - TOP - BOTTOM)


def _grid(x: Axis, y: Axis) -> str:
    bottom = HEIGHT - BOTTOM
    lines = [
        f'<line x1="{_x(x, t):.1f}" x2="{_x(x, t):.1f}" y1="{TOP}" y2="{bottom}" class="grid"/>'
        f'<text x="{_x(x, t):.1f}" y="{bottom + 16}" text-anchor="middle">{t:.3g}</text>'
        for t in x.ticks()
    ]
    lines += [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_y(y, t):.1f}" y2="{_y(y, t):.1f}" class="grid"/>'
        f'<text x="{LEFT - 6}" y="{_y(y, t) + 4:.1f}" text-anchor="end">{t:g}</text>'
        for t in y.ticks()
    ]
    across, down = (LEFT + WIDTH - RIGHT) / 2, (TOP + bottom) / 2
    turned = f'x="14" y="{down}" text-anchor="middle" transform="rotate(-90 14 {down})"'
    lines.append(f'<text x="{across}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x.label)}</text>')
    lines.append(f"<text {turned}>{escape(y.label)}</text>")
    return "".join(lines)

"""What is covered in a picture: shapes, and their masks on the sample grid. Pure.

Shapes are in pixels of the displayed picture; `stored` turns them into the stored picture, on whose
grid masks are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, reduce
from math import ceil, floor, isfinite

import numpy as np

from veilcast.arrays import Float32
from veilcast.types import Box, Orientation

Alpha = Float32[np.ndarray, "h w"]  # 1 = covered whole, 0 = untouched


@dataclass(frozen=True, slots=True)
class Ellipse:
    """Axis-parallel, in pixels. `track`: whose face it is."""

    x: float
    y: float
    rx: float
    ry: float
    track: int | None = None


@dataclass(frozen=True, slots=True)
class Polygon:
    points: tuple[tuple[float, float], ...]  # at least 3, in pixels


@dataclass(frozen=True, slots=True)
class Whole:
    """The whole picture: a slate."""

    reason: str


Region = Ellipse | Polygon | Whole


@dataclass(frozen=True, slots=True)
class Rect:
    """Whole pixels of the stored picture, half-open."""

    x0: int
    y0: int
    x1: int
    y1: int

    def slices(self, log2_w: int = 0, log2_h: int = 0) -> tuple[slice, slice]:
        """Its samples in a plane that is subsampled by these powers of two; straddling samples count."""
        return (
            slice(self.y0 >> log2_h, -(-self.y1 >> log2_h)),
            slice(self.x0 >> log2_w, -(-self.x1 >> log2_w)),
        )

    def aligned(self, log2_w: int, log2_h: int, width: int, height: int) -> Rect:
        """Grown to the chroma grid, inside the picture."""
        return Rect(
            self.x0 >> log2_w << log2_w,
            self.y0 >> log2_h << log2_h,
            min(-(-self.x1 >> log2_w) << log2_w, width),
            min(-(-self.y1 >> log2_h) << log2_h, height),
        )


def bounds(region: Region, width: int, height: int, margin: float = 0.0) -> Rect | None:
    """The pixels that a region touches, grown by `margin` pixels; None where it is outside the picture.
    A shape with a number that is not finite is the whole picture."""
    if isinstance(region, Whole):
        return Rect(0, 0, width, height)
    if not _is_finite(region):
        return Rect(0, 0, width, height)
    if isinstance(region, Ellipse):
        ends = (region.x - region.rx, region.y - region.ry, region.x + region.rx, region.y + region.ry)
    else:
        xs, ys = zip(*region.points, strict=True)
        ends = (min(xs), min(ys), max(xs), max(ys))
    x0, y0 = max(0, floor(ends[0] - margin)), max(0, floor(ends[1] - margin))
    x1, y1 = min(width, ceil(ends[2] + margin)), min(height, ceil(ends[3] + margin))
    return Rect(x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def inner(region: Region, width: int, height: int) -> Rect | None:
    """Pixels that lie inside the region for certain: the rectangle inscribed in an ellipse, shrunk by
    a pixel. None for polygons and where there are none."""
    if isinstance(region, Polygon):
        return None
    if isinstance(region, Ellipse):
        x, y = region.rx * 0.7 - 1, region.ry * 0.7 - 1
        if not (x > 0 and y > 0):
            return None
        core = Box(region.x - x, region.y - y, region.x + x, region.y + y)
        rect = Rect(
            max(0, ceil(core.x0)), max(0, ceil(core.y0)), min(width, int(core.x1)), min(height, int(core.y1))
        )
        return rect if rect.x0 < rect.x1 and rect.y0 < rect.y1 else None
    return Rect(0, 0, width, height)


def alpha(region: Region, rect: Rect, feather_px: float) -> Alpha:
    """How much each pixel of `rect` is covered: 1 where it touches the region, falling to 0 over
    `feather_px` outside it."""
    if isinstance(region, Whole) or not _is_finite(region):
        return np.ones((rect.y1 - rect.y0, rect.x1 - rect.x0), np.float32)
    if isinstance(region, Polygon):
        return _polygon(region, rect)
    return _ellipse(region, rect, feather_px)


def _is_finite(region: Ellipse | Polygon) -> bool:
    if isinstance(region, Polygon):
        return all(isfinite(value) for point in region.points for value in point)
    return isfinite(region.x) and isfinite(region.y) and isfinite(region.rx) and isfinite(region.ry)


@lru_cache(maxsize=8)  # zones stay where they are, frame after frame
def _polygon(region: Polygon, rect: Rect) -> Alpha:
    """Pixels whose centre is inside (even-odd) or within half a pixel's diagonal of an edge."""
    x = np.arange(rect.x0, rect.x1, dtype=np.float32)[None, :] + np.float32(0.5)
    y = np.arange(rect.y0, rect.y1, dtype=np.float32)[:, None] + np.float32(0.5)
    inside = np.zeros((y.size, x.size), np.bool_)
    near = np.zeros_like(inside)
    for (ax, ay), (bx, by) in zip(region.points, region.points[1:] + region.points[:1], strict=True):
        dx, dy = bx - ax, by - ay
        if dy:
            inside ^= ((ay > y) != (by > y)) & (x < ax + dx * (y - ay) / dy)
        along = np.clip(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
        near |= np.hypot(x - ax - along * dx, y - ay - along * dy) <= 0.71
    mask: Alpha = (inside | near).astype(np.float32)
    return mask


def _ellipse(region: Ellipse, rect: Rect, feather_px: float) -> Alpha:
    # half a pixel's diagonal more, so that every pixel that the ellipse touches is whole inside
    rx, ry = region.rx + 0.71, region.ry + 0.71
    x = (np.arange(rect.x0, rect.x1, dtype=np.float32) + np.float32(0.5 - region.x)) / np.float32(rx)
    y = (np.arange(rect.y0, rect.y1, dtype=np.float32) + np.float32(0.5 - region.y)) / np.float32(ry)
    square = (x * x)[None, :] + (y * y)[:, None]
    if feather_px <= 0:
        return (square <= 1).astype(np.float32)
    outside_px = (np.sqrt(square) - 1) * np.float32(min(rx, ry))
    result: Alpha = np.clip(1 - outside_px / np.float32(feather_px), 0, 1)
    return result


def pooled(mask: Alpha, log2_w: int, log2_h: int) -> Alpha:
    """The mask of a subsampled plane: a sample is covered as much as the most covered of its pixels.
    `mask` begins on the chroma grid."""
    if not (log2_w or log2_h):
        return mask
    step_y, step_x = 1 << log2_h, 1 << log2_w
    below, right = -mask.shape[0] % step_y, -mask.shape[1] % step_x
    if below or right:  # at the end of a picture of odd size
        mask = np.pad(mask, ((0, below), (0, right)))
    rows: Alpha = reduce(np.maximum, (mask[dy::step_y] for dy in range(step_y)))
    result: Alpha = reduce(np.maximum, (rows[:, dx::step_x] for dx in range(step_x)))
    return result


def stored(region: Region, orientation: Orientation, width: int, height: int) -> Region:
    """The region in the stored picture of `width` x `height` pixels."""
    if isinstance(region, Whole) or not (orientation.quarter_turns % 4 or orientation.mirrored):
        return region
    if isinstance(region, Polygon):
        return Polygon(tuple(_stored_point(x, y, orientation, width, height) for x, y in region.points))
    x, y = _stored_point(region.x, region.y, orientation, width, height)
    rx, ry = (region.ry, region.rx) if orientation.quarter_turns % 2 else (region.rx, region.ry)
    return Ellipse(x, y, rx, ry, region.track)


def _stored_point(
    x: float, y: float, orientation: Orientation, width: int, height: int
) -> tuple[float, float]:
    """Undoes the quarter turns, then the mirror."""
    match orientation.quarter_turns % 4:
        case 1:
            x, y = y, height - x
        case 2:
            x, y = width - x, height - y
        case 3:
            x, y = width - y, x
    return (width - x if orientation.mirrored else x), y

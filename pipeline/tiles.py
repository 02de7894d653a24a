"""A large picture in tiles, so that a costly network looks only where a small face may be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

import numpy as np

from veilcast.arrays import Float32
from veilcast.pipeline.detectors.candidates import Candidates
from veilcast.pipeline.detectors.network import MULTIPLE_PX
from veilcast.types import Boxes, Rgb

SMALL_PX = 48.0  # side in the picture below which a face is small
_CORE_PX = 224, 240  # width and height of what a tile is there for
_WIDE = 3  # cores that are one tile where each would need its own: two sizes in all, each is compiled for
_ROOM_PX = 48  # at least, around that: a small face whose middle is in the core lies in the tile whole
# share of the picture from which on it is looked at whole: where many are seen, others are not
_CROWD = 0.3
_CUT_PX = 2.0  # from a tile's edge: what reaches it may go on beyond

Middles = Float32[np.ndarray, "n 2"]  # x, y in pixels of the picture
Place = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels of the picture


def small(boxes: Boxes) -> Boxes:
    """Those of the boxes, in pixels of the picture, that are small."""
    sides: Float32[np.ndarray, " n"] = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    return boxes[sides < SMALL_PX]


def around(boxes: Boxes, size: tuple[int, int]) -> list[Place]:
    """Tiles of a picture of `size` (width, height) so that the middle of every box is in the core of one: row
    below row, each from the uppermost box that has none on, neighbours as one; the whole picture where they
    are a crowd, nothing where there is no box."""
    middles: Float32[np.ndarray, "n 2"] = np.clip((boxes[:, :2] + boxes[:, 2:]) / 2, 0, np.array(size) - 1)
    left = middles[np.argsort(middles[:, 1], kind="stable")]
    places = []
    while len(left):
        row, left = _split(left, 1, _CORE_PX[1])
        y0, y1 = _span(row[:, 1], _CORE_PX[1], size[1])
        places += [(x0, y0, x1, y1) for x0, x1 in _columns(row, size[0])]
    if sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in places) >= _CROWD * size[0] * size[1]:
        return [(0, 0, *size)]
    return places


def _columns(row: Middles, width: int) -> Iterator[tuple[int, int]]:
    """From where to where the tiles of one row lie."""
    row = row[np.argsort(row[:, 0], kind="stable")]
    while len(row):
        core, alone, near = _CORE_PX[0], 0, _split(row, 0, _WIDE * _CORE_PX[0])[0]
        while len(near):
            near, alone = _split(near, 0, core)[1], alone + 1
        if alone >= _WIDE:
            core *= _WIDE
        inside, row = _split(row, 0, core)
        yield _span(inside[:, 0], core, width)


def _split(ordered: Middles, side: int, length: float) -> tuple[Middles, Middles]:
    """Those at most `length` from the first one along a side, and those after them."""
    many = int(np.searchsorted(ordered[:, side], ordered[0, side] + length, "right"))
    return ordered[:many], ordered[many:]


def _span(middles: Float32[np.ndarray, " n"], core: int, whole: int) -> tuple[int, int]:
    """From where to where a tile lies along one side of the picture: its boxes in the middle, with room, in a
    length that networks take as it is, and inside."""
    length = min(whole, ceil((core + 2 * _ROOM_PX) / MULTIPLE_PX) * MULTIPLE_PX)
    first = int(middles.min() + middles.max() - length) // 2
    first = min(max(first, 0), whole - length)
    return first, first + length


def cut(rgb: Rgb, place: Place) -> Rgb:
    x0, y0, x1, y1 = place
    return np.ascontiguousarray(rgb[y0:y1, x0:x1])


def at_home(seen: Candidates, place: Place, size: tuple[int, int]) -> Candidates:
    """What was seen in a tile, in pixels of the picture of `size`, without what its edges cut."""
    x0, y0, x1, y1 = place
    boxes = seen.boxes + np.array([x0, y0, x0, y0], np.float32)
    low = np.array([x0, y0], np.float32) + np.where(np.array([x0, y0]) > 0, _CUT_PX, -np.inf)
    inside = np.array([x1, y1]) < np.array(size)
    high = np.array([x1, y1], np.float32) - np.where(inside, _CUT_PX, -np.inf)
    whole = np.flatnonzero((boxes[:, :2] >= low).all(axis=1) & (boxes[:, 2:] <= high).all(axis=1))
    return replace(seen, boxes=boxes, points=seen.points + np.array([x0, y0], np.float32)).take(whole)

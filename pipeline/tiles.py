"""A large picture in tiles, so that a costly network looks only where a small face may be."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import replace
from itertools import count
from math import ceil

import numpy as np
from jaxtyping import Float32

from veilcast.pipeline.detectors.candidates import Boxes, Candidates
from veilcast.pipeline.detectors.network import MULTIPLE_PX
from veilcast.types import Rgb

SMALL_PX = 48.0  # side in the picture below which a face is small
_CORE_PX = 448, 336  # width and height of what a tile is there for: few sizes, whatever the picture's
_ROOM_PX = 40  # around that: a small face whose middle is in the core lies in the tile whole
_CUT_PX = 2.0  # from a tile's edge: what reaches it may go on beyond

Place = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels of the picture


def small(boxes: Boxes) -> Boxes:
    """Those of the boxes, in pixels of the picture, that are small."""
    sides: Float32[np.ndarray, " n"] = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    return boxes[sides < SMALL_PX]


def around(boxes: Boxes, size: tuple[int, int]) -> list[Place]:
    """The tiles of a picture of `size` (width, height) in whose core a box has its middle, neighbours in a
    row as one; the whole picture where they would be as much work, nothing where there is no box."""
    width, height = _CORE_PX
    middles = np.clip((boxes[:, :2] + boxes[:, 2:]) / 2, 0, np.array(size) - 1)
    cells = (middles // np.array(_CORE_PX)).astype(int)
    places = []
    for row, first, last in _runs({(int(row), int(column)) for column, row in cells}):
        x0, x1 = _span(first * width, last * width, size[0])
        y0, y1 = _span(row * height, (row + 1) * height, size[1])
        places.append((x0, y0, x1, y1))
    if sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in places) >= size[0] * size[1]:
        return [(0, 0, *size)]
    return places


def _runs(cells: Set[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Row, first column and the one after the last of each run of neighbours."""
    for row, first in sorted(cells):
        if (row, first - 1) not in cells:
            yield row, first, next(column for column in count(first) if (row, column) not in cells)


def _span(start: int, end: int, whole: int) -> tuple[int, int]:
    """From where to where a tile lies along one side of the picture: with room, in a length that networks
    take as it is, and inside."""
    length = min(whole, ceil((end - start + 2 * _ROOM_PX) / MULTIPLE_PX) * MULTIPLE_PX)
    first = min(max((start + end - length) // 2, 0), whole - length)
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

"""A large picture in tiles of one size, so that a costly network looks only where a small face may be."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
from jaxtyping import Float32

from veilcast.pipeline.detectors.candidates import Boxes, Candidates
from veilcast.pipeline.detectors.network import MULTIPLE_PX
from veilcast.types import Rgb

SMALL_PX = 48.0  # side in the picture below which a face is small
_CORE_PX = 448, 336  # width and height of what a tile is there for, at most
_ROOM_PX = 40  # around that: a small face whose middle is in the core lies in the tile whole
_CUT_PX = 2.0  # from a tile's edge: what reaches it may go on beyond

Place = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels of the picture


def small(boxes: Boxes) -> Boxes:
    """Those of the boxes, in pixels of the picture, that are small."""
    sides: Float32[np.ndarray, " n"] = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    return boxes[sides < SMALL_PX]


def around(boxes: Boxes, size: tuple[int, int]) -> list[Place]:
    """The tiles of a picture of `size` (width, height) in whose core a box has its middle, all equally large;
    the whole picture where they would be as much work, nothing where there is no box."""
    counts = [ceil(side / core) for side, core in zip(size, _CORE_PX, strict=True)]
    cores = [side / count for side, count in zip(size, counts, strict=True)]
    wide, high = (min(side, _whole(core + 2 * _ROOM_PX)) for side, core in zip(size, cores, strict=True))
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    cells = np.clip(middles // np.array(cores, np.float32), 0, np.array(counts) - 1).astype(int)
    wanted = sorted({(int(column), int(row)) for column, row in cells})
    if len(wanted) * wide * high >= size[0] * size[1]:
        return [(0, 0, *size)]
    return [
        (x, y, x + wide, y + high)
        for column, row in wanted
        for x in [_start((column + 0.5) * cores[0], wide, size[0])]
        for y in [_start((row + 0.5) * cores[1], high, size[1])]
    ]


def cut(rgb: Rgb, place: Place) -> Rgb:
    x0, y0, x1, y1 = place
    return np.ascontiguousarray(rgb[y0:y1, x0:x1])


def _whole(length_px: float) -> int:
    """The next length that networks take as it is."""
    return ceil(length_px / MULTIPLE_PX) * MULTIPLE_PX


def _start(middle: float, length: int, whole: int) -> int:
    """Where a tile begins, so that it lies in the picture."""
    return min(max(round(middle - length / 2), 0), whole - length)


def at_home(seen: Candidates, place: Place, size: tuple[int, int]) -> Candidates:
    """What was seen in a tile, in pixels of the picture of `size`, without what its edges cut."""
    x0, y0, x1, y1 = place
    boxes = seen.boxes + np.array([x0, y0, x0, y0], np.float32)
    low = np.array([x0, y0], np.float32) + np.where(np.array([x0, y0]) > 0, _CUT_PX, -np.inf)
    inside = np.array([x1, y1]) < np.array(size)
    high = np.array([x1, y1], np.float32) - np.where(inside, _CUT_PX, -np.inf)
    whole = np.flatnonzero((boxes[:, :2] >= low).all(axis=1) & (boxes[:, 2:] <= high).all(axis=1))
    return replace(seen, boxes=boxes, points=seen.points + np.array([x0, y0], np.float32)).take(whole)

"""Hard cuts, found on a few hundred samples of luma.

A cut that is missed drags a box for a moment; a cut that is imagined takes away the lead and the lag
of a cover. So only a picture that has nothing in common with the one before counts: what is alike
in structure (a flash, a fade, a camera that adapts) or differs as the last frames did (a pan, a
crowd, a shaking camera) does not.
"""

from __future__ import annotations

from collections import deque
from statistics import median

import cv2
import numpy as np

from veilcast.arrays import Float32
from veilcast.types import Frame, Plane

Small = Float32[np.ndarray, "h w"]  # cells of luma, 0 to 1

GRID = (32, 18)  # cells, width x height
MAX_LIKENESS = 0.4  # correlation of two pictures above which they show the same
MIN_CHANGE = 0.05  # mean change of a cell, of the sample range
MIN_JUMP = 3.0  # that change over the median one of the last frames
MEMORY = 12  # frames
FLAT = 0.01  # standard deviation of the cells under which a picture shows nothing


class CutFinder:
    """Tells for each frame of a stream, in order, whether a hard cut lies before it."""

    def __init__(self) -> None:
        self._before: Small | None = None
        self._changes: deque[float] = deque(maxlen=MEMORY)

    def is_cut(self, now: Small) -> bool:
        """`now`: the frame's `small_luma`."""
        if is_flat(now):  # a flash, or black between two scenes: judge what comes after it
            return False
        before, self._before = self._before, now
        if before is None:
            return False
        if now.shape != before.shape:  # the picture changed its size: nothing carries over
            return True
        change = float(np.abs(now - before).mean())
        usual = median(self._changes) if self._changes else 0.0
        self._changes.append(change)
        return change >= MIN_JUMP * usual and is_another(now, before)


def is_another(now: Small, before: Small) -> bool:
    """Whether two pictures have nothing in common."""
    change = float(np.abs(now - before).mean())
    return change >= MIN_CHANGE and likeness(now, before) <= MAX_LIKENESS


def is_flat(small: Small) -> bool:
    """Whether a picture shows nothing."""
    return float(small.std()) < FLAT


def small_luma(frame: Frame) -> Small:
    """Cell means, 0 to 1, of every few samples: cost does not grow with the picture."""
    width, height = frame.size
    step_x, step_y = max(1, width // (GRID[0] * 4)), max(1, height // (GRID[1] * 4))
    top = np.float32((1 << frame.format.depth) - 1)
    sparse = _sparse(frame, step_x, step_y).astype(np.float32) / top
    grid = GRID if width >= height else GRID[::-1]
    cells: Small = cv2.resize(sparse, grid, interpolation=cv2.INTER_AREA)
    return cells


def _sparse(frame: Frame, step_x: int, step_y: int) -> Plane:
    if frame.there is not None and not frame.planes:
        return frame.there.sparse_luma(step_x, step_y)
    samples: Plane = frame.planes[0][::step_y, ::step_x]
    return samples


def likeness(a: Small, b: Small) -> float:
    """Correlation of two small pictures, -1 to 1; 0 where one is flat."""
    x, y = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / norm if norm > 1e-6 else 0.0

"""How the picture as a whole moves: a camera that is swung, carried at a run or zoomed takes faces from their
places sooner than the clock asks for another look, and none of them is new.

Between two looks the tracker expects that all goes on as it went. So what counts is how far the picture has
come since the last look from where that lets expect it, and any way that is long.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import cv2
import numpy as np

from veilcast.arrays import Bool, Float32
from veilcast.pipeline.cuts import Small, is_flat

Flow = Float32[np.ndarray, "h w 2"]  # cells a frame that each part of the picture moved, x and y
Mask = Bool[np.ndarray, "h w"]

WAY = 0.6  # cells since the last look, from which even an even motion is looked after
UNEVEN = 0.12  # cells from where the motion between the last two looks would have led
CALM = 0.05  # cells a frame that noise and a crowd make of a camera that stands
PART = 5  # cells a side of the parts of a picture that may move otherwise
FAINT = 0.3  # of the mean slope, below which a part shows nothing
DOUBT = 0.3  # of the mean squared slope, added to each: a faint one is believed less
LEAST = 1e-9  # of that, which divides
REMEMBERED = 256  # frames since the last look


class Step(NamedTuple):
    """A frame, and how the picture came there from the one before."""

    small: Small
    moved: Flow
    shows: Mask
    cells: float  # its speed


class Course:
    """The motion of a stream, frame after frame, since the last one that was looked at."""

    def __init__(self) -> None:
        self._since: deque[Step] = deque(maxlen=REMEMBERED)
        self._before: Small | None = None
        self._foretold: Flow | None = None  # a frame, between the last two looks; None = unknown

    def follow(self, now: Small) -> None:
        """`now`: the `small_luma` of every frame, in order."""
        before, self._before = self._before, now
        if before is None or before.shape != now.shape:
            self._since.clear()
            self._foretold, before = None, now
        moved, shows = flow(now, before), shown(now)
        self._since.append(Step(now, moved, shows, speed(moved, shows)))

    def looked(self, at: Small) -> None:
        """`at`: one of those frames, perhaps not the newest."""
        if not any(step.small is at for step in self._since):
            return
        way = list[Step]()
        while not way or way[-1].small is not at:
            way.append(self._since.popleft())
        # what is as fast as that will hardly stay so, or it was a cut
        known = all(step.cells < WAY for step in way)
        self._foretold = np.mean([step.moved for step in way], axis=0) if known else None

    @property
    def is_far(self) -> bool:
        """Whether faces may be elsewhere by now than the last look lets expect."""
        if not self._since:
            return False
        if sum(max(0.0, step.cells - CALM) for step in self._since) >= WAY:
            return True
        unforeseen = np.sum([step.moved for step in self._since], axis=0)
        if self._foretold is not None:
            unforeseen -= len(self._since) * self._foretold
        return speed(unforeseen, self._since[-1].shows) >= UNEVEN


def flow(now: Small, before: Small) -> Flow:
    """The motion of each part, by least squares over its cells, 0 where nothing is to be seen (Lucas, Kanade,
    "An iterative image registration technique", 1981, one step of it). What moves by more than about a cell
    is underrated."""
    if is_flat(now) or is_flat(before):
        return np.zeros((*now.shape, 2), np.float32)
    (x, y), change = _slopes((now + before) / 2), now - before
    change -= cv2.blur(change, (PART, PART))  # of the light
    products = (x * x, x * y, y * y, x * change, y * change)
    xx, xy, yy, xt, yt = (cv2.blur(product, (PART, PART)) for product in products)
    doubt = DOUBT * float((xx + yy).mean()) + LEAST
    xx, yy = xx + doubt, yy + doubt
    moved: Flow = np.stack([xy * yt - yy * xt, xy * xt - xx * yt], -1) / (xx * yy - xy * xy)[..., None]
    return moved


def shown(small: Small) -> Mask:
    """Where a picture shows motion, if there is one: not at a wall or in the sky."""
    slope = cv2.blur(np.hypot(*_slopes(small)), (PART, PART))
    seen: Mask = slope >= FAINT * slope.mean()
    return seen


def speed(moved: Flow, shows: Mask) -> float:
    """Cells that half of what the picture shows moved by at least."""
    return float(np.median(np.hypot(moved[..., 0], moved[..., 1])[shows]))


def _slopes(small: Small) -> tuple[Small, Small]:
    x, y = (cv2.Sobel(small, cv2.CV_32F, *way, ksize=3, scale=1 / 8) for way in ((1, 0), (0, 1)))
    return x, y

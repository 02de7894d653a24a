"""How fast the picture as a whole moves: a camera that is swung, carried at a run or zoomed takes faces from
their places sooner than the clock asks for another look, and none of them is new.

Between two looks the tracker expects that all goes on as it went. So what counts is the way since the last
look that it does not expect, and any way that is long.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from veilcast.pipeline.cuts import Small, is_flat

WAY = 0.6  # cells since the last look, from which even an even motion is looked after
UNEVEN = 0.1  # cells of it that the speed at the last look does not foretell
CALM = 0.1  # cells a frame that noise and a crowd make of a camera that stands
PART = 5  # cells a side of the parts of a picture that may move otherwise
FAINT = 0.3  # of the mean slope, below which a part shows nothing
LEAST = 1e-6  # slope of a part that divides
REMEMBERED = 256  # frames since the last look
_ALONG = 2 / np.pi  # of a motion, what a slope in any direction shows of it in the mean


class Course:
    """The motion of a stream, frame after frame, since the last one that was looked at."""

    def __init__(self) -> None:
        self._before: Small | None = None
        self._since: deque[tuple[Small, float]] = deque(maxlen=REMEMBERED)  # frames and their speeds
        self._foretold: float | None = None  # speed at the last look; None = of the next frame that has one

    def follow(self, now: Small) -> None:
        """`now`: the `small_luma` of every frame, in order."""
        before, self._before = self._before, now
        cells = 0.0 if before is None else speed(now, before)
        self._since.append((now, cells))
        if self._foretold is None and before is not None:
            self._foretold = cells

    def looked(self, at: Small) -> None:
        """`at`: one of those frames, perhaps not the newest."""
        for number, (small, cells) in enumerate(self._since):
            if small is at:
                self._foretold = cells if 0 < cells < WAY else None  # that was another picture
                for _ in range(number + 1):
                    self._since.popleft()
                return

    @property
    def is_far(self) -> bool:
        """Whether faces may be elsewhere by now than the last look lets expect."""
        speeds = [cells for _, cells in self._since]
        way = sum(max(0.0, cells - CALM) for cells in speeds)
        return way >= WAY or sum(abs(cells - (self._foretold or 0.0)) for cells in speeds) >= UNEVEN


def speed(now: Small, before: Small) -> float:
    """Cells that half of the picture moved by at least: how much a part of it changed over how steep it is
    (brightness constancy, dI = -grad I . v; Horn, Schunck, "Determining optical flow", 1981). 0 where nothing
    is to be seen."""
    if now.shape != before.shape or is_flat(now) or is_flat(before):
        return 0.0
    mean = (now + before) / 2
    steep = np.hypot(np.diff(mean, axis=0)[:, :-1], np.diff(mean, axis=1)[:-1])
    change = now - before
    change -= cv2.blur(change, (PART, PART))  # of the light
    slope, way = (cv2.blur(cells, (PART, PART)) for cells in (steep, np.abs(change)[:-1, :-1]))
    shows = slope >= FAINT * slope.mean()  # a wall or the sky tells of no motion
    return float(np.median(way[shows] / (slope[shows] + LEAST))) / _ALONG

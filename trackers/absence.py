"""Where nobody is any more: the one thing that ends a cover before its time.

A look that finds no face may have missed it. Two looks running that see nothing where it should be, not
even what a network takes for a face faintly, did not: there is no cover between them. From a detection to
the next look the cover stays; from the faintest, of which most are no faces, it holds a quarter of the way.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from veilcast.arrays import UInt8
from veilcast.trackers.base import Observation
from veilcast.types import Box, Boxes

SIZES = 3.0  # times larger or smaller that something faint may be and still be the face that is looked for
ALIKE = 0.7  # correlation of two pictures from which they show the same
SAME_LIGHT = 0.12  # mean difference of two pictures up to which they show it in one light, of the range
FAINT = 0.9  # of the score that starts a track: a detection below it is faint
FAINT_REACH = 0.25  # of the way from there to a look that sees nothing


def shows(faint: Boxes, box: Box) -> bool:
    """Whether something of about its size has its centre in the box."""
    x, y = (faint[:, 0] + faint[:, 2]) / 2, (faint[:, 1] + faint[:, 3]) / 2
    inside = (x >= box.x0) & (x <= box.x1) & (y >= box.y0) & (y <= box.y1)
    areas = np.prod(faint[:, 2:] - faint[:, :2], axis=1) / max(box.area, 1e-9)
    alike = (areas > SIZES**-2) & (areas < SIZES**2)
    return bool((inside & alike).any())


class Resemblance:
    """Whether two frames, by their places in `observations`, show the same in one light."""

    def __init__(self, observations: Sequence[Observation]) -> None:
        self._observations = observations
        self._known: dict[tuple[int, int], bool] = {}  # all tracks ask the same

    def __call__(self, one: int, other: int) -> bool:
        if (one, other) not in self._known:
            a, b = self._observations[one].cells, self._observations[other].cells
            self._known[one, other] = a is None or b is None or a is b or _alike(a, b)
        return self._known[one, other]


def _alike(a: UInt8[np.ndarray, "h w"], b: UInt8[np.ndarray, "h w"]) -> bool:
    x, y = a / np.float32(255), b / np.float32(255)
    if x.shape != y.shape or np.abs(x - y).mean() > SAME_LIGHT:
        return False
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return norm > 1e-6 and float((x * y).sum()) >= ALIKE * norm


class Absence:
    """Tells of one track in which frames it is not there. Frames count by their place in `observations`.

    looks: those of the track's scene that were looked at, in order; hits: its detections, with whether each
    is faint; box_at: where it should be in a frame; alike: whether a look speaks for a frame.
    """

    def __init__(
        self,
        observations: Sequence[Observation],
        looks: Sequence[int],
        hits: Mapping[int, bool],
        box_at: Callable[[int], Box],
        alike: Callable[[int, int], bool],
    ) -> None:
        self._observations, self._looks, self._hits, self._box_at = observations, looks, hits, box_at
        self._alike = alike
        self._known: dict[int, bool] = {}

    def __contains__(self, frame: int) -> bool:
        before, after = bisect_right(self._looks, frame) - 1, bisect_left(self._looks, frame)

        def is_empty(look: int) -> bool:
            return self._is_empty(look) and self._alike(self._looks[look], frame)

        first, second = is_empty(before), is_empty(after)
        if before == after:
            return first and (is_empty(before - 1) or is_empty(after + 1))
        if first == second:
            return first
        hit, empty, beyond = (after, before, before - 1) if first else (before, after, after + 1)
        return is_empty(beyond) and self._is_beyond(frame, hit, empty)

    def _is_empty(self, look: int) -> bool:
        """Whether a look sees nothing of it. One that there is not sees nobody, and nobody's absence."""
        if not 0 <= look < len(self._looks):
            return False
        frame = self._looks[look]
        if frame not in self._known:
            faint = None if frame in self._hits else self._observations[frame].faint
            self._known[frame] = faint is not None and not shows(faint, self._box_at(frame))
        return self._known[frame]

    def _is_beyond(self, frame: int, hit: int, empty: int) -> bool:
        """Whether a frame between a detection and a look that sees nothing is farther from the detection than
        a faint one reaches. Of another look, which sees something faint, nothing is farther."""
        if not 0 <= hit < len(self._looks):
            return False
        at, to = self._looks[hit], self._looks[empty]
        start = self._observations[at].time
        passed, whole = self._observations[frame].time - start, self._observations[to].time - start
        return self._hits.get(at, False) and abs(passed) > FAINT_REACH * abs(whole)

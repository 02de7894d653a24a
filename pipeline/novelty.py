"""What the last look cannot have seen, on a few hundred samples of luma: somebody who is in the picture for
a few frames, between two looks that the clock asks for, would never be found.

What was seen and has moved a little is nothing new: the tracker knows where it is. So each part of the
picture is compared with all that the last look saw around there. Where all of it moves faster than a tracker
can know (motion.py), all of it counts as new.
"""

from __future__ import annotations

import cv2
import numpy as np

from veilcast.pipeline.cuts import Small, is_another, is_flat
from veilcast.pipeline.motion import Course

NEW = 0.09  # mean difference of a part from all around there, of the sample range
SOFT = 0.6  # cells, standard deviation: texture that moves by less than a cell is no difference
PART = 3  # cells a side
AROUND = 2  # cells in each direction


class Watch:
    """Compares each frame of a stream with the last one that was looked at."""

    def __init__(self) -> None:
        self._seen: Small | None = None
        self._course = Course()

    def follow(self, now: Small) -> None:
        """To be told of every frame, in order, before anything is asked about it."""
        self._course.follow(now)

    def looked(self, at: Small) -> None:
        """`at`: the frame's `small_luma`, as all that is asked about."""
        self._seen = at
        self._course.looked(at)

    def is_foreign(self, now: Small) -> bool:
        """Whether the last look saw another picture altogether."""
        seen = self._seen
        if seen is None or is_flat(now):
            return False
        return seen.shape != now.shape or (not is_flat(seen) and is_another(now, seen))

    def is_new(self, now: Small) -> bool:
        """Whether there is something in the picture that the last look did not see, or not there. In a
        flash, or in black between two scenes, there is nothing to be seen; who looked there saw nothing."""
        seen = self._seen
        if seen is None or is_flat(now):
            return False
        return seen.shape != now.shape or is_flat(seen) or self._course.is_far or novelty(now, seen) >= NEW


def novelty(now: Small, seen: Small) -> float:
    """How much the part differs that is least like anything around its place, 0 to 1 (block matching)."""
    now, seen = (cv2.GaussianBlur(cells, (0, 0), SOFT) for cells in (now, seen))
    there = _differences(now, seen)
    if float(there.max()) < NEW:  # as it mostly is: nothing has even moved
        return float(there.max())
    height, width = now.shape
    padded = np.pad(seen, AROUND, mode="edge")
    for y in range(2 * AROUND + 1):
        for x in range(2 * AROUND + 1):
            there = np.minimum(there, _differences(now, padded[y : y + height, x : x + width]))
    return float(there.max())


def _differences(a: Small, b: Small) -> Small:
    means: Small = cv2.blur(cv2.absdiff(a, b), (PART, PART))
    return means

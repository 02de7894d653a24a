"""The few pictures that a report shows: the most exposed, the median and the least exposed faces."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import cv2

from veilcast.evaluation.samples import Case
from veilcast.types import Rgb

SHOWN = 6  # of each kind
DRAWN = 60  # candidates for the median


class Album:
    """Keeps a bounded number of cases out of any number that is offered; the same for the same offers."""

    def __init__(self) -> None:
        self._worst: list[Case] = []
        self._best: list[Case] = []
        self._drawn: list[Case] = []
        self._offered = 0
        self._random = random.Random(0)

    def offer(self, score: float, pictures: Callable[[], Sequence[Rgb]], caption: str) -> None:
        """Keeps the case if it is among the extremes or drawn; `pictures` (before, after) is only then
        asked for. `score`: the higher, the more of the face is still there."""
        self._offered += 1
        slot = self._random.randrange(self._offered)
        among_worst = len(self._worst) < SHOWN or score > self._worst[-1].score
        among_best = len(self._best) < SHOWN or score < self._best[-1].score
        if not (slot < DRAWN or among_worst or among_best):
            return
        before, after = (_jpeg(p) for p in pictures())
        case = Case(before, after, score, caption)
        self._worst = sorted([*self._worst, case], key=lambda c: -c.score)[:SHOWN]
        self._best = sorted([*self._best, case], key=lambda c: c.score)[:SHOWN]
        if len(self._drawn) < DRAWN:
            self._drawn.append(case)
        elif slot < DRAWN:
            self._drawn[slot] = case

    def cases(self) -> dict[str, list[Case]]:
        """Up to `SHOWN` of each kind, by what to call them."""
        ordered = sorted(self._drawn, key=lambda c: c.score)
        start = max(0, (len(ordered) - SHOWN) // 2)
        return {
            "most exposed": self._worst,
            "median": ordered[start : start + SHOWN],
            "least exposed": self._best,
        }


def _jpeg(rgb: Rgb) -> bytes:
    _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    return data.tobytes()

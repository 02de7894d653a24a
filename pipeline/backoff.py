"""How long to wait before the next try: longer each time, never beyond a cap, never in step with others."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """`next_s()` before each try; `reset()` after one that lasted.

    Exponential with full jitter above the half (as in "Exponential backoff and jitter", AWS 2015, "equal
    jitter"): cameras that went away together do not come back together.
    """

    def __init__(
        self, first_s: float, most_s: float, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._first_s, self._most_s, self._uniform = first_s, most_s, uniform
        self.tries = 0

    def next_s(self) -> float:
        whole_s = min(self._first_s * 2 ** min(self.tries, 30), self._most_s)
        self.tries += 1
        return self._uniform(whole_s / 2, whole_s)

    def reset(self) -> None:
        self.tries = 0

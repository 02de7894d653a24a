"""Counts of what happened, owned by one process and passed by hand: no globals, no locks."""

from __future__ import annotations

from collections import Counter


class Counters:
    """Named totals. `snapshot()` is what reports and metrics read."""

    def __init__(self) -> None:
        self._totals: Counter[str] = Counter()

    def add(self, name: str, amount: int = 1) -> None:
        self._totals[name] += amount

    def snapshot(self) -> dict[str, int]:
        return dict(self._totals)

"""The time that an archive job took, all its runs together."""

from __future__ import annotations

import time
from typing import Self

from veilcast.pipeline.journal import Journal

NOTED_EVERY_S = 5.0


class Clock:
    """Notes the time in the journal every few seconds, for a run may be killed. A context manager.
    began_s: when this run began, on the monotonic clock."""

    def __init__(self, journal: Journal, began_s: float) -> None:
        self._journal, self._began_s = journal, began_s
        self._before_s: float = journal.get("wall_s") or 0.0
        self._due_s = began_s

    def tick(self) -> None:
        """To be called often."""
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + NOTED_EVERY_S
            self._note()

    def _note(self) -> None:
        self._journal.set(wall_s=self._before_s + time.monotonic() - self._began_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *rest: object) -> None:
        self._note()

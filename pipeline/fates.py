"""What becomes of each picture of a session, those that never reach the gate included."""

from __future__ import annotations

from veilcast.pipeline.ledger import Fate, Ledger
from veilcast.pipeline.live_stats import Stats

REMEMBERED = 2000  # changes of fate


class Fates:
    """Pictures are told of in order; those that are left out were lost before anybody saw them."""

    def __init__(self, stats: Stats) -> None:
        self.ledger = Ledger()
        self._stats = stats
        self._next = 0  # the number of the picture that is due
        self.overrun = False  # pictures were lost before anybody looked, since this was last taken back

    def reached(self, index: int) -> None:
        """This picture has come so far: all before it have their fate."""
        for lost in range(self._next, index):
            self.ledger.entry(lost, Fate.DROPPED, "not taken in time")
            self._stats.count("dropped: not taken in time")
            self.overrun = True
        self._next = index + 1
        if len(self.ledger.stretches) > REMEMBERED:  # a camera runs for months
            del self.ledger.stretches[: REMEMBERED // 2]

    def drop(self, index: int, reason: str) -> None:
        self.reached(index)
        self.ledger.entry(index, Fate.DROPPED, reason)
        self._stats.count(f"dropped: {reason}")

    def settle(self, frames: int) -> None:
        """After the end: `frames` came, and every one must have its fate. Raises PrivacyTripped."""
        self.reached(frames)
        self.ledger.balance(frames)

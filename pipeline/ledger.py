"""The fate of every frame. What is not in the ledger does not reach the encoder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from veilcast.errors import PrivacyTripped
from veilcast.pipeline.shapes import Region


class Fate(StrEnum):
    CLEAN = "clean"  # no face known, nothing covered
    REDACTED = "redacted"
    SLATED = "slated"  # covered whole
    DROPPED = "dropped"  # not written, for a stated reason


@dataclass(frozen=True, slots=True)
class Entry:
    index: int
    fate: Fate
    reason: str
    regions: tuple[Region, ...]  # what must be covered, in displayed pixels


@dataclass(frozen=True, slots=True)
class Stretch:
    """Frames in a row with one fate and reason: first to last, both included."""

    first: int
    last: int
    fate: Fate
    reason: str


class Ledger:
    """One entry for each frame, in order and once; each is claimed once by the gate. Memory does not
    grow with the frames, only with the changes of fate."""

    def __init__(self, first: int = 0) -> None:
        self.stretches: list[Stretch] = []
        self.counts: Counter[Fate] = Counter()
        self._next = first
        self._open: dict[int, Entry] = {}

    def entry(self, index: int, fate: Fate, reason: str = "", regions: tuple[Region, ...] = ()) -> None:
        """Enters the next frame. Raises PrivacyTripped for one that is out of order or entered twice."""
        if index != self._next:
            raise PrivacyTripped(f"frame {index} reached the ledger where frame {self._next} was due")
        self._next += 1
        if fate is Fate.DROPPED:
            self._settle(Entry(index, fate, reason, regions))
        else:
            self._open[index] = Entry(index, fate, reason, regions)

    def amend(self, index: int, fate: Fate, reason: str, regions: tuple[Region, ...] = ()) -> None:
        """Changes an entry that was not yet claimed: a cover that failed becomes a slate or a drop."""
        if index not in self._open:
            raise PrivacyTripped(f"frame {index} has no open entry in the ledger")
        del self._open[index]
        if fate is Fate.DROPPED:
            self._settle(Entry(index, fate, reason, regions))
        else:
            self._open[index] = Entry(index, fate, reason, regions)

    def look(self, index: int) -> Entry:
        """The open entry of a frame. Raises PrivacyTripped where there is none."""
        if index not in self._open:
            raise PrivacyTripped(f"frame {index} has no open entry in the ledger")
        return self._open[index]

    def claim(self, index: int) -> Entry:
        """Settles the entry of a frame that goes to the encoder. Raises PrivacyTripped the second time."""
        entry = self.look(index)
        del self._open[index]
        self._settle(entry)
        return entry

    def balance(self, frames_in: int) -> None:
        """Raises PrivacyTripped unless every one of `frames_in` frames has a settled fate."""
        settled = self.counts.total()
        if self._open or settled != frames_in:
            raise PrivacyTripped(
                f"the ledger does not balance: {frames_in} frames came in, {settled} have a fate and "
                f"{len(self._open)} are open; the output was not kept"
            )

    def _settle(self, entry: Entry) -> None:
        self.counts[entry.fate] += 1
        if self.stretches:
            last = self.stretches[-1]
            same = (last.fate, last.reason, last.last + 1) == (entry.fate, entry.reason, entry.index)
            if same:
                self.stretches[-1] = Stretch(last.first, entry.index, last.fate, last.reason)
                return
        self.stretches.append(Stretch(entry.index, entry.index, entry.fate, entry.reason))

"""Between the threads that receive and look and the one that covers: bounded; pictures that are too many are
lost, oldest first, which shows as a gap in the frames' numbers."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from veilcast.errors import VeilcastError
from veilcast.pipeline.aside import Answer
from veilcast.pipeline.receive import Arrival
from veilcast.pipeline.slates import Reason


@dataclass(frozen=True, slots=True)
class Event:
    """Something other than a picture. `told` is a sentence for people, `error` what ended a file."""

    reason: Reason
    told: str = ""
    error: VeilcastError | None = None


Item = Arrival | Event | Answer


class Inbox:
    def __init__(self, most: int) -> None:
        self._most = most
        self._ready = threading.Condition()
        self._waiting: deque[Item] = deque()
        self._pictures = 0

    def put(self, item: Item) -> None:
        with self._ready:
            if isinstance(item, Arrival):
                self._pictures += 1
                if self._pictures > self._most:
                    self._lose_oldest()
            self._waiting.append(item)
            self._ready.notify()

    def get(self, timeout_s: float) -> Item | None:
        """The next item in order; None where none came in time."""
        with self._ready:
            if not self._waiting:
                self._ready.wait(timeout_s)
            if not self._waiting:
                return None
            item = self._waiting.popleft()
            self._pictures -= isinstance(item, Arrival)
            return item

    def _lose_oldest(self) -> None:
        place = next(n for n, item in enumerate(self._waiting) if isinstance(item, Arrival))
        del self._waiting[place]
        self._pictures -= 1

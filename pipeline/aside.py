"""A thread beside the stream for what takes long: one thing at a time, so that networks are never asked from
two threads; what comes of it is told in the stream's own thread."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Work = Callable[[], Any]
Done = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """Calling it, in the stream's thread, tells what came of a piece of work: raises what the work raised."""

    value: Any
    error: BaseException | None
    done: Done

    def __call__(self) -> None:
        if self.error is not None:
            raise self.error
        self.done(self.value)


class Aside:
    """`tell` is called from the thread with each answer. It ends with the process, or by `stop`."""

    def __init__(self, tell: Callable[[Answer], None]) -> None:
        self._tell = tell
        self._work: queue.SimpleQueue[tuple[Work, Done] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._given = 0  # and not yet answered
        self._since_s: float | None = None
        threading.Thread(target=self._run, name="aside", daemon=True).start()

    @property
    def is_busy(self) -> bool:
        return self._given > 0

    @property
    def busy_s(self) -> float:
        """For how long the same thing has been under way."""
        since_s = self._since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def give(self, work: Work, done: Done) -> None:
        """`done` is called with what `work` returns, by whoever calls the answer."""
        with self._lock:
            self._given += 1
        self._work.put((work, done))

    def stop(self) -> None:
        self._work.put(None)

    def _run(self) -> None:
        while (asked := self._work.get()) is not None:
            work, done = asked
            self._since_s = time.monotonic()
            try:
                answer = Answer(work(), None, done)
            except Exception as error:  # noqa: BLE001 (raised in the stream's thread)
                answer = Answer(None, error, done)
            self._since_s = None
            with self._lock:
                self._given -= 1
            self._tell(answer)

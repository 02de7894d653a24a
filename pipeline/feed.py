"""The thread that keeps a camera connected: tries, reads, is thrown back, waits, tries again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from veilcast.errors import VeilcastError
from veilcast.pipeline.backoff import Backoff
from veilcast.pipeline.clocks import TICKS, Clock
from veilcast.pipeline.inbox import Event, Inbox
from veilcast.pipeline.receive import Arrival, Receiver
from veilcast.pipeline.slates import Reason

LASTED_S = 5.0  # of a connection that makes the next one a first try

Connect = Callable[[int], AbstractContextManager[Receiver]]  # from the number of the next frame


class Feed:
    """Reads into `inbox` until `stop` is set. `paced`: a file, played once in its own time. `start_s`: when
    the session began, for what comes in pieces (HLS) and is handed on picture by picture.

    `beat_s` is when the thread last came back from a library; who watches over it ends the process where
    that is too long ago.
    """

    def __init__(
        self,
        connect: Connect,
        inbox: Inbox,
        clock: Clock,
        backoff: Backoff,
        paced: bool = False,
        start_s: float | None = None,
    ) -> None:
        self._connect, self._inbox, self._clock, self._backoff = connect, inbox, clock, backoff
        self._paced, self._start_s = paced, start_s
        self._stop = threading.Event()
        self._next = 0
        self._first_s: float | None = None  # when a file's time zero was
        self.go = threading.Event()  # set when a file may go on behind its first picture
        self.beat_s = time.monotonic()
        self.connections = 0
        self.connected = False
        self.facts: dict[str, object] = {}
        self.size: tuple[int, int] | None = None  # of the first picture ever
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    @property
    def frames(self) -> int:
        """How many pictures came."""
        return self._next

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def stop(self, wait_s: float = 1.0) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(wait_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            event = self._once()
            self.connected = False
            if self._stop.is_set():
                return
            self._inbox.put(event)
            if event.reason is Reason.ENDED:
                return
            self._wait(self._backoff.next_s())

    def _once(self) -> Event:
        """One connection, from its start to its end, whatever that is."""
        start_s = self.beat_s = time.monotonic()
        self._clock.restart()
        failure: VeilcastError | None = None
        try:
            with self._connect(self._next) as receiver:
                self._read(receiver)
        except VeilcastError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 (a peer must not end the session; the text may quote it)
            failure = VeilcastError(f"reading failed ({type(error).__name__})")
        told = str(failure or "stopped")
        if time.monotonic() - start_s > LASTED_S and self.connected:
            self._backoff.reset()
        if self._paced:
            return Event(Reason.ENDED, told, failure)
        return Event(Reason.LOST if self.connections else Reason.CONNECTING, told)

    def _read(self, receiver: Receiver) -> None:
        for arrival in receiver.frames():
            self.beat_s = time.monotonic()
            self._next = receiver.next_index
            if not self.connected:
                self.connected = True
                self.connections += 1
                self.facts = receiver.facts
            if self._stop.is_set():
                return
            self.size = self.size or arrival.frame.displayed_size
            self._inbox.put(self._in_time(arrival) if self._paced else self._smoothed(arrival))

    def _smoothed(self, arrival: Arrival) -> Arrival:
        """Of what comes many pictures at a time, each when it is due; nothing more is read until then."""
        early_s = 0.0 if self._start_s is None else self._start_s + arrival.pts / TICKS - time.monotonic()
        if early_s <= 0:
            return arrival
        self._wait(early_s)
        return replace(arrival, arrived_s=time.monotonic())

    def _in_time(self, arrival: Arrival) -> Arrival:
        """A file's picture when its time has come; it waits until there is somebody to look at it."""
        if not self.go.is_set():
            if arrival.frame.index == 0:
                return arrival
            while not self.go.is_set() and not self._stop.is_set():
                self._wait(0.05)
            self._clock.restart()
            return replace(arrival, arrived_s=time.monotonic())
        if self._first_s is None:
            self._first_s = arrival.arrived_s - arrival.pts / TICKS
        due_s = self._first_s + arrival.pts / TICKS
        self._wait(due_s - time.monotonic())
        return replace(arrival, arrived_s=time.monotonic())

    def _wait(self, seconds: float) -> None:
        """Sleeps in pieces, so that waiting is not taken for hanging."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0 and not self._stop.is_set():
            self.beat_s = time.monotonic()
            self._stop.wait(min(left_s, 0.25))

"""The thread that keeps one output going: opens it, writes, opens it again when it breaks. Nothing that an
output does holds up another one or the session."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from veilcast.errors import NotWritable, PrivacyTripped, VeilcastError
from veilcast.pipeline.backoff import Backoff
from veilcast.pipeline.clocks import TICKS
from veilcast.pipeline.mixer import Mixer
from veilcast.pipeline.publish import Item, Output, Publisher

WAITING = 25  # pictures for an output that is slower than the camera


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture of the programme. `arrived_s`: when its camera's picture came; None for a card."""

    item: Item
    pts: int
    size: tuple[int, int]
    arrived_s: float | None = None
    carrier: Any = None  # the decoder's picture, where captions are kept
    is_guess: bool = False  # a card before the camera has told its size


class Outlet:
    """`written(shown)` is called for each picture that went out."""

    def __init__(
        self,
        output: Output,
        backoff: Backoff,
        mixer: Mixer | None = None,
        written: Callable[[Shown], None] = lambda shown: None,
    ) -> None:
        self.output, self._backoff, self._mixer, self._written = output, backoff, mixer, written
        self._queue: queue.Queue[Shown | None] = queue.Queue(WAITING)
        self._publisher: Publisher | None = None
        self._opened_s = 0.0
        self._size = (0, 0)
        self._first = 0
        self._retry_s = 0.0
        self.beat_s = time.monotonic()
        self.lost = 0  # pictures that the output was too slow for, or not open for
        self.opened = 0
        self.told = ""
        self.fatal: VeilcastError | None = None
        self._thread = threading.Thread(target=self._run, name="outlet", daemon=True)

    @property
    def is_open(self) -> bool:
        return self._publisher is not None

    def status(self) -> dict[str, Any]:
        return {
            "to": str(self.output.address),
            "open": self.is_open,
            "opened": self.opened,
            "lost": self.lost,
            "told": self.told,
        }

    def start(self) -> None:
        self._thread.start()

    def put(self, shown: Shown) -> None:
        """Never waits: the oldest picture that still waits is lost instead."""
        while True:
            try:
                return self._queue.put_nowait(shown)
            except queue.Full:
                with suppress(queue.Empty):
                    self._queue.get_nowait()
                    self.lost += 1

    def stop(self, wait_s: float = 5.0) -> None:
        """Writes what waits and ends the output as it should be ended, if that goes quickly."""
        if not self._thread.is_alive():
            return
        with suppress(queue.Full):
            self._queue.put(None, timeout=wait_s)
        self._thread.join(wait_s)

    def _run(self) -> None:
        while True:
            self.beat_s = time.monotonic()
            try:
                shown = self._queue.get(timeout=0.25)
            except queue.Empty:
                continue
            if shown is None:
                return self._close(whole=True)
            try:
                self._write(shown)
            except PrivacyTripped as error:
                self.fatal = error
                return self._close(whole=False)
            except NotWritable as error:
                self._broken(str(error))
            except Exception as error:  # noqa: BLE001 (an output must not end the session)
                self._broken(f"{self.output.address} failed ({type(error).__name__})")

    def _write(self, shown: Shown) -> None:
        if shown.is_guess and self.output.address.kind == "file":
            return  # the camera's own size would begin a second file
        if not self._ready(shown):
            self.lost += 1
            return
        assert self._publisher is not None
        self._publisher.write(shown.item, shown.pts, shown.carrier)
        self.told = ""  # not before: a server may take the connection and refuse what comes
        self._written(shown)
        if self._backoff.tries and time.monotonic() - self._opened_s > 2:
            self._backoff.reset()

    def _ready(self, shown: Shown) -> bool:
        """Opens what is closed, closes what has another size or a file that is full."""
        now_s = time.monotonic()
        if self._publisher is not None and (self._size != shown.size or self._is_full(shown.pts)):
            self._close(whole=True)
        if self._publisher is None and now_s >= self._retry_s:
            self._publisher = Publisher(self.output, shown.size, self._mixer)
            self._size, self._first, self._opened_s = shown.size, shown.pts, now_s
            self.opened += 1
        return self._publisher is not None

    def _is_full(self, pts: int) -> bool:
        live = self.output.live
        return self.output.address.kind == "segments" and pts - self._first >= live.segment_s * TICKS

    def _broken(self, told: str) -> None:
        self.told = told
        self._close(whole=False)
        self._retry_s = time.monotonic() + self._backoff.next_s()

    def _close(self, whole: bool) -> None:
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            try:
                publisher.close(whole)
            except NotWritable as error:
                self.told = str(error)

"""What is on air: the newest covered picture, or a card that says why there is none. One programme feeds
all outputs of a camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from veilcast.pipeline.clocks import TICKS
from veilcast.pipeline.gate import SafeFrame, fate_of
from veilcast.pipeline.ledger import Fate
from veilcast.pipeline.live_stats import Stats
from veilcast.pipeline.mixer import Mixer
from veilcast.pipeline.outlet import Outlet, Shown
from veilcast.pipeline.slates import FALLBACK_SIZE, Card, Reason

CARD_EVERY_S = 0.2
KNOWN_WITHIN_S = 1.5  # that a camera has to tell its size before a card of another one is shown
TICK_S = 0.04
CARD_TICKS = TICKS // 25  # between a picture and the card behind it, at least

# what a frame that was covered whole says on its card
WORDS = {"damaged": Reason.DAMAGED, "overload": Reason.OVERLOAD}


class Program:
    """Thread-safe. Pictures are shown `delay` ticks after their own time, so that cards, which are shown
    at the time it is, never overtake them."""

    def __init__(
        self,
        outlets: Sequence[Outlet],
        start_s: float,
        delay: int,
        slate_after_s: float,
        stats: Stats,
        mixer: Mixer | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        self._outlets, self._start_s, self._delay = tuple(outlets), start_s, delay
        self._slate_after_s, self._stats, self._mixer = slate_after_s, stats, mixer
        self._lock = threading.Lock()
        self._last = -1
        self._size = size
        self._reason = Reason.CONNECTING
        self._live_s = float("-inf")  # when the last picture was shown; -inf = hidden
        self._card_s = float("-inf")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="program", daemon=True)

    @property
    def reason(self) -> Reason | None:
        """Why a card is shown; None where the camera's picture is."""
        with self._lock:
            return None if self._is_live(time.monotonic()) else self._reason

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        for outlet in self._outlets:
            outlet.stop()

    def sized(self, size: tuple[int, int]) -> None:
        """The size of everything from now on; the first camera's picture decides."""
        with self._lock:
            self._size = self._size or size

    def hide(self, reason: Reason) -> None:
        """A card from now on, until a picture is shown."""
        with self._lock:
            self._reason, self._live_s = reason, float("-inf")

    def because(self, reason: Reason) -> None:
        """What a card will say if one is needed."""
        with self._lock:
            self._reason = reason

    def show(self, safe: SafeFrame, pts: int, arrived_s: float, carrier: Any = None) -> None:
        """The next picture, `pts` ticks into the session and the delay later. One that is covered whole is
        shown as a card, with its reason."""
        pts += self._delay
        with self._lock:
            now_s = time.monotonic()
            regions = safe.covered.regions
            if fate_of(regions) is Fate.SLATED:
                said = next((getattr(region, "reason", "") for region in regions), "")
                self._reason, self._live_s = WORDS.get(said, Reason.COVERED), float("-inf")
                if now_s - self._card_s >= CARD_EVERY_S:
                    self._card(now_s)
                return
            self._live_s, self._reason = now_s, Reason.LOST  # which it is if nothing comes behind it
            self._send(Shown(safe, pts, self._size or safe.frame.displayed_size, arrived_s, carrier))

    def _run(self) -> None:
        while not self._stop.wait(TICK_S):
            with self._lock:
                now_s = time.monotonic()
                if not self._is_live(now_s) and now_s - self._card_s >= CARD_EVERY_S:
                    self._card(now_s)

    def _is_live(self, now_s: float) -> bool:
        return now_s - self._live_s <= self._slate_after_s

    def _card(self, now_s: float) -> None:
        if self._size is None and now_s - self._start_s < KNOWN_WITHIN_S:
            return
        size = self._size or FALLBACK_SIZE
        # never before what was shown: a slate must not wait until the clock has caught up with the delay
        pts = max(round((now_s - self._start_s) * TICKS), self._last + CARD_TICKS)
        self._card_s = now_s
        self._stats.slate(self._reason)
        self._send(Shown(Card(pts, self._reason, size), pts, size, is_guess=self._size is None))

    def _send(self, shown: Shown) -> None:
        if self._mixer is not None:
            self._mixer.muted = isinstance(shown.item, Card)
        if shown.pts <= self._last:
            self._stats.count("pictures behind the output")
            return
        self._last = shown.pts
        for outlet in self._outlets:
            outlet.put(shown)

"""What a session can tell about itself: counts, latencies and rates of the last seconds. Thread-safe; plain
values that may be told to anybody."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import Any

from veilcast.pipeline.slates import Reason

SPAN_S = 10.0  # that rates and percentiles are about


class Stats:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._slates: Counter[str] = Counter()
        self._latencies: deque[tuple[float, float]] = deque()  # when, how much

    def count(self, what: str, amount: int = 1) -> None:
        with self._lock:
            self._counts[what] += amount

    def slate(self, reason: Reason) -> None:
        with self._lock:
            self._slates[reason.value] += 1

    def latency(self, arrived_s: float) -> None:
        """A picture that arrived then has left now."""
        now_s = time.monotonic()
        with self._lock:
            self._counts["pictures out"] += 1
            self._latencies.append((now_s, now_s - arrived_s))
            while self._latencies and now_s - self._latencies[0][0] > SPAN_S:
                self._latencies.popleft()

    def snapshot(self) -> dict[str, Any]:
        with self._lock:
            now_s = time.monotonic()
            recent = [(at, value) for at, value in self._latencies if now_s - at <= SPAN_S]
            span_s = now_s - recent[0][0] if recent else SPAN_S
            values = sorted(value for _, value in recent)
            return {
                "counts": dict(self._counts),
                "slates": dict(self._slates),
                "fps": round(len(recent) / max(span_s, 1.0), 2),
                "latency_s": {f"p{p}": percentile(values, p) for p in (50, 95, 99)},
            }


def percentile(values: list[float], percent: int) -> float | None:
    """Nearest rank; None where there are no values."""
    if not values:
        return None
    return round(values[min(len(values) - 1, -(-len(values) * percent // 100) - 1)], 4)

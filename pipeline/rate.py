"""A limit on bytes a second, shared by threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_BURST_S = 1.0


class Bucket:
    """A token bucket. `charge` waits until the bytes fit; one charge may be larger than the bucket, which
    is then empty for as long as it takes."""

    def __init__(
        self,
        bytes_s: float,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bytes_s, self._now, self._sleep = bytes_s, now, sleep
        self._lock = threading.Lock()
        self._free = bytes_s * _BURST_S
        self._at = now()

    def charge(self, size: int) -> None:
        with self._lock:
            at = self._now()
            self._free = min(self._bytes_s * _BURST_S, self._free + (at - self._at) * self._bytes_s)
            self._at = at
            self._free -= size
            wait_s = -self._free / self._bytes_s
        if wait_s > 0:
            self._sleep(wait_s)

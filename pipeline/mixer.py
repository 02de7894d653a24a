"""Sound between a camera and an output: what came, by its time, and silence everywhere else."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

from veilcast.arrays import Float32
from veilcast.pipeline.clocks import TICKS

RATE = 48_000
MEMORY_S = 10.0  # of sound that waits for pictures
SLACK = 480  # samples that a camera's clock may be off without a seam

Samples = Float32[np.ndarray, "2 n"]


class Mixer:
    """Thread-safe. Times are ticks of the session; `delay` ticks are added to what is put in, as to the
    pictures. While it is `muted` nothing is heard: what belongs to a hidden picture does not leave."""

    def __init__(self, delay: int) -> None:
        self._delay = delay
        self._lock = threading.Lock()
        self._pieces: deque[tuple[int, Samples]] = deque()  # first sample's number, samples
        self._next: int | None = None
        self.muted = True

    def put(self, pts: int, samples: Samples) -> None:
        first = (pts + self._delay) * RATE // TICKS
        with self._lock:
            if self._next is not None and abs(first - self._next) <= SLACK:
                first = self._next
            self._next = first + samples.shape[1]
            self._pieces.append((first, samples))
            while self._pieces and self._next - self._pieces[0][0] > MEMORY_S * RATE:
                self._pieces.popleft()

    def take(self, pts: int, count: int) -> Samples:
        """`count` samples from `pts` on; what is older is forgotten."""
        first = pts * RATE // TICKS
        taken: Samples = np.zeros((2, count), np.float32)
        with self._lock:
            while self._pieces and self._pieces[0][0] + self._pieces[0][1].shape[1] <= first:
                self._pieces.popleft()
            for start, samples in () if self.muted else self._pieces:
                begin, end = max(start, first), min(start + samples.shape[1], first + count)
                if begin < end:
                    taken[:, begin - first : end - first] = samples[:, begin - start : end - start]
        return taken

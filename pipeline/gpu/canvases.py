"""Device memory that is lent again behind the event of whoever had it last."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

from veilcast.trt_engines.device import Buffer, Device, Event, Stream

Shape = tuple[int, ...]


class Canvases:
    """uint8 buffers by shape. Several threads may use it."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._free: dict[Shape, deque[tuple[Buffer, Event]]] = {}
        self._all: list[Buffer] = []

    def take(self, shape: Shape, stream: Stream) -> Buffer:
        """One that nobody reads any more when `stream`'s next work begins."""
        with self._lock:
            waiting = self._free.get(shape)
            if waiting:
                buffer, after = waiting.popleft()
                stream.wait(after)
                return buffer
            self._all.append(self._device.allocate(shape, np.dtype(np.uint8)))
            return self._all[-1]

    def give_back(self, buffer: Buffer, after: Event) -> None:
        """Whoever takes it next waits for `after`, on the device."""
        with self._lock:
            self._free.setdefault(tuple(buffer.shape), deque()).append((buffer, after))

    def close(self) -> None:
        """Frees all of them, once their readers are done."""
        for waiting in self._free.values():
            for _, after in waiting:
                after.synchronize()
        for buffer in self._all:
            self._device.free(buffer)
        self._free.clear()
        self._all.clear()

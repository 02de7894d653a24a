"""Frames on the device: each goes there once, and its memory is used again once its work is done."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from veilcast.trt_engines.device import Buffer, Device, Event, Stream
from veilcast.types import Frame

_Kind = tuple[tuple[int, ...], str]


@dataclass(frozen=True, slots=True)
class Held:
    """A frame on the device. `source`: which of the sources it is from; `ready`: behind the work that put
    it there and looked at it."""

    source: int
    frame: Frame
    planes: tuple[Buffer, ...]
    ready: Event


class Planes:
    """Device memory for planes: lent behind the event of whoever had it last. Freed together at the end."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._free: dict[_Kind, deque[tuple[Buffer, Event]]] = {}
        self._all: list[Buffer] = []

    def upload(self, frame: Frame, stream: Stream) -> tuple[Buffer, ...]:
        """The frame's planes in device memory, by `stream`."""
        lent = tuple(self._take(plane.shape, plane.dtype, stream) for plane in frame.planes)
        for plane, buffer in zip(frame.planes, lent, strict=True):
            self._device.upload(np.ascontiguousarray(plane), buffer, stream)
        return lent

    def give_back(self, planes: Sequence[Buffer], after: Event) -> None:
        """Whoever takes them next waits for `after`, on the device."""
        for buffer in planes:
            self._free.setdefault(_kind(buffer.shape, buffer.dtype), deque()).append((buffer, after))

    def _take(self, shape: tuple[int, ...], dtype: np.dtype[np.generic], stream: Stream) -> Buffer:
        waiting = self._free.get(_kind(shape, dtype))
        if waiting:
            buffer, after = waiting.popleft()
            stream.wait(after)
            return buffer
        buffer = self._device.allocate(shape, dtype)
        self._all.append(buffer)
        return buffer

    @property
    def allocated(self) -> int:
        """How many planes there are in all: bounded by how many frames are under way."""
        return len(self._all)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for buffer in self._all:
            self._device.free(buffer)
        self._all.clear()
        self._free.clear()


def _kind(shape: Sequence[int], dtype: np.dtype[np.generic]) -> _Kind:
    return tuple(shape), np.dtype(dtype).str

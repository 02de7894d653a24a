"""A GPU made of numpy that enforces the rules of one: what breaks them raises `Hazard`.

Order is checked with vector clocks: work sees a buffer only if the work that last wrote it happens
before, by its own stream or through events; a buffer is written or freed only behind all that used it.
Arrays that come down hold rubbish until their stream or a later event is synchronised.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

Clock = dict[int, int]


class Hazard(AssertionError):
    """A rule of the device was broken."""


class FakeBuffer:
    def __init__(self, address: int, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        self.address = address
        self.dtype = np.dtype(dtype)
        self.array = np.full(tuple(shape), 77, self.dtype)  # rubbish, as fresh device memory is
        self.uses: list[tuple[bool, int, int]] = []  # (wrote, stream, count)
        self.written = self.freed = False

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)


class FakeEvent:
    def __init__(self, device: FakeDevice, clock: Clock) -> None:
        self.device, self.clock = device, clock

    def synchronize(self) -> None:
        self.device.finish(self.clock)


class FakeStream:
    def __init__(self, device: FakeDevice, number: int) -> None:
        self.device, self.handle, self.clock = device, number, {number: 0}

    def record(self) -> FakeEvent:
        return FakeEvent(self.device, dict(self.clock))

    def wait(self, event: FakeEvent) -> None:
        for stream, count in event.clock.items():
            self.clock[stream] = max(self.clock.get(stream, 0), count)

    def synchronize(self) -> None:
        self.device.finish(self.clock)

    def step(self) -> int:
        self.clock[self.handle] += 1
        return self.clock[self.handle]

    def behind(self, stream: int, count: int) -> bool:
        return self.clock.get(stream, 0) >= count


Args = ParamSpec("Args")
Result = TypeVar("Result")


def alone(
    method: Callable[Concatenate[FakeDevice, Args], Result],
) -> Callable[Concatenate[FakeDevice, Args], Result]:
    """One thread at a time."""

    @wraps(method)
    def locked(self: FakeDevice, /, *args: Args.args, **more: Args.kwargs) -> Result:
        with self.lock:
            return method(self, *args, **more)

    return locked


class FakeDevice:
    def __init__(self, name: str = "Fake GPU sm86") -> None:
        self.name, self.lock = name, threading.RLock()
        self.buffers: dict[int, FakeBuffer] = {}
        self.streams: list[FakeStream] = []
        self._done: Clock = {}
        self._coming: list[tuple[int, int, np.ndarray, np.ndarray]] = []

    @alone
    def stream(self) -> FakeStream:
        self.streams.append(FakeStream(self, len(self.streams)))
        return self.streams[-1]

    @alone
    def allocate(self, shape: Sequence[int], dtype: np.dtype[Any]) -> FakeBuffer:
        buffer = FakeBuffer(4096 * (1 + len(self.buffers)), shape, dtype)
        self.buffers[buffer.address] = buffer
        return buffer

    @alone
    def free(self, buffer: FakeBuffer) -> None:
        self._alive(buffer)
        if any(self._done.get(stream, 0) < count for _, stream, count in buffer.uses):
            raise Hazard("a buffer is freed while work that uses it may still run")
        buffer.freed = True
        buffer.array = np.broadcast_to(buffer.array.dtype.type(55), buffer.shape)  # nobody's any more

    def upload(self, value: np.ndarray, buffer: FakeBuffer, stream: FakeStream) -> None:
        if (value.shape, value.dtype) != (buffer.shape, buffer.dtype):
            raise Hazard(f"{value.dtype} {value.shape} goes into {buffer.dtype} {buffer.shape}")
        self.launch(lambda: np.copyto(buffer.array, value), reads=(), writes=(buffer,), stream=stream)

    @alone
    def download(self, buffer: FakeBuffer, stream: FakeStream) -> np.ndarray:
        host = np.full(buffer.shape, 99, buffer.dtype)
        self.launch(lambda: None, reads=(buffer,), writes=(), stream=stream)
        self._coming.append((stream.handle, stream.clock[stream.handle], host, buffer.array.copy()))
        return host

    def copy(self, source: FakeBuffer, target: FakeBuffer, stream: FakeStream) -> None:
        if (source.shape, source.dtype) != (target.shape, target.dtype):
            raise Hazard(f"{source.dtype} {source.shape} goes into {target.dtype} {target.shape}")
        self.launch(
            lambda: np.copyto(target.array, source.array), reads=[source], writes=[target], stream=stream
        )

    def adopt(self, tensor: Any) -> FakeBuffer:
        array = np.from_dlpack(tensor)
        buffer = self.allocate(array.shape, array.dtype)
        buffer.array, buffer.written = array, True
        return buffer

    @alone
    def launch(
        self,
        work: Callable[[], object],
        *,
        reads: Sequence[FakeBuffer],
        writes: Sequence[FakeBuffer],
        stream: FakeStream,
    ) -> None:
        for buffer in (*reads, *writes):
            self._alive(buffer)
        for buffer in reads:
            if not buffer.written:
                raise Hazard("a buffer is read that nothing has written")
            self._ordered(buffer, stream, [use for use in buffer.uses if use[0]])
        for buffer in writes:
            self._ordered(buffer, stream, buffer.uses)
        count = stream.step()
        for buffer in reads:
            buffer.uses.append((False, stream.handle, count))
        for buffer in writes:
            buffer.uses.append((True, stream.handle, count))
            buffer.written = True
        work()

    @alone
    def finish(self, clock: Clock) -> None:
        for stream, count in clock.items():
            self._done[stream] = max(self._done.get(stream, 0), count)
        for stream, count, host, value in self._coming:
            if self._done.get(stream, 0) >= count:
                np.copyto(host, value)
        self._coming = [entry for entry in self._coming if self._done.get(entry[0], 0) < entry[1]]

    def _ordered(self, buffer: FakeBuffer, stream: FakeStream, uses: Sequence[tuple[bool, int, int]]) -> None:
        for _, other, count in uses:
            if not stream.behind(other, count) and self._done.get(other, 0) < count:
                raise Hazard(f"stream {stream.handle} does not wait for stream {other}")

    def _alive(self, buffer: FakeBuffer) -> None:
        if buffer.freed:
            raise Hazard("a buffer is used after it was freed")

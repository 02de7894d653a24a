"""What an engine needs of a GPU: owned buffers, streams that run in order, events between them.

Written against this small protocol so that everything above it (TensorRT, the two-stage pipeline) is
tested on a machine without a GPU by a device that enforces the same rules. `TorchDevice` is the real
one, on torch's CUDA runtime.

Rules. Work on one stream runs in the order in which it was given. Work on another stream sees a
buffer's contents only after waiting for an event recorded behind the work that wrote them. A buffer
lives until its owner frees it, and is not freed while work that uses it may still run: `synchronize`
first. Host arrays are not touched between a copy and the event behind it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from veilcast.errors import EngineError


class Buffer(Protocol):
    """Device memory of one tensor."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[np.generic]: ...

    @property
    def address(self) -> int:
        """Of the first byte, for libraries that take pointers."""
        ...


class Event(Protocol):
    def synchronize(self) -> None:
        """Returns when all work in front of the event is done."""
        ...


class Stream(Protocol):
    def record(self) -> Event:
        """An event behind all work given so far."""
        ...

    def wait(self, event: Any) -> None:
        """Work given from now on starts after the event."""
        ...

    def synchronize(self) -> None:
        """Returns when all work given so far is done."""
        ...

    @property
    def handle(self) -> int:
        """The CUDA stream, for libraries that take one."""
        ...


class Device(Protocol):
    name: str  # as the driver calls it, with its compute capability: "NVIDIA A10 sm86"

    def stream(self) -> Stream: ...

    def allocate(self, shape: Sequence[int], dtype: np.dtype[np.generic]) -> Buffer: ...

    def free(self, buffer: Buffer) -> None: ...

    def upload(self, value: np.ndarray, buffer: Buffer, stream: Stream) -> None: ...

    def download(self, buffer: Buffer, stream: Stream) -> np.ndarray:
        """A new host array, filled once the stream is synchronised."""
        ...

    def copy(self, source: Buffer, target: Buffer, stream: Stream) -> None: ...

    def adopt(self, tensor: Any) -> Buffer:
        """Device memory of another library, by DLPack, with all that was written there before. `free` gives
        it back."""
        ...

    def launch(
        self,
        work: Callable[[], object],
        *,
        reads: Sequence[Buffer],
        writes: Sequence[Buffer],
        stream: Stream,
    ) -> None:
        """Gives `work` to the stream; it reads and writes these buffers alone."""
        ...


@dataclass(frozen=True, slots=True)
class Lent:
    """A tensor on the device in place of an array: written in front of `ready`. Who reads it calls `used`
    with an event behind his reading; then it is written again."""

    buffer: Buffer
    ready: Event
    used: Callable[[Event], None]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.buffer.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.buffer.dtype


class TorchStream:
    def __init__(self, stream: Any, torch: Any) -> None:
        self.torch_stream, self._torch = stream, torch

    def record(self) -> Event:
        event: Any = self._torch.cuda.Event()
        event.record(self.torch_stream)
        recorded: Event = event
        return recorded

    def wait(self, event: Any) -> None:
        self.torch_stream.wait_event(event)

    def synchronize(self) -> None:
        self.torch_stream.synchronize()

    @property
    def handle(self) -> int:
        return int(self.torch_stream.cuda_stream)


class TorchBuffer:
    def __init__(self, tensor: Any, dtype: np.dtype[np.generic]) -> None:
        self.tensor, self.dtype = tensor, dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    @property
    def address(self) -> int:
        return int(self.tensor.data_ptr())


def check_driver(library: str = "libcuda.so.1") -> None:
    """Raises EngineError where this machine has no CUDA driver. Cheap: whoever starts others that need a GPU
    asks first."""
    try:
        ctypes.CDLL(library)
    except OSError:
        raise EngineError("there is no CUDA driver on this machine; leave out --device") from None


class TorchDevice:
    """The first CUDA device, through torch. Raises EngineError where there is none."""

    def __init__(self) -> None:
        try:
            import torch
        except ImportError:
            raise EngineError("a GPU needs torch with CUDA: pip install 'veilcast[train]'") from None
        if not torch.cuda.is_available():
            raise EngineError("no CUDA device is available to this process")
        self._torch: Any = torch
        major, minor = torch.cuda.get_device_capability()
        self.name = f"{torch.cuda.get_device_name()} sm{major}{minor}"

    def stream(self) -> TorchStream:
        return TorchStream(self._torch.cuda.Stream(), self._torch)

    def allocate(self, shape: Sequence[int], dtype: np.dtype[np.generic]) -> TorchBuffer:
        kind = getattr(self._torch, np.dtype(dtype).name)
        return TorchBuffer(self._torch.empty(tuple(shape), dtype=kind, device="cuda"), dtype)

    def free(self, buffer: Any) -> None:
        buffer.tensor = None

    def upload(self, value: np.ndarray, buffer: Any, stream: Any) -> None:
        # straight into memory that the device reads: arrays may be views, and read-only
        pinned = self._torch.empty(buffer.shape, dtype=buffer.tensor.dtype, pin_memory=True)
        np.copyto(pinned.numpy(), value, casting="no")
        with self._torch.cuda.stream(stream.torch_stream):
            buffer.tensor.copy_(pinned, non_blocking=True)

    def download(self, buffer: Any, stream: Any) -> np.ndarray:
        host = self._torch.empty(buffer.shape, dtype=buffer.tensor.dtype, pin_memory=True)
        with self._torch.cuda.stream(stream.torch_stream):
            host.copy_(buffer.tensor, non_blocking=True)
        result: np.ndarray = host.numpy()
        return result

    def copy(self, source: Any, target: Any, stream: Any) -> None:
        with self._torch.cuda.stream(stream.torch_stream):
            target.tensor.copy_(source.tensor, non_blocking=True)

    def adopt(self, tensor: Any) -> TorchBuffer:
        # the other library worked on the context's default stream, and gives a capsule without streams
        self._torch.cuda.default_stream().synchronize()
        taken = self._torch.from_dlpack(tensor.__dlpack__())
        return TorchBuffer(taken, np.dtype(str(taken.dtype).removeprefix("torch.")))

    def launch(
        self,
        work: Callable[[], object],
        *,
        reads: Sequence[Buffer],
        writes: Sequence[Buffer],
        stream: Any,
    ) -> None:
        with self._torch.cuda.stream(stream.torch_stream):
            work()


class Arena:
    """Buffers with one owner and one end: allocated by name and shape, kept, freed together."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._buffers: dict[tuple[str, tuple[int, ...]], Buffer] = {}

    def get(self, name: str, shape: Sequence[int], dtype: np.dtype[np.generic]) -> Buffer:
        """The buffer of this name and shape; the same one each time."""
        key = (name, tuple(shape))
        if key not in self._buffers:
            self._buffers[key] = self._device.allocate(shape, dtype)
        return self._buffers[key]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for buffer in self._buffers.values():
            self._device.free(buffer)
        self._buffers.clear()

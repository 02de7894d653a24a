"""Frames on a device: a shelf of so many places, where the newest frame takes the place of the oldest.

A frame goes there once, from the card's own decoder or from the processor's, and what others ask of it
(types.Elsewhere) is worked out there: pictures stay for the networks that run there, patches and a few
samples of luma come down. All work on pixels is one stream's, so it sees what came before it; only networks
read on streams of their own, and they wait and are waited for by events. Whoever asks for a frame that has
left the shelf hears EngineError, never gets another one's pixels.

The shelf owns its memory until it is left. Several threads may use it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from veilcast.errors import EngineError
from veilcast.pipeline.batches import split
from veilcast.pipeline.gpu.canvases import Canvases
from veilcast.trt_engines.device import Arena, Buffer, Device, Lent, Stream
from veilcast.types import Affine, Frame, PixelFormat, Plane, Rgb

U8 = np.dtype(np.uint8)
Planes = Sequence[Buffer]


class Pixels(Protocol):
    """The same geometry and colours as pipeline.pixels, on planes that lie on the device. `frame` says how
    its planes are to be read. Work is given to the stream, which has it done later."""

    def canvas(
        self, frame: Frame, planes: Planes, size: tuple[int, int], bgr: bool, out: Buffer, stream: Stream
    ) -> None:
        """The displayed picture scaled to `size` (w, h), in the corner of `out` (1, h, w, 3), else black."""
        ...

    def crop(
        self, frame: Frame, planes: Planes, affine: Affine, out: Buffer, row: int, stream: Stream
    ) -> None:
        """A patch into row `row` of `out` (n, s, s, 3)."""
        ...

    def part(self, luma: Buffer, chroma: Buffer, planes: Planes, stream: Stream) -> None:
        """NV12 (h, w) and (h/2, w/2, 2) into three planes."""
        ...

    def sparse(self, plane: Buffer, step_x: int, step_y: int, out: Buffer, stream: Stream) -> None:
        """Every few samples of a plane into `out`."""
        ...


def fits(layout: PixelFormat) -> bool:
    """Whether frames of this layout can lie here: 8 bits, 4:2:0, three planes."""
    kind = (layout.family, layout.depth, layout.log2_chroma_w, layout.log2_chroma_h, layout.alpha)
    return kind == ("yuv", 8, 1, 1, False)


class Shelf:
    """A context manager. `places`: more than there are frames under way at any time, else some are gone
    when they are asked for. All frames have one size."""

    def __init__(self, device: Device, pixels: Pixels, places: int) -> None:
        self._device, self._pixels, self._places = device, pixels, places
        self._stream = device.stream()
        self._arena, self._canvases = Arena(device), Canvases(device)
        self._lock = threading.Lock()
        self._count = 0

    def lift(self, planes: Sequence[Plane]) -> Kept:
        """Copies planes up. They may change once this returns."""
        with self._lock:
            kept, buffers = self._next([plane.shape for plane in planes])
            for plane, buffer in zip(planes, buffers, strict=True):
                self._device.upload(plane, buffer, self._stream)
            return kept

    def take(self, luma: Any, chroma: Any) -> Kept:
        """Copies NV12 that another library has on this device, by DLPack. It is no longer read once this
        returns: a card's decoder has few places of its own."""
        with self._lock:
            one, two = self._device.adopt(luma), self._device.adopt(chroma)
            height, width = one.shape
            half = (height // 2, width // 2)
            if two.shape != (*half, 2) or one.dtype != U8 or two.dtype != U8:
                raise EngineError(f"the card's decoder gave no NV12 but {one.shape} and {two.shape}")
            kept, buffers = self._next([(height, width), half, half])
            self._pixels.part(one, two, buffers, self._stream)
            self._stream.synchronize()
            self._device.free(one)
            self._device.free(two)
            return kept

    def _next(self, shapes: Sequence[tuple[int, ...]]) -> tuple[Kept, Planes]:
        """The oldest frame's place, for planes of these shapes."""
        number, self._count = self._count, self._count + 1
        place = number % self._places
        buffers = [self._arena.get(f"{place} {n}", shape, U8) for n, shape in enumerate(shapes)]
        height, width = shapes[0]
        return Kept(self, number, tuple(buffers), (width, height)), buffers

    def _check(self, kept: Kept) -> None:
        if self._count - kept.number > self._places:
            raise EngineError(f"a frame left the device before it was looked at ({self._places} are kept)")

    def crops(self, kept: Kept, frame: Frame, affines: Sequence[Affine], side: int) -> Sequence[Rgb]:
        found: list[Rgb] = []
        with self._lock:
            self._check(kept)
            for start, end, size in split(len(affines)):
                out = self._arena.get("crops", (size, side, side, 3), U8)
                for row, affine in enumerate(affines[start:end]):
                    self._pixels.crop(frame, kept.planes, affine, out, row, self._stream)
                found += list(self._down(out)[: end - start])
        return found

    def sparse_luma(self, kept: Kept, step_x: int, step_y: int) -> Plane:
        with self._lock:
            self._check(kept)
            width, height = kept.size
            out = self._arena.get("sparse", (-(-height // step_y), -(-width // step_x)), U8)
            self._pixels.sparse(kept.planes[0], step_x, step_y, out, self._stream)
            return self._down(out)

    def canvas(
        self, kept: Kept, frame: Frame, size: tuple[int, int], padded: tuple[int, int], bgr: bool
    ) -> Lent:
        with self._lock:
            self._check(kept)
            out = self._canvases.take((1, padded[1], padded[0], 3), self._stream)
            self._pixels.canvas(frame, kept.planes, size, bgr, out, self._stream)
            return Lent(out, self._stream.record(), lambda after: self._canvases.give_back(out, after))

    def _down(self, buffer: Buffer) -> np.ndarray:
        value = self._device.download(buffer, self._stream)
        self._stream.synchronize()
        return value

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._stream.synchronize()  # no memory goes while work may still use it
            self._canvases.close()
            self._arena.__exit__(kind, error, trace)
            self._count += self._places  # nothing is there any more


@dataclass(frozen=True, slots=True)
class Kept:
    """One frame on the shelf (types.Elsewhere). `number`: of all that were put there."""

    shelf: Shelf
    number: int
    planes: tuple[Buffer, ...]
    size: tuple[int, int]

    def picture(self, frame: Frame, size: tuple[int, int]) -> Shown:
        return Shown(self, frame, size)

    def crops(self, frame: Frame, affines: Sequence[Affine], side: int) -> Sequence[Rgb]:
        return self.shelf.crops(self, frame, affines, side)

    def sparse_luma(self, step_x: int, step_y: int) -> Plane:
        return self.shelf.sparse_luma(self, step_x, step_y)


@dataclass(frozen=True, slots=True)
class Shown:
    """A displayed picture of a frame on the shelf (types.Picture); drawn for each network that asks."""

    kept: Kept
    frame: Frame
    size: tuple[int, int]

    def padded(self, width: int, height: int, bgr: bool) -> Lent:
        return self.kept.shelf.canvas(self.kept, self.frame, self.size, (width, height), bgr)

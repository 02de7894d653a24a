"""What the pipeline on a device is made of, as protocols: pixel work, the detector, the generator.

Each gives its work to a stream and returns at once. Buffers belong to the pipeline; a part reads and
writes those that it is handed, on the stream that it is handed, and keeps none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from veilcast.pipeline.blend import Mask
from veilcast.trt_engines.device import Buffer, Stream
from veilcast.types import Affine, Face, Frame, Track

U8, F32 = np.dtype(np.uint8), np.dtype(np.float32)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a track's patch lies (displayed pixels -> patch) and what of it replaces the picture."""

    track: Track
    to_patch: Affine
    mask: Mask


class Pixels(Protocol):
    """The same geometry and colours as pipeline.pixels, on planes that lie on the device. `frame` says
    how its planes are to be read; its own pixels are not touched."""

    def canvas(self, frame: Frame, planes: Sequence[Buffer], out: Buffer, stream: Stream) -> None:
        """The displayed picture scaled to `out` (h, w, 3) uint8 RGB."""
        ...

    def crop(
        self, frame: Frame, planes: Sequence[Buffer], to_patch: Affine, out: Buffer, row: int, stream: Stream
    ) -> None:
        """A patch into row `row` of `out` (n, s, s, 3) uint8 RGB."""
        ...

    def paste(
        self,
        frame: Frame,
        planes: Sequence[Buffer],
        rgb: Buffer,
        mask: Buffer,
        row: int,
        to_patch: Affine,
        stream: Stream,
    ) -> None:
        """Row `row` of patches (n, s, s, 3) blended into the planes by its mask (n, s, s)."""
        ...


class Look(Protocol):
    """A detector. `size`: (width, height) of the picture that it looks at."""

    size: tuple[int, int]

    def enqueue(self, canvas: Buffer, slot: int, stream: Stream) -> Sequence[Buffer]:
        """Its outputs, in buffers that belong to `slot`."""
        ...

    def faces(self, outputs: Sequence[np.ndarray], displayed: tuple[int, int]) -> tuple[Face, ...]:
        """On the host: boxes in pixels of a displayed picture of that size."""
        ...


class Render(Protocol):
    """A generator of square patches of `side` pixels."""

    side: int

    def place(self, frame: Frame, track: Track) -> Placed | None:
        """Where the new face goes; None = it is covered solid."""
        ...

    def enqueue(
        self, crops: Buffer, tracks: Sequence[tuple[int, Track]], out: Buffer, stream: Stream
    ) -> None:
        """New faces (n, s, s, 3) uint8 for crops of the same shape; rows behind `tracks` are padding.
        `tracks`: number of the source and track of each row: faces of many frames and sources at once."""
        ...

"""`Pixels` on torch's device: the pipeline's geometry and colours, worked out there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from veilcast.pipeline import pixels as host
from veilcast.trt_engines.device import Device, Stream
from veilcast.types import Affine, Frame


class TorchPixels:
    """Buffers are `TorchBuffer`s of `device`. Frames are upright or turned, 8-bit 4:2:0 (pipeline.fits).
    Raises EngineError without torch."""

    def __init__(self, device: Device) -> None:
        from veilcast.trt_engines import torch_pixels

        self._device, self._torch = device, torch_pixels

    def canvas(self, frame: Frame, planes: Sequence[Any], out: Any, stream: Stream) -> None:
        def work() -> None:
            turned = frame.orientation.quarter_turns % 2 == 1
            height, width = out.shape[:2]
            size = (width, height) if turned else (height, width)
            small = [self._torch.resized(plane.tensor, *size) for plane in planes]
            rgb = self._torch.mixed(small, host.to_rgb_matrix(frame))
            mirrored = rgb.flip(1) if frame.orientation.mirrored else rgb
            out.tensor.copy_(mirrored.rot90(-frame.orientation.quarter_turns % 4, (0, 1)))

        self._device.launch(work, reads=planes, writes=[out], stream=stream)

    def crop(
        self,
        frame: Frame,
        planes: Sequence[Any],
        to_patch: Affine,
        out: Any,
        row: int,
        stream: Stream,
    ) -> None:
        def work() -> None:
            side = out.shape[1]
            seen = [
                self._torch.sampled(plane.tensor, matrix, side, side)
                for plane, matrix in zip(planes, host.plane_matrices(frame, to_patch), strict=True)
            ]
            out.tensor[row].copy_(self._torch.mixed(seen, host.to_rgb_matrix(frame)))

        self._device.launch(work, reads=planes, writes=[out], stream=stream)

    def paste(
        self,
        frame: Frame,
        planes: Sequence[Any],
        rgb: Any,
        mask: Any,
        row: int,
        to_patch: Affine,
        stream: Stream,
    ) -> None:
        def work() -> None:
            values = self._torch.parted(rgb.tensor[row], host.from_rgb_matrix(frame))
            for plane, value, matrix, window in self._reached(frame, planes, values, to_patch):
                self._torch.blend(plane.tensor, value, mask.tensor[row], matrix, window)

        self._device.launch(work, reads=[rgb, mask, *planes], writes=planes, stream=stream)

    def _reached(
        self, frame: Frame, planes: Sequence[Any], values: Sequence[Any], to_patch: Affine
    ) -> Iterator[tuple[Any, Any, np.ndarray, tuple[int, int, int, int]]]:
        for plane, value, matrix in zip(planes, values, host.plane_matrices(frame, to_patch), strict=True):
            yield plane, value, matrix, host.reach(plane.shape, matrix, tuple(value.shape))

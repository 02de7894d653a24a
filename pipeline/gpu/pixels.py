"""`shelf.Pixels` on torch's device: the pipeline's geometry and colours, worked out there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from veilcast.pipeline import colours
from veilcast.pipeline import pixels as host
from veilcast.trt_engines.device import Device, Stream
from veilcast.types import Affine, Frame


class TorchPixels:
    """Buffers are `TorchBuffer`s of `device`. Raises EngineError without torch."""

    def __init__(self, device: Device) -> None:
        from veilcast.trt_engines import torch_pixels

        self._device, self._torch = device, torch_pixels

    def canvas(
        self, frame: Frame, planes: Sequence[Any], size: tuple[int, int], bgr: bool, out: Any, stream: Stream
    ) -> None:
        def work() -> None:
            (width, height), turns = size, frame.orientation.quarter_turns % 4
            stored = (width, height) if turns % 2 else (height, width)
            small = [self._torch.resized(plane.tensor, *stored) for plane in planes]
            rgb = self._torch.mixed(small, colours.to_rgb_matrix(frame))
            shown = (rgb.flip(1) if frame.orientation.mirrored else rgb).rot90(-turns, (0, 1))
            out.tensor.zero_()
            out.tensor[0, :height, :width].copy_(shown.flip(2) if bgr else shown)

        self._device.launch(work, reads=planes, writes=[out], stream=stream)

    def crop(
        self, frame: Frame, planes: Sequence[Any], affine: Affine, out: Any, row: int, stream: Stream
    ) -> None:
        def work() -> None:
            side = out.shape[1]
            seen = [
                self._torch.sampled(plane.tensor, matrix, side, side)
                for plane, matrix in zip(planes, host.plane_matrices(frame, affine), strict=True)
            ]
            out.tensor[row].copy_(self._torch.mixed(seen, colours.to_rgb_matrix(frame)))

        self._device.launch(work, reads=planes, writes=[out], stream=stream)

    def part(self, luma: Any, chroma: Any, planes: Sequence[Any], stream: Stream) -> None:
        def work() -> None:
            for plane, values in zip(planes, (luma.tensor, *chroma.tensor.unbind(-1)), strict=True):
                plane.tensor.copy_(values)

        self._device.launch(work, reads=[luma, chroma], writes=planes, stream=stream)

    def sparse(self, plane: Any, step_x: int, step_y: int, out: Any, stream: Stream) -> None:
        self._device.launch(
            lambda: out.tensor.copy_(plane.tensor[::step_y, ::step_x]),
            reads=[plane],
            writes=[out],
            stream=stream,
        )

"""A GPU made of stand-ins: a device of numpy that enforces the rules, the pipeline's own pixel work under
them, a card's decoder whose pictures can only be taken over by DLPack, and TensorRT by ONNX Runtime.

Everything between them is the product's own code, from the job of `veilcast run --device cuda` on."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from tests.trt_engines import fake_tensorrt
from tests.trt_engines.fake_device import FakeBuffer, FakeDevice, FakeStream

from veilcast.pipeline import nvdec, pixels
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.gpu import pixels as gpu_pixels
from veilcast.trt_engines import device, gpu, tensorrt_engine
from veilcast.trt_engines import open as opening
from veilcast.trt_engines.open import open_engine
from veilcast.types import Affine, Frame

SURFACES = 6  # pictures that the card's decoder can hold; one is the first of the file


class NumpyPixels:
    """pipeline.pixels under the rules of the device."""

    def __init__(self, device: FakeDevice) -> None:
        self._device = device

    def _at_home(self, frame: Frame, planes: Sequence[FakeBuffer]) -> Frame:
        return replace(frame, planes=tuple(plane.array for plane in planes), there=None)

    def canvas(
        self,
        frame: Frame,
        planes: Sequence[FakeBuffer],
        size: tuple[int, int],
        bgr: bool,
        out: FakeBuffer,
        stream: FakeStream,
    ) -> None:
        def work() -> None:
            rgb = pixels.to_rgb(self._at_home(frame, planes), size)
            out.array[:] = 0
            out.array[0, : size[1], : size[0]] = rgb[..., ::-1] if bgr else rgb

        self._device.launch(work, reads=planes, writes=[out], stream=stream)

    def crop(
        self,
        frame: Frame,
        planes: Sequence[FakeBuffer],
        affine: Affine,
        out: FakeBuffer,
        row: int,
        stream: FakeStream,
    ) -> None:
        def work() -> None:
            out.array[row] = pixels.crop_to_rgb(self._at_home(frame, planes), affine, out.shape[1])

        self._device.launch(work, reads=planes, writes=[out], stream=stream)

    def part(
        self, luma: FakeBuffer, chroma: FakeBuffer, planes: Sequence[FakeBuffer], stream: FakeStream
    ) -> None:
        def work() -> None:
            for plane, values in zip(
                planes, (luma.array, chroma.array[..., 0], chroma.array[..., 1]), strict=True
            ):
                np.copyto(plane.array, values)

        self._device.launch(work, reads=[luma, chroma], writes=planes, stream=stream)

    def sparse(
        self, plane: FakeBuffer, step_x: int, step_y: int, out: FakeBuffer, stream: FakeStream
    ) -> None:
        def work() -> None:
            np.copyto(out.array, plane.array[::step_y, ::step_x])

        self._device.launch(work, reads=[plane], writes=[out], stream=stream)


class OnTheCard:
    """A picture of the card's decoder: its samples are to be had by DLPack alone, and few can be held."""

    held = 0
    format = SimpleNamespace(name="cuda")

    def __init__(self, decoded: av.VideoFrame) -> None:
        self._decoded = decoded
        nv12 = decoded.reformat(format="nv12")
        self.sw_format = nv12.format if decoded.format.name == "yuv420p" else decoded.format
        self.planes = tuple(_Plane(p) for p in nv12.planes)
        self.pts, self.time_base = decoded.pts, decoded.time_base
        type(self).held += 1
        assert self.held <= SURFACES, "the card's decoder has no surface left"

    def __getattr__(self, name: str) -> Any:
        assert name != "make_writable", "nobody writes into the card's pictures"
        return getattr(self._decoded, name)

    def __del__(self) -> None:
        type(self).held -= 1


class _Plane:
    def __init__(self, plane: Any) -> None:
        self.__plane = plane

    def __dlpack__(self, **more: Any) -> Any:
        assert not {name for name, value in more.items() if name == "stream" and value is not None}
        return self.__plane.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        found: tuple[int, int] = self.__plane.__dlpack_device__()
        return found


class CardStandIn(nvdec.CardDecoder):
    """Decodes here what a card would decode, and hides what is broken as a card does. `seen`: every file
    that it was asked for; `lost`: a frame that does not come."""

    seen: list[Path] = []  # noqa: RUF012 (emptied by `a_gpu`)
    lost: int | None = None

    def _open_container(self) -> Any:
        self.seen.append(self.source)
        return Decoder._open_container(self)

    def _set_codec(self) -> None:
        self.stream.codec_context.thread_count = 1

    def _decode_strictly(self) -> Iterator[tuple[Any, bool]]:
        for packet in self._demux():
            decoded, _ = self._try_decode(packet)
            for picture in decoded:
                self._tally.came(picture.pts)
                if self._tally.frames - 1 != self.lost:
                    yield OnTheCard(picture), False


class CountingDevice(FakeDevice):
    launches = 0
    largest = 0  # bytes of one tensor that came down

    def launch(self, *args: Any, **more: Any) -> None:
        self.launches += 1
        super().launch(*args, **more)

    def download(self, buffer: FakeBuffer, stream: FakeStream) -> np.ndarray:
        self.largest = max(self.largest, buffer.array.nbytes)
        value: np.ndarray = super().download(buffer, stream)
        return value


class TorchMemory(CountingDevice):
    """The same device, whose buffers torch sees too, on the processor."""

    def allocate(self, shape: Sequence[int], dtype: np.dtype[Any]) -> FakeBuffer:
        return _seen_by_torch(super().allocate(shape, dtype))

    def adopt(self, tensor: Any) -> FakeBuffer:
        buffer = super().adopt(tensor)
        buffer.array = buffer.array.copy()  # torch sees no memory that is read only
        return _seen_by_torch(buffer)


def _seen_by_torch(buffer: FakeBuffer) -> FakeBuffer:
    import torch

    buffer.tensor = torch.from_numpy(buffer.array)  # type: ignore[attr-defined]
    return buffer


def in_float(device: str) -> Callable[..., Any]:
    """open_engine whose networks have the very same answers on "cpu" and "cuda": ONNX Runtime in float32."""
    exact = (
        {"device": "cuda", "precision": "f32"}
        if device == "cuda"
        else {"backend": "onnxruntime", "precision": "f32"}
    )

    def opened(model: Any, **asked: Any) -> Any:
        return open_engine(model, **{**asked, "device": "cpu", **exact})

    return opened


def a_gpu(
    patch: pytest.MonkeyPatch,
    cache: Path,
    kind: type[CountingDevice] = CountingDevice,
    work: Callable[[Any], Any] = NumpyPixels,
) -> CountingDevice:
    """As if this machine had a GPU with TensorRT and a decoder. `work`: on pixels."""
    made = kind()
    CardStandIn.seen.clear()
    patch.setattr(CardStandIn, "lost", None)
    patch.setitem(sys.modules, "tensorrt", fake_tensorrt.library(made))
    patch.setattr(gpu, "TorchDevice", lambda: made)
    patch.setattr(device, "TorchDevice", lambda: made)
    patch.setattr(gpu_pixels, "TorchPixels", work)
    patch.setattr(nvdec, "CardDecoder", CardStandIn)
    patch.setattr(gpu, "_compare", lambda *_: None)  # takes long; tests/trt_engines/test_gpu_opening.py
    patch.setattr(opening, "default_folder", lambda: cache / "models")
    patch.setattr(tensorrt_engine, "_recorded", lambda work, stream: SimpleNamespace(replay=work))
    return made


@contextmanager
def emptied(made: CountingDevice) -> Iterator[CountingDevice]:
    """Fails where a test leaves anything in the device's memory."""
    yield made
    assert all(buffer.freed for buffer in made.buffers.values())
    gc.collect()  # an error's traceback may hold a picture for a while
    assert OnTheCard.held == 0

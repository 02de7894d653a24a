"""Pixel work in torch, on a processor here: the values of the pipeline's own, within rounding."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from tests.oracle import Canary, Person, walk

from veilcast.pipeline import pixels
from veilcast.pipeline.align import similarity
from veilcast.trt_engines.device import TorchBuffer
from veilcast.types import Affine, Colour, Frame, Orientation

torch = pytest.importorskip("torch", reason="torch is an optional install")

from tests.trt_engines.fake_device import FakeDevice  # noqa: E402  behind the skip

from veilcast.pipeline.gpu.pixels import TorchPixels  # noqa: E402

SIDE = 64
CLIP = Canary([Person(1, walk(150, 120, 0, 0, 90))], 1)


class Device(FakeDevice):
    """torch on the processor: work runs at once."""

    def launch(self, work: object, **_: object) -> None:
        work()  # type: ignore[operator]


def frame(colour: Colour = Colour(full_range=False), orientation: Orientation = Orientation()) -> Frame:  # noqa: B008
    planes = CLIP.frame(0).planes
    rng = np.random.default_rng(4)
    chroma = tuple(
        np.kron(rng.integers(90, 160, (p.shape[0] // 8, p.shape[1] // 8)), np.ones((8, 8))).astype(np.uint8)
        for p in planes[1:]
    )
    return Frame(0, 0, Fraction(1, 25), (planes[0], *chroma), CLIP.format, colour, orientation)


def buffers(planes: tuple[np.ndarray, ...]) -> list[TorchBuffer]:
    return [TorchBuffer(torch.from_numpy(p.copy()), p.dtype) for p in planes]


def empty(*shape: int) -> TorchBuffer:
    return TorchBuffer(torch.zeros(shape, dtype=torch.uint8), np.dtype(np.uint8))


def affine(angle: float, scale: float) -> Affine:
    """Displayed pixels -> a patch round the person."""
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [0.5, 0.5]]) * SIDE
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return similarity((corners - SIDE / 2) @ turn.T / scale + [120, 110], corners)


CASES = [
    pytest.param(0.0, 0.6, Orientation(), id="smaller"),
    pytest.param(0.4, 1.7, Orientation(), id="turned and larger"),
    pytest.param(-0.3, 0.3, Orientation(), id="much smaller"),
    pytest.param(0.1, 0.8, Orientation(1, True), id="turned and mirrored by the container"),
]


@pytest.mark.parametrize("size", [(320, 240), (160, 120), (200, 150), (640, 480)])
@pytest.mark.parametrize("turns", [0, 1])
def test_the_picture_for_the_detector(size: tuple[int, int], turns: int) -> None:
    source = frame(orientation=Orientation(turns))
    wanted = size[::-1] if turns else size
    out = empty(1, wanted[1], wanted[0], 3)
    TorchPixels(Device()).canvas(source, buffers(source.planes), wanted, False, out, None)  # type: ignore[arg-type]
    gap = np.abs(out.tensor.numpy()[0].astype(int) - pixels.to_rgb(source, wanted))
    assert gap.mean() < 0.6
    assert np.quantile(gap, 0.999) <= 3


@pytest.mark.parametrize(("angle", "scale", "orientation"), CASES)
@pytest.mark.parametrize("matrix", [1, 6], ids=["bt709", "bt601"])
def test_a_patch_is_the_same(angle: float, scale: float, orientation: Orientation, matrix: int) -> None:
    source = frame(Colour(matrix=matrix, full_range=False), orientation)
    out = empty(2, SIDE, SIDE, 3)
    to_patch = affine(angle, scale)
    TorchPixels(Device()).crop(source, buffers(source.planes), to_patch, out, 1, None)  # type: ignore[arg-type]
    gap = np.abs(out.tensor.numpy()[1].astype(int) - pixels.crop_to_rgb(source, to_patch, SIDE))
    # much smaller: averaged first, from another corner; cv2 interpolates in steps of 1/32 pixel
    assert gap.mean() < (1 if scale > 0.5 else 2)
    assert np.quantile(gap, 0.999) <= (6 if scale > 0.5 else 40)
    assert not out.tensor[0].any()


def test_a_picture_for_a_network_is_black_beyond_its_edge_and_as_the_network_wants_it() -> None:
    source, plain, swapped = frame(), empty(1, 160, 192, 3), empty(1, 160, 192, 3)
    for out, bgr in ((plain, False), (swapped, True)):
        TorchPixels(Device()).canvas(source, buffers(source.planes), (160, 120), bgr, out, None)  # type: ignore[arg-type]
    picture = plain.tensor.numpy()[0]
    assert picture[:120, :160].min(-1).mean() > 20
    assert not picture[120:].any()
    assert not picture[:, 160:].any()
    assert (swapped.tensor.numpy()[0, ..., ::-1] == picture).all()


def test_the_planes_of_a_card_are_parted_and_sampled_to_the_bit() -> None:
    source, work = frame(), TorchPixels(Device())  # type: ignore[arg-type]
    chroma = np.stack(source.planes[1:], -1)
    luma, both = (buffers((values,))[0] for values in (source.planes[0], chroma))
    planes = buffers(tuple(np.zeros_like(plane) for plane in source.planes))
    work.part(luma, both, planes, None)  # type: ignore[arg-type]
    for plane, right in zip(planes, source.planes, strict=True):
        assert (plane.tensor.numpy() == right).all()
    few = empty(120, 107)
    work.sparse(planes[0], 3, 2, few, None)  # type: ignore[arg-type]
    assert (few.tensor.numpy() == source.planes[0][::2, ::3]).all()


@pytest.mark.gpu
def test_the_same_on_a_cuda_device() -> None:
    from veilcast.errors import EngineError
    from veilcast.trt_engines.device import TorchDevice

    try:
        device = TorchDevice()
    except EngineError as problem:
        pytest.skip(str(problem))
    source, to_patch = frame(), affine(0.2, 0.8)
    stream = device.stream()
    planes = [device.allocate(p.shape, p.dtype) for p in source.planes]
    for plane, buffer in zip(source.planes, planes, strict=True):
        device.upload(plane, buffer, stream)
    out = device.allocate((1, SIDE, SIDE, 3), np.dtype(np.uint8))
    TorchPixels(device).crop(source, planes, to_patch, out, 0, stream)
    seen = device.download(out, stream)
    stream.synchronize()
    assert np.abs(seen[0].astype(int) - pixels.crop_to_rgb(source, to_patch, SIDE)).mean() < 1

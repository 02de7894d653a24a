"""The generator's networks with the weights of the repository: the same numbers and pictures on every
backend of a processor, and builds for every GPU. A build is not a run."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.trt_engines.shipped import OUTPUTS, inputs, module, onnx_bytes

from veilcast.pipeline.engine_set import DETECTORS, READERS, ProductNetwork, detectors, generator, readers
from veilcast.pipeline.generator_model import listed, read_manifest
from veilcast.pipeline.studio import built_in
from veilcast.trt_engines.build import profile
from veilcast.trt_engines.canary import BF16, F32_PLAIN, ORT, Rung, error
from veilcast.trt_engines.catalogue import ROLES
from veilcast.trt_engines.convert.eight_bits import eight_bits
from veilcast.trt_engines.engine import Engine, Model, Settings, Tensors, TensorSpec
from veilcast.trt_engines.graphs import parted, unrolled
from veilcast.trt_engines.models import Models
from veilcast.trt_engines.openvino_engine import has_bf16
from veilcast.trt_engines.simplify import simplified

torch = pytest.importorskip("torch", reason="torch is an optional install")

from veilcast.diffusion.sampler import euler  # noqa: E402  behind the skip
from veilcast.trt_engines.torch_engine import TorchEngine  # noqa: E402

TARGETS = (80, 86, 89, 120)
TIMES = (1.0, 0.5)
# relative L2 error of an output, float32 and bfloat16; measured on Zen 4: at most 5e-7 and 3.4e-3
EXACT, ROUGH = 1e-5, 0.02
RUNGS = [(F32_PLAIN, EXACT), (ORT, EXACT), (BF16, ROUGH)]
cases = pytest.mark.parametrize(("rung", "tolerance"), RUNGS, ids=[rung.name for rung, _ in RUNGS])


def opened(rung: Rung, data: bytes) -> Engine:
    if rung is ORT:
        pytest.importorskip("onnxruntime", reason="ONNX Runtime is an optional install")
    if rung is BF16 and not has_bf16():
        pytest.skip("this processor has no bfloat16")
    return rung.open(Model(data, ".onnx"), Settings(threads=1))


def by_torch(name: str, values: Tensors) -> dict[str, np.ndarray]:
    f32 = np.dtype(np.float32)
    specs = [TensorSpec(n, f32, v.shape, v.shape, v.shape) for n, v in values.items()]
    with TorchEngine(module(name), specs, [TensorSpec(OUTPUTS[name], f32, (), (), ())]) as engine:
        return engine.run(values)


@cases
@pytest.mark.parametrize("name", OUTPUTS)
def test_every_network_gives_the_numbers_of_torch(name: str, rung: Rung, tolerance: float) -> None:
    with opened(rung, onnx_bytes(name)) as engine:
        for count in (1, 3):
            values = inputs(name, count)
            assert error(engine.run(values), by_torch(name, values)) < tolerance


def test_a_network_with_other_weights_is_told_apart() -> None:
    """The mutant of the test above: one layer's weights a tenth too large."""
    values = inputs("decoder", 1)
    right = by_torch("decoder", values)
    weights = next(p for p in module("decoder").parameters() if p.ndim == 4)
    try:
        weights.mul_(1.1)
        assert error(by_torch("decoder", values), right) > ROUGH
    finally:
        weights.div_(1.1)


def generated(unet: Engine, decoder: Engine, values: Tensors) -> np.ndarray:
    """Faces (n, 3, 128, 128) in -1..1, by the sampler of the product."""
    others = {name: value for name, value in values.items() if name not in ("x", "t")}

    def denoise(x: np.ndarray, t: float) -> np.ndarray:
        return unet.run({**others, "x": x.astype(np.float32), "t": np.full(len(x), t, np.float32)})["clean"]

    latents = euler(denoise, values["x"], TIMES).astype(np.float32)
    return decoder.run({"latent": latents})["rgb"]


def faces(rung: Rung, values: Tensors) -> np.ndarray:
    with opened(rung, onnx_bytes("unet")) as unet, opened(rung, onnx_bytes("decoder")) as decoder:
        return generated(unet, decoder, values)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Of pictures in -1..1, dB."""
    return float(10 * np.log10(4 / max(np.mean((a.clip(-1, 1) - b.clip(-1, 1)) ** 2), 1e-12)))


@pytest.fixture(scope="module")
def right_faces() -> np.ndarray:
    return faces(F32_PLAIN, inputs("unet", 3))


def test_faces_of_bfloat16_are_those_of_float32(right_faces: np.ndarray) -> None:
    assert psnr(faces(BF16, inputs("unet", 3)), right_faces) > 45  # dB; measured: 59


def eight_bit_faces(values: Tensors, change: Callable[[dict[str, np.ndarray]], None]) -> np.ndarray:
    """As a processor runs the shipped networks, their scales changed."""
    files = listed(built_in(), read_manifest(built_in()))
    data = {}
    for name in ("unet", "decoder"):
        file = files[f"{name}.onnx"]
        assert file.scales is not None
        with np.load(io.BytesIO(file.scales.read()), allow_pickle=False) as found:
            table = dict(found)
        change(table)
        data[name] = eight_bits(simplified(file.read()), table)
    rung = BF16 if has_bf16() else F32_PLAIN
    with opened(rung, data["unet"]) as unet, opened(rung, data["decoder"]) as decoder:
        return generated(unet, decoder, values)


def test_faces_in_eight_bits_are_those_of_float32(right_faces: np.ndarray) -> None:
    assert psnr(eight_bit_faces(inputs("unet", 3), lambda table: None), right_faces) > 38  # dB; measured: 45


def test_faces_by_wrong_scales_are_told_apart(right_faces: np.ndarray) -> None:
    """The mutant of the test above."""

    def cut_off(table: dict[str, np.ndarray]) -> None:
        for name in table:
            table[name] = table[name] / (4 if name.startswith("scale/") else 1)

    assert psnr(eight_bit_faces(inputs("unet", 3), cut_off), right_faces) < 38


def test_faces_of_bfloat16_are_of_the_same_persons(right_faces: np.ndarray) -> None:
    """By a recogniser that took no part in training."""
    if not (Models().folder / "dlib.onnx").exists():
        pytest.skip("no weights of the recogniser: veilcast models pull dlib")
    import cv2

    def persons(rgb: np.ndarray) -> np.ndarray:
        pixels = ((rgb + 1) * 127.5).clip(0, 255).astype(np.float32).transpose(0, 2, 3, 1)
        large = np.stack([cv2.resize(picture, (150, 150)) for picture in pixels]).transpose(0, 3, 1, 2)
        with opened(F32_PLAIN, Models().bytes("dlib")) as engine:
            found = engine.run({"rgb": np.ascontiguousarray(large)})["embedding"]
        unit: np.ndarray = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit

    same = (persons(faces(BF16, inputs("unet", 3))) * persons(right_faces)).sum(1)
    assert same.min() > 0.99


def test_the_sampler_and_decoder_run_as_one_graph(right_faces: np.ndarray) -> None:
    values = inputs("unet", 3)
    del values["t"]
    with opened(F32_PLAIN, unrolled(onnx_bytes("unet"), onnx_bytes("decoder"), TIMES)) as engine:
        assert psnr(engine.run(values)["rgb"], right_faces) > 60


def test_what_an_identity_decides_alone_is_kept_across_frames() -> None:
    parts = parted(simplified(onnx_bytes("unet")), ["identity"])
    values = inputs("unet", 2)
    with opened(F32_PLAIN, parts.first) as first, opened(F32_PLAIN, parts.rest) as rest:
        kept = first.run({"identity": values["identity"]})
        others = {name: value for name, value in values.items() if name != "identity"}
        assert error(rest.run({**others, **kept}), by_torch("unet", values)) < EXACT


def product(name: str) -> ProductNetwork:
    models = Models()
    if name in (*DETECTORS, *READERS):
        if not (models.folder / f"{name}.onnx").exists():
            pytest.skip(f"no weights of {name} here: veilcast models pull {name}")
        found = detectors(models) if name in DETECTORS else readers(models)
    else:
        found = generator(built_in())
    return next(network for network in found if network.name == name)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize(
    "name",
    [
        *OUTPUTS,
        *DETECTORS,
        *READERS,
        "identity-tokens",
        "unet-of-tokens",
        "sampler",
    ],
)
def test_every_network_builds_for_every_target(name: str, precision: Any) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an optional install")
    from veilcast.trt_engines.rtx_build import build

    network = product(name)
    shapes = profile(network.data, network.batch, network.sizes)
    assert len(build(network.data, shapes, precision, TARGETS)) > 100_000


def test_the_detectors_and_readers_are_roles_of_the_catalogue() -> None:
    assert {*DETECTORS, *READERS} <= {role.name for role in ROLES if "run" in role.use}

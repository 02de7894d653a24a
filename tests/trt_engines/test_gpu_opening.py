"""Opening on a GPU, with stand-ins for both: built once, compared with the processor, signed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from tests.trt_engines import fake_tensorrt
from tests.trt_engines.fake_device import FakeDevice
from tests.trt_engines.networks import CHANNELS, SIDE, conv_network, conv_reference, pictures
from tests.trt_engines.shipped import inputs, onnx_bytes

from veilcast.errors import EngineError
from veilcast.trt_engines import gpu, tensorrt_engine
from veilcast.trt_engines.canary import F32_PLAIN, error
from veilcast.trt_engines.engine import Engine, Model, Settings
from veilcast.trt_engines.open import open_engine
from veilcast.trt_engines.rtx_build import Profile

pytest.importorskip("onnxruntime", reason="the stand-in runs networks by ONNX Runtime")

MODEL = Model(conv_network(), ".onnx")
F32 = Settings(precision="f32")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    return a_gpu(monkeypatch)


def a_gpu(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    """With its library, as if it were here."""
    device = FakeDevice()
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt.library(device))
    monkeypatch.setattr(tensorrt_engine, "_recorded", lambda work, stream: Recorded(work))
    return device


class Recorded:
    """A CUDA graph's stand-in: does again what was recorded."""

    def __init__(self, work: object) -> None:
        self.replay = work


def opened(device: FakeDevice, folder: Path, settings: Settings = F32, model: Model = MODEL) -> Engine:
    return gpu.open_on_gpu(model, settings, folder, device)  # type: ignore[arg-type]


@pytest.mark.parametrize(("precision", "tolerance"), [("f32", 1e-5), ("auto", 5e-3)])
def test_a_gpu_gives_the_numbers_of_the_network(
    device: FakeDevice, tmp_path: Path, precision: str, tolerance: float
) -> None:
    settings = Settings(precision=precision)  # type: ignore[arg-type]
    with opened(device, tmp_path, settings) as engine:
        assert engine.label == f"tensorrt {'fp32' if precision == 'f32' else 'fp16'} on Fake GPU sm86"
        assert engine.inputs[0].shape_text() == "(1..16, 3, 8, 8)"
        for count in (1, 2, 9, 2, 16):
            answer = engine.run({"picture": pictures(count, seed=count)})
            assert error(answer, conv_reference(pictures(count, seed=count))) < tolerance


def test_a_network_of_the_repository_runs_there(device: FakeDevice, tmp_path: Path) -> None:
    model = Model(onnx_bytes("coarse"), ".onnx")
    with opened(device, tmp_path, model=model) as engine, F32_PLAIN.open(model, Settings()) as right:
        assert error(engine.run(inputs("coarse", 2)), right.run(inputs("coarse", 2))) < 1e-4


def test_pictures_go_there_as_bytes(device: FakeDevice, tmp_path: Path) -> None:
    settings = Settings("f32", shapes={"picture": (1, CHANNELS, SIDE, SIDE)}, pictures=("picture",))
    rgb = np.random.default_rng(3).integers(0, 256, (1, SIDE, SIDE, CHANNELS)).astype(np.uint8)
    with opened(device, tmp_path, settings) as engine:
        assert engine.inputs[0].dtype == np.uint8
        assert engine.inputs[0].shape_text() == "(1, 8, 8, 3)"
        answer = engine.run({"picture": rgb})
    right = conv_reference(rgb.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(answer["map"], right["map"], rtol=1e-4, atol=1e-3)


def test_a_plan_is_built_once(device: FakeDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds: list[bytes] = []
    real = tensorrt_engine.build

    def counted(data: bytes, shapes: list[Profile]) -> bytes:
        builds.append(data)
        return real(data, shapes)

    monkeypatch.setattr(tensorrt_engine, "build", counted)
    for _ in range(2):
        with opened(device, tmp_path):
            pass
    assert len(builds) == 1
    device.name = "Fake GPU sm89"
    with opened(device, tmp_path):
        pass
    assert len(builds) == 2


def test_a_gpu_that_computes_wrongly_is_not_used_and_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = a_gpu(monkeypatch)
    right = fake_tensorrt.Engine.run
    with monkeypatch.context() as broken:
        broken.setattr(
            fake_tensorrt.Engine,
            "run",
            lambda self, given: {n: v * 1.2 for n, v in right(self, given).items()},
        )
        with pytest.raises(EngineError, match="differs from the processor"):
            opened(device, tmp_path)
    assert all(buffer.freed for buffer in device.buffers.values())
    assert not list(tmp_path.rglob("*.engine"))
    with opened(device, tmp_path) as engine:
        engine.run({"picture": pictures(1)})


def test_an_open_size_must_be_said(device: FakeDevice, tmp_path: Path) -> None:
    from veilcast.trt_engines.convert.graph import GraphWriter

    graph = GraphWriter("open")
    graph.node("Relu", "x", to="y")
    data = graph.bytes({"x": ["n", 3, "h", "w"]}, {"y": ["n", 3, "h", "w"]})
    with pytest.raises(EngineError, match="size of the input x is open"):
        opened(device, tmp_path, model=Model(data, ".onnx"))


def test_without_a_gpu_there_is_one_sentence_and_no_fallback(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is an optional install")
    if torch.cuda.is_available():
        pytest.skip("there is one here")
    with pytest.raises(EngineError, match="no CUDA device"):
        open_engine(MODEL.data, device="cuda", cache=tmp_path)


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_nothing_moves_to_a_gpu_unasked(device: str, tmp_path: Path) -> None:
    with open_engine(MODEL.data, device=device, cache=tmp_path) as engine:  # type: ignore[arg-type]
        assert engine.label.startswith(("openvino", "onnxruntime"))

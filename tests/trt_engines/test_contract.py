"""What every backend promises, checked on all of them with one network."""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.trt_engines import fake_tensorrt
from tests.trt_engines.fake_device import FakeDevice
from tests.trt_engines.networks import CHANNELS, OUT, SIDE, conv_network, conv_reference, pictures, weights

from veilcast.errors import EngineError
from veilcast.trt_engines import tensorrt_engine as tensorrt
from veilcast.trt_engines.canary import BF16, F32_PLAIN, ORT, Rung
from veilcast.trt_engines.compiled import CompiledCache
from veilcast.trt_engines.convert.graph import GraphWriter
from veilcast.trt_engines.device import Lent
from veilcast.trt_engines.engine import Engine, Model, Settings, TensorSpec, run_many
from veilcast.trt_engines.gpu import profiles
from veilcast.trt_engines.openvino_engine import has_bf16
from veilcast.trt_engines.store import Recipe
from veilcast.trt_engines.tensorrt_engine import TensorRtEngine

SETTINGS = Settings(shapes={"picture": ((1, 2, 4), CHANNELS, SIDE, SIDE)}, threads=1, streams=2)
TOLERANCE = {"openvino bf16": 2e-2}


def torch_engine() -> Engine:
    torch = pytest.importorskip("torch", reason="torch is an optional install")
    from veilcast.trt_engines.torch_engine import TorchEngine

    class Module(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def forward(self, picture: object) -> object:
            kernel, bias = (torch.from_numpy(w) for w in weights())
            y = torch.relu(torch.nn.functional.conv2d(picture, kernel, bias, padding=1))
            return y, y.mean((2, 3))

    f32 = np.dtype(np.float32)
    batch: Callable[..., TensorSpec] = lambda name, *rest: TensorSpec(  # noqa: E731
        name, f32, (1, *rest), (2, *rest), (4, *rest)
    )
    return TorchEngine(
        Module(),
        [batch("picture", CHANNELS, SIDE, SIDE)],
        [batch("map", OUT, SIDE, SIDE), batch("mean", OUT)],
    )


def onnx_engine(rung: Rung) -> Engine:
    if rung is ORT:
        pytest.importorskip("onnxruntime", reason="ONNX Runtime is an optional install")
    if rung is BF16 and not has_bf16():
        pytest.skip("this processor has no bfloat16")
    return rung.open(Model(conv_network(), ".onnx"), SETTINGS)


def kept_engine() -> Engine:
    """Opened from the cache of compiled networks."""
    with tempfile.TemporaryDirectory() as folder:
        cache = CompiledCache(Path(folder) / "compiled")
        with F32_PLAIN.open(Model(conv_network(), ".onnx"), SETTINGS, cache):
            pass
        engine = F32_PLAIN.open(Model(conv_network(), ".onnx"), SETTINGS, cache)
        assert len(list(Path(folder).rglob("*.compiled"))) == 1
        return engine


def tensorrt_engine() -> Engine:
    """By a stand-in for the library, on a device that enforces the rules of one."""
    pytest.importorskip("onnxruntime", reason="the stand-in runs networks by ONNX Runtime")
    device = FakeDevice()
    recipe = Recipe("conv", "", {}, "fp32", f"tensorrt {fake_tensorrt.VERSION}", (device.name,))
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "tensorrt", fake_tensorrt.library(device))
        plan = tensorrt.build(conv_network(), profiles(conv_network(), SETTINGS))
        return TensorRtEngine(plan, recipe, device)  # type: ignore[arg-type]


BACKENDS: dict[str, Callable[[], Engine]] = {
    "openvino bf16": lambda: onnx_engine(BF16),
    "openvino f32": lambda: onnx_engine(F32_PLAIN),
    "openvino f32, kept": kept_engine,
    "onnxruntime": lambda: onnx_engine(ORT),
    "torch": torch_engine,
    "tensorrt stand-in": tensorrt_engine,
}


@pytest.fixture(scope="module", params=list(BACKENDS))
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with BACKENDS[request.param]() as engine:
        yield engine


def assert_right(engine: Engine, picture: np.ndarray, answer: dict[str, np.ndarray]) -> None:
    tolerance = TOLERANCE.get(engine.label, 1e-5)
    right = conv_reference(picture)
    assert list(answer) == list(right)
    for name, value in right.items():
        np.testing.assert_allclose(answer[name], value, rtol=tolerance, atol=tolerance, err_msg=engine.label)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_answers_every_batch_in_its_range(engine: Engine, count: int) -> None:
    assert_right(engine, pictures(count), engine.run({"picture": pictures(count)}))


def test_what_lies_on_a_device_is_refused_where_the_network_does_not_run_there(engine: Engine) -> None:
    if engine.label.startswith("tensorrt"):
        pytest.skip("runs there: tests/trt_engines/test_tensorrt_engine.py")
    device, value = FakeDevice(), pictures(1)
    there = Lent(device.allocate(value.shape, value.dtype), device.stream().record(), lambda event: None)
    with pytest.raises(EngineError, match="lies on a device"):
        engine.run({"picture": there})  # type: ignore[dict-item]


def test_says_what_it_takes(engine: Engine) -> None:
    (spec,) = engine.inputs
    assert (spec.name, spec.dtype.name, spec.shape_text()) == ("picture", "float32", "(1..4, 3, 8, 8)")
    assert spec.opt == (2, 3, 8, 8)
    assert [spec.name for spec in engine.outputs] == ["map", "mean"]


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        ({"picture": pictures(5)}, r"must be \(1\.\.4, 3, 8, 8\), got \(5, 3, 8, 8\)"),
        ({"picture": pictures(1)[:, :, :4]}, "got"),
        ({"picture": pictures(1)[0]}, "got"),
        ({"picture": pictures(1).astype(np.float64)}, "must be float32, got float64"),
        ({}, "takes picture; got nothing"),
        ({"image": pictures(1)}, "takes picture; got image"),
        ({"picture": pictures(1), "more": pictures(1)}, "takes picture"),
    ],
)
def test_refuses_what_is_not_its_input(engine: Engine, inputs: dict[str, np.ndarray], complaint: str) -> None:
    with pytest.raises(EngineError, match=complaint):
        engine.run(inputs)


def test_leaves_the_input_alone_and_gives_the_output_away(engine: Engine) -> None:
    first, second = pictures(2), pictures(2, seed=1)
    first.flags.writeable = False
    answer = engine.run({"picture": first})
    kept = {name: value.copy() for name, value in answer.items()}
    engine.run({"picture": second})
    for name, value in kept.items():
        np.testing.assert_array_equal(answer[name], value)
        answer[name][:] = 0  # the caller's to write


def test_takes_strided_arrays(engine: Engine) -> None:
    picture = pictures(4)[::2, :, :, ::-1]
    assert_right(engine, picture, engine.run({"picture": picture}))


def test_answers_many_threads_at_once(engine: Engine) -> None:
    batches = [pictures(2, seed=i) for i in range(16)]
    answers: list[dict[str, np.ndarray]] = [{} for _ in batches]

    def work(start: int) -> None:
        for i in range(start, len(batches), 4):
            answers[i] = engine.run({"picture": batches[i]})

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for batch, answer in zip(batches, answers, strict=True):
        assert_right(engine, batch, answer)


def test_runs_many_batches_in_order(engine: Engine) -> None:
    batches = [pictures(1 + i % 4, seed=i) for i in range(9)]
    answers = list(run_many(engine, ({"picture": batch} for batch in batches)))
    assert len(answers) == 9
    for batch, answer in zip(batches, answers, strict=True):
        assert_right(engine, batch, answer)


def test_run_many_reads_no_further_ahead_than_its_streams(engine: Engine) -> None:
    taken = []

    def batches() -> Iterator[dict[str, np.ndarray]]:
        for i in range(10):
            taken.append(i)
            yield {"picture": pictures(1)}

    next(iter(run_many(engine, batches())))
    assert len(taken) <= engine.streams + 1


@pytest.mark.parametrize("name", BACKENDS)
def test_is_of_no_use_after_it_is_closed(name: str) -> None:
    with BACKENDS[name]() as engine:
        pass
    with pytest.raises(EngineError, match="closed"):
        engine.run({"picture": pictures(1)})


@pytest.mark.parametrize("rung", [F32_PLAIN, ORT], ids=lambda rung: rung.name)
def test_pictures_are_taken_as_bytes_channels_last(rung: Rung) -> None:
    settings = Settings(shapes={"picture": (1, CHANNELS, SIDE, SIDE)}, pictures=("picture",))
    rgb = np.random.default_rng(3).integers(0, 256, (1, SIDE, SIDE, CHANNELS)).astype(np.uint8)
    with rung.open(Model(conv_network(), ".onnx"), settings) as engine:
        assert engine.inputs[0].shape_text() == "(1, 8, 8, 3)"
        answer = engine.run({"picture": rgb})
    right = conv_reference(rgb.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(answer["map"], right["map"], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("rung", [F32_PLAIN, ORT], ids=lambda rung: rung.name)
@pytest.mark.parametrize("data", [b"", b"not a network", conv_network()[:200]], ids=["empty", "text", "cut"])
def test_what_is_no_network_is_refused_in_one_sentence(rung: Rung, data: bytes) -> None:
    with pytest.raises(EngineError) as caught:
        rung.open(Model(data, ".onnx"), Settings())
    assert "\n" not in str(caught.value)


def test_a_site_brings_its_own_network(tmp_path: Path) -> None:
    from veilcast.trt_engines.open import open_engine

    path = tmp_path / "own.onnx"
    path.write_bytes(conv_network())
    with open_engine(path, precision="f32", cache=tmp_path / "engines") as engine:
        assert_right(engine, pictures(3), engine.run({"picture": pictures(3)}))


@pytest.mark.parametrize("rung", [F32_PLAIN, ORT], ids=lambda rung: rung.name)
def test_outputs_keep_the_names_of_the_file_when_layers_are_fused(rung: Rung) -> None:
    graph = GraphWriter("fused")
    kernel, bias = weights()
    inner = graph.conv("picture", kernel, bias, pads=[1] * 4)
    graph.node("Identity", inner, to="a_box")
    graph.node("Sigmoid", graph.node("Flatten", inner), to="presence")
    shape: list[int | str] = ["n", CHANNELS, SIDE, SIDE]
    data = graph.bytes(
        {"picture": shape}, {"a_box": ["n", OUT, SIDE, SIDE], "presence": ["n", OUT * SIDE * SIDE]}
    )
    with rung.open(Model(data, ".onnx"), Settings()) as engine:
        assert list(engine.run({"picture": pictures(1)})) == ["a_box", "presence"]

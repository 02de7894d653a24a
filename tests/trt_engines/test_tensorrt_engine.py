"""The TensorRT engine without a GPU: a stand-in for the library on a device that enforces the rules.

What needs the real ones is marked `tensorrt` and runs where they are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.trt_engines.fake_device import FakeDevice, Hazard
from tests.trt_engines.networks import OUT, SIDE, conv_network, conv_reference, pictures

from veilcast.errors import EngineError
from veilcast.trt_engines.build import profile
from veilcast.trt_engines.device import Lent
from veilcast.trt_engines.store import Recipe
from veilcast.trt_engines.tensorrt_engine import TensorRtEngine, build

RECIPE = Recipe("conv", "00" * 32, {}, "fp16", "tensorrt 10.13", ("Fake GPU sm86",))
PLAN = b"plan"
# batches of 1 to 2 tuned for 1, and of 3 to 8 tuned for 8
PROFILES = [
    ((1, 3, SIDE, SIDE), (1, 3, SIDE, SIDE), (2, 3, SIDE, SIDE)),
    ((3, 3, SIDE, SIDE),) + ((8, 3, SIDE, SIDE),) * 2,
]


class Context:
    """Computes the network on the buffers whose addresses it was given."""

    def __init__(self, device: FakeDevice) -> None:
        self.device, self.addresses, self.profile, self.fails = device, dict[str, int](), 0, False
        self.shape: tuple[int, ...] = ()
        self.switched: list[int] = []

    def set_optimization_profile_async(self, index: int, _stream: int) -> bool:
        self.profile = index
        self.switched.append(index)
        return True

    def set_input_shape(self, _name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        low, _, high = PROFILES[self.profile]
        return low[0] <= shape[0] <= high[0]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        n = self.shape[0]
        return {"picture": self.shape, "map": (n, OUT, SIDE, SIDE), "mean": (n, OUT)}[name]

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, _stream: int) -> bool:
        if self.fails:
            return False
        buffers = {name: self.device.buffers[address] for name, address in self.addresses.items()}
        assert buffers["picture"].shape == self.shape
        for name, value in conv_reference(buffers["picture"].array).items():
            np.copyto(buffers[name].array, value.astype(np.float32))
        return True


class Plan:
    num_io_tensors, num_optimization_profiles = 3, 2

    def __init__(self, context: Context) -> None:
        self.context = context

    def get_tensor_name(self, index: int) -> str:
        return ("picture", "map", "mean")[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name == "picture" else "out"

    def get_tensor_profile_shape(self, _name: str, index: int) -> Any:
        return PROFILES[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return {"picture": (-1, 3, SIDE, SIDE), "map": (-1, OUT, SIDE, SIDE), "mean": (-1, OUT)}[name]

    def get_tensor_dtype(self, _name: str) -> str:
        return "float32"

    def create_execution_context(self) -> Context:
        return self.context


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def context(device: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> Context:
    context = Context(device)
    library = ModuleType("tensorrt")
    runtime = SimpleNamespace(deserialize_cuda_engine=lambda plan: Plan(context) if plan == PLAN else None)
    library.__dict__.update(
        __version__="10.13",
        Logger=type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None}),
        Runtime=lambda logger: runtime,
        TensorIOMode=SimpleNamespace(INPUT="in"),
        nptype=np.dtype,
    )
    monkeypatch.setitem(sys.modules, "tensorrt", library)
    return context


@pytest.fixture
def engine(context: Context, device: FakeDevice) -> Iterator[TensorRtEngine]:
    with TensorRtEngine(PLAN, RECIPE, device) as engine:  # type: ignore[arg-type]
        yield engine


@pytest.mark.parametrize("counts", [(1,), (8,), (1, 8, 2, 1, 3)])
def test_answers_every_batch_with_the_profile_tuned_for_it(
    engine: TensorRtEngine, counts: tuple[int, ...]
) -> None:
    for count in counts:
        answer = engine.run({"picture": pictures(count, seed=count)})
        for name, value in conv_reference(pictures(count, seed=count)).items():
            np.testing.assert_allclose(answer[name], value, rtol=1e-5, atol=1e-5)


def test_a_profile_is_switched_only_when_it_must_be(engine: TensorRtEngine, context: Context) -> None:
    for count in (1, 2, 8, 4, 1):
        engine.run({"picture": pictures(count)})
    assert context.switched == [1, 0]


def test_buffers_are_kept_for_each_shape_and_freed_at_the_end(context: Context, device: FakeDevice) -> None:
    with TensorRtEngine(PLAN, RECIPE, device) as engine:  # type: ignore[arg-type]
        for _ in range(3):
            engine.run({"picture": pictures(2)})
            engine.run({"picture": pictures(4)})
        assert len(device.buffers) == 6
        assert not any(buffer.freed for buffer in device.buffers.values())
    assert all(buffer.freed for buffer in device.buffers.values())
    with pytest.raises(EngineError, match="closed"):
        engine.run({"picture": pictures(2)})


def test_a_batch_beyond_every_profile_is_refused(engine: TensorRtEngine) -> None:
    with pytest.raises(EngineError, match=r"1\.\.8"):
        engine.run({"picture": pictures(9)})


def test_a_failed_launch_is_an_error(engine: TensorRtEngine, context: Context) -> None:
    context.fails = True
    with pytest.raises(EngineError, match="failed in the network"):
        engine.run({"picture": pictures(1)})


def lent(device: FakeDevice, value: np.ndarray, told: list[Any]) -> Lent:
    """The value as another stream of the device has written it."""
    writer, buffer = device.stream(), device.allocate(value.shape, value.dtype)
    device.upload(value, buffer, writer)
    return Lent(buffer, writer.record(), told.append)


def test_what_lies_on_the_device_is_read_there(engine: TensorRtEngine, device: FakeDevice) -> None:
    told: list[Any] = []
    here = pictures(2)
    there = engine.run({"picture": lent(device, here, told)})  # type: ignore[dict-item]
    for name, value in engine.run({"picture": here}).items():
        assert np.array_equal(value, there[name])
    assert len(told) == 1  # who lent it may write it again behind that
    with pytest.raises(EngineError, match="must be"):
        engine.run({"picture": lent(device, here.astype(np.uint8), told)})  # type: ignore[dict-item]


def test_what_is_read_before_it_is_written_there_is_caught_by_the_device(
    engine: TensorRtEngine, device: FakeDevice
) -> None:
    """The mutant of the engine's waiting."""
    device.streams[0].wait = lambda event: None  # type: ignore[method-assign]
    with pytest.raises(Hazard):
        engine.run({"picture": lent(device, pictures(1), [])})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"library": "tensorrt 10.12"}, "built with tensorrt 10.12"),
        ({"targets": ("Fake GPU sm89",)}, "built for Fake GPU sm89"),
        ({"targets": ("Fake GPU sm86", "Fake GPU sm89")}, "built for"),
    ],
)
def test_a_plan_of_another_library_or_device_is_refused(
    context: Context, device: FakeDevice, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(EngineError, match=complaint):
        TensorRtEngine(PLAN, replace(RECIPE, **change), device)  # type: ignore[arg-type]
    assert device.buffers == {}


def test_a_plan_that_the_library_refuses_is_an_error(context: Context, device: FakeDevice) -> None:
    with pytest.raises(EngineError, match="build it again"):
        TensorRtEngine(b"another", RECIPE, device)  # type: ignore[arg-type]


def test_without_the_library_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match="not installed"):
        build(b"", [])


@pytest.mark.tensorrt
def test_on_a_real_device() -> None:
    pytest.importorskip("tensorrt", reason="needs TensorRT")
    torch = pytest.importorskip("torch", reason="needs torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    from veilcast.trt_engines.device import TorchDevice
    from veilcast.trt_engines.network import half
    from veilcast.trt_engines.tensorrt_engine import version

    data, device = half(conv_network(), "fp16"), TorchDevice()
    recipe = replace(RECIPE, library=f"tensorrt {version()}", targets=(device.name,))
    for graphs in (False, True):
        with TensorRtEngine(build(data, [profile(data, (1, 4, 8))]), recipe, device, graphs=graphs) as engine:
            for _ in range(3):
                answer = engine.run({"picture": pictures(4)})
            np.testing.assert_allclose(answer["map"], conv_reference(pictures(4))["map"], atol=2e-2)

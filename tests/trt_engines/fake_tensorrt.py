"""Stands in for the `tensorrt` library on the fake device: plans hold the network's ONNX bytes, and a
launch runs them on the processor, on the buffers whose addresses were given. Its rules are the library's:
a builder wants strongly typed networks and ordered profiles, a context wants the profile that fits."""

from __future__ import annotations

import json
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from tests.trt_engines.fake_device import FakeDevice

VERSION = "10.13"
Shapes = dict[str, list[list[int]]]


class Profile:
    def __init__(self) -> None:
        self.shapes: Shapes = {}

    def set_shape(self, name: str, low: Any, best: Any, high: Any) -> None:
        self.shapes[name] = [list(low), list(best), list(high)]


class Config:
    def __init__(self) -> None:
        self.profiles: list[Shapes] = []

    def add_optimization_profile(self, profile: Profile) -> int:
        ordered = all(a <= b <= c for s in profile.shapes.values() for a, b, c in zip(*s, strict=True))
        if not ordered:
            return -1
        self.profiles.append(profile.shapes)
        return len(self.profiles) - 1


class Builder:
    def __init__(self, _logger: object) -> None:
        pass

    def create_network(self, flags: int) -> SimpleNamespace:
        assert flags == 1 << 3, "networks must be strongly typed"
        return SimpleNamespace(data=b"")

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Any, config: Config) -> bytes | None:
        if not config.profiles:
            return None
        return json.dumps(config.profiles).encode() + b"\n" + bytes(network.data)


class Parser:
    num_errors = 0

    def __init__(self, network: Any, _logger: object) -> None:
        self.network = network

    def parse(self, data: bytes) -> bool:
        self.network.data = data
        return True


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.profile = engine, 0
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, index: int, _stream: int) -> bool:
        self.profile = index
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        low, _, high = self.engine.profiles[self.profile][name]
        self.shapes[name] = shape
        return all(a <= n <= b for a, n, b in zip(low, shape, high, strict=True))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self.shapes:
            return self.shapes[name]
        return tuple(self.engine.outputs_for(self.shapes)[name])

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, _stream: int) -> bool:
        buffers = {n: self.engine.device.buffers[address] for n, address in self.addresses.items()}
        given = {name: buffers[name].array for name in self.engine.entering}
        assert {name: value.shape for name, value in given.items()} == self.shapes
        for name, value in self.engine.run(given).items():
            np.copyto(buffers[name].array, value)
        return True


class Engine:
    def __init__(self, device: FakeDevice, plan: bytes) -> None:
        import onnxruntime

        head, _, data = plan.partition(b"\n")
        self.device, self.profiles = device, json.loads(head)
        self.session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        self.entering = [value.name for value in self.session.get_inputs()]
        self.values = {v.name: v for v in (*self.session.get_inputs(), *self.session.get_outputs())}
        self.num_io_tensors, self.num_optimization_profiles = len(self.values), len(self.profiles)
        self._known: dict[str, dict[str, tuple[int, ...]]] = {}

    def get_tensor_name(self, index: int) -> str:
        return str(list(self.values)[index])

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name in self.entering else "out"

    def get_tensor_profile_shape(self, name: str, index: int) -> Any:
        return [tuple(shape) for shape in self.profiles[index][name]]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(n if isinstance(n, int) else -1 for n in self.values[name].shape)

    def get_tensor_dtype(self, name: str) -> str:
        kinds: dict[str, str] = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}
        return kinds[str(self.values[name].type)]

    def create_execution_context(self) -> Context:
        return Context(self)

    def outputs_for(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        key = str(sorted(shapes.items()))
        if key not in self._known:
            zeros = {n: np.zeros(s, self.get_tensor_dtype(n)) for n, s in shapes.items()}
            self._known[key] = {name: value.shape for name, value in self.run(zeros).items()}
        return self._known[key]

    def run(self, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [name for name in self.values if name not in self.entering]
        return dict(zip(names, self.session.run(names, given), strict=True))


def library(device: FakeDevice) -> ModuleType:
    """What goes into sys.modules as `tensorrt`."""
    made = ModuleType("tensorrt")
    runtime = SimpleNamespace(deserialize_cuda_engine=lambda plan: Engine(device, plan))
    made.__dict__.update(
        __version__=VERSION,
        Logger=type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None}),
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=3),
        Builder=Builder,
        OnnxParser=Parser,
        Runtime=lambda logger: runtime,
        TensorIOMode=SimpleNamespace(INPUT="in"),
        nptype=np.dtype,
    )
    return made

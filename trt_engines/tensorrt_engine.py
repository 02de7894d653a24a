"""TensorRT on a CUDA device. THE ONLY FILE THAT IMPORTS tensorrt.

Written against TensorRT 10's public API. It needs a GPU to run, and is run by the tests marked
`tensorrt` alone: what a processor can check of it (plans that are refused, shapes, buffers, stream
order) is tested with a stand-in for the library.

A plan is native code. It is loaded only with the hash that its store signed, and only where the
library's version and the device are those that it was built with. Networks are strongly typed: their
types are those of the ONNX file (network.half). Device buffers belong to the engine's arena; each
shape has its own, so that a captured CUDA graph keeps pointing at the right ones.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from veilcast.errors import EngineError
from veilcast.trt_engines.device import Arena, Device, Lent
from veilcast.trt_engines.engine import Tensors, TensorSpec, check_inputs
from veilcast.trt_engines.rtx_build import Profile
from veilcast.trt_engines.store import Recipe


def version() -> str:
    return str(_library().__version__)


def build(data: bytes, profiles: Sequence[Profile]) -> bytes:
    """A plan for the device at hand: one optimisation profile for each static batch size, or one for a
    range. The network's own types decide the precision. Raises EngineError."""
    trt = _library()
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(data):
        reasons = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise EngineError(f"TensorRT cannot read the network: {(reasons or ['no reason'])[0][:200]}")
    config = builder.create_builder_config()
    for profile in profiles:
        ranges = builder.create_optimization_profile()
        for name, shapes in profile.items():
            ranges.set_shape(name, *[tuple(shape) for shape in shapes])
        if config.add_optimization_profile(ranges) < 0:
            raise EngineError(f"TensorRT refuses the profile {dict(profile)}")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError("TensorRT cannot build the network for this device")
    return bytes(plan)


class TensorRtEngine:
    """One plan on one device, one stream. `graphs`: record the launches of each shape once and replay
    them; the graph is tied to its shape's buffers and used for that shape alone."""

    streams = 1

    def __init__(self, plan: bytes, recipe: Recipe, device: Device, *, graphs: bool = False) -> None:
        trt = _library()
        _check_recipe(recipe, f"tensorrt {trt.__version__}", device.name)
        self.label = f"tensorrt {recipe.precision} on {device.name}"
        self._device, self._graphs = device, graphs
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineError("TensorRT refuses the plan: build it again on this machine")
        self._context: Any = self._engine.create_execution_context()
        self._stream = device.stream()
        self._turn = threading.Lock()  # one context and one stream: other callers wait
        self._arena = Arena(device)
        self._profile = 0
        self._recorded: dict[tuple[tuple[int, ...], ...], Any] = {}
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        entering = [n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        self._profiles = [
            {n: self._engine.get_tensor_profile_shape(n, i) for n in entering}
            for i in range(self._engine.num_optimization_profiles)
        ]
        self.inputs = tuple(self._input_spec(trt, name) for name in entering)
        self.outputs = tuple(self._output_spec(trt, name) for name in names if name not in entering)

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        check_inputs(self.inputs, inputs, on_device=True)
        with self._turn:
            return self._answer(inputs)

    def _answer(self, inputs: Tensors) -> dict[str, np.ndarray]:
        if self._context is None:
            raise EngineError("this engine is closed")
        buffers = self._bind(inputs)
        for name, value in inputs.items():
            self._fill(buffers[name], value)
        names = [spec.name for spec in self.inputs]
        self._device.launch(
            lambda: self._execute(tuple(inputs[name].shape for name in names)),
            reads=[buffers[name] for name in names],
            writes=[buffers[spec.name] for spec in self.outputs],
            stream=self._stream,
        )
        answer = {spec.name: self._device.download(buffers[spec.name], self._stream) for spec in self.outputs}
        self._stream.synchronize()
        return answer

    def _fill(self, buffer: Any, value: np.ndarray | Lent) -> None:
        if not isinstance(value, Lent):
            self._device.upload(value, buffer, self._stream)
            return
        # copied, not bound: a recorded graph points at the engine's own buffers
        self._stream.wait(value.ready)
        self._device.copy(value.buffer, buffer, self._stream)
        value.used(self._stream.record())

    def _bind(self, inputs: Tensors) -> dict[str, Any]:
        """Selects the profile, says the shapes, and gives every tensor its buffer for these shapes."""
        context = self._context
        wanted = self._fitting({name: value.shape for name, value in inputs.items()})
        if wanted != self._profile:
            if not context.set_optimization_profile_async(wanted, self._stream.handle):
                raise EngineError(f"TensorRT refuses profile {wanted}")
            self._profile = wanted
        for name, value in inputs.items():
            if not context.set_input_shape(name, tuple(value.shape)):
                raise EngineError(f"TensorRT refuses the shape {value.shape} of {name}")
        shapes = {
            spec.name: tuple(context.get_tensor_shape(spec.name)) for spec in (*self.inputs, *self.outputs)
        }
        if any(n < 0 for shape in shapes.values() for n in shape):
            raise EngineError("TensorRT leaves an output's shape open for these inputs")
        # one set of buffers for each set of input shapes: a recorded graph points at them
        key = "/".join(str(shapes[spec.name]) for spec in self.inputs)
        buffers = {}
        for spec in (*self.inputs, *self.outputs):
            buffers[spec.name] = self._arena.get(f"{key}/{spec.name}", shapes[spec.name], spec.dtype)
            context.set_tensor_address(spec.name, buffers[spec.name].address)
        return buffers

    def _fitting(self, shapes: dict[str, tuple[int, ...]]) -> int:
        """The profile that was tuned for these shapes, else the first that allows them."""
        allowed = [
            index
            for index, profile in enumerate(self._profiles)
            if all(
                all(a <= n <= b for a, n, b in zip(profile[name][0], shape, profile[name][2], strict=True))
                for name, shape in shapes.items()
            )
        ]
        if not allowed:
            raise EngineError("no optimisation profile of the plan allows these shapes together")
        tuned = (i for i in allowed if all(tuple(self._profiles[i][n][1]) == s for n, s in shapes.items()))
        return next(tuned, allowed[0])

    def _execute(self, shapes: tuple[tuple[int, ...], ...]) -> None:
        """Replays the graph of exactly these shapes, recording it first; or launches plainly."""
        if not self._graphs:
            self._enqueue()
        elif shapes in self._recorded:
            self._recorded[shapes].replay()
        else:
            self._enqueue()  # once outside of a recording: the library allocates at the first launch
            self._recorded[shapes] = _recorded(self._enqueue, self._stream)

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.handle):
            raise EngineError(f"{self.label} failed in the network")

    def _input_spec(self, trt: Any, name: str) -> TensorSpec:
        ranges = [profile[name] for profile in self._profiles]
        least = tuple(min(sizes) for sizes in zip(*[low for low, _, _ in ranges], strict=True))
        most = tuple(max(sizes) for sizes in zip(*[high for _, _, high in ranges], strict=True))
        dtype = np.dtype(trt.nptype(self._engine.get_tensor_dtype(name)))
        return TensorSpec(name, dtype, least, tuple(ranges[0][1]), most)

    def _output_spec(self, trt: Any, name: str) -> TensorSpec:
        shape = tuple(self._engine.get_tensor_shape(name))
        dtype = np.dtype(trt.nptype(self._engine.get_tensor_dtype(name)))
        low, most = tuple(max(n, 0) for n in shape), tuple(None if n < 0 else n for n in shape)
        return TensorSpec(name, dtype, low, tuple(max(n, 1) for n in shape), most)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._turn:
            self._close()

    def _close(self) -> None:
        if self._context is None:
            return
        self._stream.synchronize()  # no buffer goes while a kernel may still use it
        self._recorded.clear()
        self._context = None
        self._arena.__exit__(None, None, None)


def _recorded(work: Any, stream: Any) -> Any:
    """The launches of `work` as a CUDA graph."""
    import torch

    graph = torch.cuda.CUDAGraph()
    # other threads go on using the device meanwhile: only this one's calls may spoil the recording
    with torch.cuda.graph(graph, stream=stream.torch_stream, capture_error_mode="thread_local"):
        work()
    return graph


def _check_recipe(recipe: Recipe, library: str, device: str) -> None:
    if recipe.library != library:
        raise EngineError(f"the plan was built with {recipe.library}, this is {library}: build it again")
    if recipe.targets != (device,):
        raise EngineError(
            f"the plan was built for {', '.join(recipe.targets)}, this is {device}: build it here"
        )


def _library() -> Any:
    try:
        import tensorrt
    except ImportError:
        raise EngineError("TensorRT is not installed; without a GPU use OpenVINO") from None
    return tensorrt

"""OpenVINO on the processor: the default backend."""

from __future__ import annotations

import io
import json
import logging
import os
import queue
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from veilcast.errors import EngineError
from veilcast.trt_engines.compiled import Compiled, CompiledCache
from veilcast.trt_engines.engine import Model, Settings, Tensors, TensorSpec, check_inputs
from veilcast.trt_engines.processor import processor
from veilcast.trt_engines.runtime import ov

log = logging.getLogger(__name__)


def version() -> str:
    """The library's version, exactly."""
    return str(ov.get_version())


def has_bf16() -> bool:
    """Whether this processor multiplies bfloat16."""
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoEngine:
    """One compiled network and one inference request for each stream.

    Compiling can kill the process on some processors: use `open_engine`, which has tried it in
    another one first.
    """

    def __init__(
        self,
        model: Model,
        settings: Settings,
        *,
        precision: str,
        snippets: bool = True,
        exact: bool = False,
        cache: CompiledCache | None = None,
    ) -> None:
        """`cache`: where compiled networks are kept; without it each opening compiles anew."""
        compiling = partial(_kept, model, settings, properties(settings, precision, snippets, exact), cache)
        self._again = compiling if settings.streams > 1 else None  # it holds the network's bytes
        self.label = f"openvino {precision}" + ("" if snippets else " without snippets") + " exact" * exact
        self.streams = settings.streams
        with _translated(f"could not compile the network for {self.label}"):
            compiled, names = compiling()
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._requests.put(compiled.create_infer_request())
        self._made = 1
        self._lock = threading.Lock()
        self._open = True
        self.inputs, self.outputs = specs(compiled, names, settings)

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        check_inputs(self.inputs, inputs)
        if not self._open:
            raise EngineError("this engine is closed")
        request = self._free()
        try:
            with _translated(f"{self.label} failed in the network"):
                feed = [np.ascontiguousarray(inputs[spec.name]) for spec in self.inputs]
                request.infer(feed, share_inputs=True)
                return {
                    spec.name: np.array(request.get_output_tensor(i).data)
                    for i, spec in enumerate(self.outputs)
                }
        finally:
            self._requests.put(request)

    def _free(self) -> Any:
        """A request that nobody uses: where all are in use and there may be more, one of a copy of the
        network that is made now. A copy each, since the library runs what has one stream in the thread that
        calls; else it is handed to another one and back, and cores wait for that."""
        with suppress(queue.Empty):
            return self._requests.get_nowait()
        with self._lock:
            more = self._made < self.streams
            self._made += more
        if not more or self._again is None:
            return self._requests.get()
        try:
            with _translated(f"could not compile the network for {self.label}"):
                return self._again()[0].create_infer_request()
        except EngineError:
            with self._lock:
                self._made -= 1
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._open:
            return
        self._open = False
        for _ in range(self._made):
            self._requests.get()  # waits for calls that are still running


def _kept(
    model: Model, settings: Settings, config: dict[str, Any], cache: CompiledCache | None
) -> tuple[Any, Sequence[str]]:
    """The compiled network and the names of its tensors: from the cache, else compiled now and kept."""
    core = ov.Core()
    if cache is None:
        return compile_network(core, model, settings, config)
    facts = (model.sha256, settings.text(), json.dumps(config, sort_keys=True), version(), processor())
    if (found := cache.get(*facts)) is not None:
        try:
            return core.import_model(io.BytesIO(found.blob), "CPU", config), found.names
        except RuntimeError as error:
            log.debug("a kept network cannot be imported: %s", error)
    compiled, names = compile_network(core, model, settings, config)
    cache.put(facts, Compiled(tuple(names), compiled.export_model().getvalue()))
    return compiled, names


def compile_network(
    core: Any, model: Model, settings: Settings, config: dict[str, Any]
) -> tuple[Any, Sequence[str]]:
    """The compiled network and the names of its tensors, inputs first. Raises what the library raises."""
    network = _network(core, model, settings)
    # named before compiling, which gives fused tensors the names of their parts as well
    names = [_name(port) for port in (*network.inputs, *network.outputs)]
    return core.compile_model(network, "CPU", config), names


def specs(
    compiled: Any, names: Sequence[str], settings: Settings
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """What a compiled network takes, and what it gives."""
    ports = (*compiled.inputs, *compiled.outputs)
    found = tuple(_spec(name, port, settings) for name, port in zip(names, ports, strict=True))
    return found[: len(compiled.inputs)], found[len(compiled.inputs) :]


def properties(
    settings: Settings, precision: str, snippets: bool = True, exact: bool = False
) -> dict[str, Any]:
    """The library's own settings. `exact`: no arithmetic in eight bits, also where the network has it."""
    threads = settings.threads or max(1, (os.cpu_count() or 1) // settings.streams)
    config = {
        "INFERENCE_PRECISION_HINT": precision,
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # other processes share the cores
    }
    if not snippets:
        config["SNIPPETS_MODE"] = "DISABLE"
    if exact:
        config["LP_TRANSFORMS_MODE"] = "NO"
    return config


def _network(core: Any, model: Model, settings: Settings) -> Any:
    network = _read(core, model)
    for port in (*network.inputs, *network.outputs):
        if not port.names:
            port.set_names({port.get_node().get_friendly_name()})
    if settings.shapes:
        network.reshape({name: _partial(shape) for name, shape in settings.shapes.items()})
    if settings.pictures:
        network = _taking_pictures(network, settings.pictures)
    return network


def _read(core: Any, model: Model) -> Any:
    """From the checked bytes; formats that the library reads by path alone go through a private file."""
    if model.suffix == ".onnx":
        return core.read_model(model.data)
    with tempfile.TemporaryDirectory(prefix="veilcast-network-") as folder:
        path = Path(folder) / f"network{model.suffix}"
        path.write_bytes(model.data)
        return core.read_model(path, config={"ENABLE_MMAP": False})


def _taking_pictures(network: Any, names: tuple[str, ...]) -> Any:
    steps = ov.preprocess.PrePostProcessor(network)
    for name in names:
        tensor = steps.input(name).tensor()
        tensor.set_element_type(ov.Type.u8)
        tensor.set_layout(ov.Layout("NHWC"))
        steps.input(name).model().set_layout(ov.Layout("NCHW"))
    return steps.build()


def _partial(shape: Any) -> Any:
    return ov.PartialShape(
        [ov.Dimension(d) if isinstance(d, int) else ov.Dimension(d[0], d[2]) for d in shape]
    )


def _spec(name: str, port: Any, settings: Settings) -> TensorSpec:
    shape = port.get_partial_shape()
    low = tuple(int(d.get_min_length()) for d in shape)
    high = tuple(None if d.is_dynamic and d.get_max_length() < 0 else int(d.get_max_length()) for d in shape)
    opt = _best(settings.shapes.get(name), name in settings.pictures) or tuple(
        b if b is not None else max(a, 1) for a, b in zip(low, high, strict=True)
    )
    return TensorSpec(name, np.dtype(port.get_element_type().to_dtype()), low, opt, high)


def _best(shape: Any, picture: bool) -> tuple[int, ...] | None:
    if shape is None:
        return None
    best: list[int] = [d if isinstance(d, int) else d[1] for d in shape]
    return (best[0], *best[2:], best[1]) if picture else tuple(best)


def _name(port: Any) -> str:
    """The name that the graph declares: a tensor can have others, of the nodes that were folded into it."""
    declared = port.get_node().get_friendly_name().split("/sink_port")[0]
    return str(declared if declared in port.get_names() else port.get_any_name())


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """The library raises RuntimeError (and TypeError at its border) with pages of text: one line is kept."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next(
            (line for line in lines if not line.startswith(("Exception from", "Check '"))), "no reason"
        )
        raise EngineError(f"{what}: {reason[:200]}") from None

"""`open_engine`: from a network's file to something that runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, TypeVar

from veilcast.trt_engines import canary
from veilcast.trt_engines.compiled import CompiledCache
from veilcast.trt_engines.engine import Dim, Engine, Precision, Settings, load
from veilcast.trt_engines.models import ModelFile, default_folder

M = TypeVar("M")
AT_A_TIME = 2  # a network is read by one processor


def open_together(models: Sequence[M], open_network: Callable[[M], Engine], stack: ExitStack) -> list[Engine]:
    """Several networks in the order of `models`, closed with `stack`. Raises what opening the first of those
    raises that fails."""
    with ThreadPoolExecutor(AT_A_TIME, "open") as pool:
        opening = [pool.submit(open_network, model) for model in models]
    for one in opening:
        if one.exception() is None:
            stack.enter_context(one.result())
    return [one.result() for one in opening]


def open_engine(
    model: ModelFile | Path | bytes,
    *,
    precision: Precision = "auto",
    threads: int | None = None,
    streams: int = 1,
    shapes: Mapping[str, Sequence[Dim]] | None = None,
    pictures: Sequence[str] = (),
    backend: Literal["auto", "onnxruntime"] = "auto",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    cache: Path | None = None,
) -> Engine:
    """The network, ready to run. See `Settings` for shapes, pictures, threads, streams.

    device: "cuda" = TensorRT on the first GPU, or an error. "auto" is the processor: what covers faces
    does not move to hardware that nobody asked for.

    precision: "auto" = eight bits where the network has scales for them, bf16 where the processor has it;
    any other is that of the network as its file has it, and so is every one of a GPU. The first opening of
    a network with given settings tries them in a child process (about a second); the outcome and the
    compiled network are kept in `cache` (default: `engines` beside the weights). Raises ModelMissing,
    ModelCorrupt, EngineError.
    """
    loaded = load(model)
    if precision != "auto" or device == "cuda":
        loaded = loaded.plain
    settings = Settings(precision, threads, streams, dict(shapes or {}), tuple(pictures))
    folder = cache or default_folder().parent / "engines"
    if device == "cuda":
        from veilcast.trt_engines.gpu import open_on_gpu

        return open_on_gpu(loaded, settings, folder)
    if backend == "onnxruntime":
        return canary.ORT.open(loaded, settings)
    rung = canary.choose(loaded, settings, folder)
    return rung.open(loaded, settings, CompiledCache(folder / "compiled"))

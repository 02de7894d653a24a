"""Opening a network on the GPU at hand, with TensorRT.

A plan is built once for this device and library, compared with the processor's float32 on the canary's
input, and only then stored and signed: what is found in the store was right here once. Nothing of this
falls back to the processor: whoever asks for a GPU hears that there is none.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from veilcast.errors import EngineError
from veilcast.trt_engines import canary, tensorrt_engine
from veilcast.trt_engines.device import Device, TorchDevice
from veilcast.trt_engines.engine import Engine, Model, Settings, TensorSpec
from veilcast.trt_engines.graphs import taking_pictures
from veilcast.trt_engines.network import checked, half
from veilcast.trt_engines.rtx_build import Profile
from veilcast.trt_engines.simplify import simplified
from veilcast.trt_engines.store import EngineStore, Recipe
from veilcast.trt_engines.tensorrt_engine import TensorRtEngine

BATCHES = ((1, 1, 2), (3, 8, 16))  # least, best, most of an open batch: one profile each
TOLERANCE = {"fp32": 2e-3, "fp16": 0.05, "bf16": canary.BF16_TOLERANCE}  # relative L2 error


def open_on_gpu(model: Model, settings: Settings, folder: Path, device: Device | None = None) -> Engine:
    """`device`: the first CUDA device, unless one is given. Calls from several threads take turns.
    Raises EngineError where there is no GPU, no TensorRT, or the plan's answer is not right."""
    if model.suffix != ".onnx":
        raise EngineError(f"TensorRT reads ONNX alone, not {model.suffix}")
    device = device or TorchDevice()
    precision = {"auto": "fp16", "f32": "fp32", "bf16": "bf16"}[settings.precision]
    data = taking_pictures(simplified(model.data), settings.pictures)
    shapes = profiles(data, settings)
    recipe = Recipe(
        "network",
        model.sha256,
        {
            f"{name} {number}": tuple(tuple(shape) for shape in ranges)
            for number, profile in enumerate(shapes)
            for name, ranges in profile.items()
        },
        precision,
        f"tensorrt {tensorrt_engine.version()}",
        (device.name,),
    )
    store = EngineStore(folder / "tensorrt")
    plan = store.find(recipe)
    if plan is not None:
        return TensorRtEngine(plan, recipe, device, graphs=True)
    narrow = data if precision == "fp32" else half(data, "fp16" if precision == "fp16" else "bf16")
    plan = tensorrt_engine.build(narrow, shapes)
    engine = TensorRtEngine(plan, recipe, device, graphs=True)
    try:
        _compare(engine, model, settings, TOLERANCE[precision])
    except BaseException:
        engine.__exit__(None, None, None)
        raise
    store.put(recipe, plan)
    return engine


def profiles(data: bytes, settings: Settings) -> list[Profile]:
    """The ranges of every input: what the settings fix or bound, else what the file says, an open batch in
    two profiles. Raises EngineError for another dimension that is open."""
    open_batch = False
    found: list[dict[str, tuple[list[int], list[int], list[int]]]] = [{}, {}]
    for value in checked(data).graph.input:
        dims = [dim.dim_value or None for dim in value.type.tensor_type.shape.dim]
        wanted = list(settings.shapes.get(value.name, dims))
        if value.name in settings.pictures and value.name in settings.shapes:
            wanted = [wanted[0], *wanted[2:], wanted[1]]
        open_batch |= bool(wanted) and wanted[0] is None
        for number, batch in enumerate(BATCHES):
            ranges = [batch if d is None and i == 0 else d for i, d in enumerate(wanted)]
            if any(d is None for d in ranges):
                raise EngineError(f"the size of the input {value.name} is open: TensorRT must be told it")
            each = [(d, d, d) if isinstance(d, int) else d for d in ranges if d is not None]
            low, best, high = ([d[i] for d in each] for i in range(3))
            found[number][value.name] = (low, best, high)
    return list(found) if open_batch else list(found[:1])


def _compare(engine: Engine, model: Model, settings: Settings, tolerance: float) -> None:
    """Raises EngineError unless the engine says what the processor says in float32."""
    answers: dict[str, dict[str, np.ndarray]] = {}
    for rung in canary.REFERENCES:
        answers |= canary.answered(model, settings, [rung])
        if answers:
            break
    if not answers:
        raise EngineError("no backend of the processor could run the network to compare the GPU with")
    reference = next(iter(answers.values()))
    gap = canary.error(engine.run(canary.noise(_as_in_canary(engine, reference))), reference)
    if not gap <= tolerance:
        raise EngineError(f"{engine.label} differs from the processor by {gap:.2g}: not used")


def _as_in_canary(engine: Engine, reference: dict[str, np.ndarray]) -> list[TensorSpec]:
    """The inputs as the processor's engine saw them: an open batch of one."""
    count = len(next(iter(reference.values())))
    return [replace(spec, opt=(count, *spec.opt[1:])) for spec in engine.inputs]

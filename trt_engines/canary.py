"""Opening a network for the first time, in a child process.

`compile_model` can end the process on some processors, so before this process compiles a network
with some settings for the first time, a child does, and runs it once on fixed noise. What dies, does
not answer in time, gives numbers that are not finite, or differs from the reference is passed over,
and the next rung of the ladder is taken. The outcome is remembered by what could change it: network,
settings, library version, processor.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from veilcast.errors import EngineError
from veilcast.trt_engines import openvino_engine
from veilcast.trt_engines.compiled import CompiledCache
from veilcast.trt_engines.engine import Engine, Model, Settings, TensorSpec
from veilcast.trt_engines.onnxruntime_engine import OnnxRuntimeEngine
from veilcast.trt_engines.openvino_engine import OpenVinoEngine
from veilcast.trt_engines.processor import processor

DEADLINE_S = 300
# Relative L2 errors of single outputs. Measured up to .25 in bfloat16 and .3 in eight bits, 1 and more where
# an answer is wrong
BF16_TOLERANCE = 0.4
EIGHT_BIT_TOLERANCE = 0.6
F32_TOLERANCE = 2e-3
FLOOR = (
    1e-3  # root mean square below which an output counts as this large: a probability near 0 is right enough
)
FREE_DIMENSION = 64  # what an unbounded dimension of an input becomes in the canary
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to run a network on a processor."""

    name: str
    backend: str
    precision: str
    snippets: bool = True
    exact: bool = False  # eight-bit networks, too, are computed in floating point: right, and slow

    def open(self, model: Model, settings: Settings, cache: CompiledCache | None = None) -> Engine:
        """Compiles the network here and now, or takes it from `cache`. Raises EngineError."""
        if self.backend == "onnxruntime":
            return OnnxRuntimeEngine(model, settings)
        return OpenVinoEngine(
            model,
            settings,
            precision=self.precision,
            snippets=self.snippets,
            exact=self.exact,
            cache=cache,
        )


BF16 = Rung("openvino-bf16", "openvino", "bf16")
BF16_PLAIN = Rung("openvino-bf16-no-snippets", "openvino", "bf16", snippets=False)
F32 = Rung("openvino-f32", "openvino", "f32")
F32_PLAIN = Rung("openvino-f32-no-snippets", "openvino", "f32", snippets=False)
EXACT = Rung("openvino-f32-exact", "openvino", "f32", snippets=False, exact=True)
ORT = Rung("onnxruntime-f32", "onnxruntime", "f32")
REFERENCES = (EXACT, ORT)  # the first of them that answers says what is right


def ladder(precision: str, bf16: bool) -> tuple[Rung, ...]:
    """Best first. `bf16`: whether the processor has it; without it bf16 would be slower than f32."""
    if precision == "bf16" or (precision == "auto" and bf16):
        return (BF16, BF16_PLAIN, F32_PLAIN, EXACT, ORT)
    return (F32, F32_PLAIN, EXACT, ORT)


def choose(model: Model, settings: Settings, cache: Path) -> Rung:
    """The first rung that is known to work here; tried now where nothing is known.
    Raises EngineError where none does."""
    rungs = ladder(settings.precision, openvino_engine.has_bf16())
    record = cache / f"{_key(model, settings)}.json"
    name = _remembered(record)
    if name not in {rung.name for rung in rungs}:
        name = _tried(model, settings, rungs)
        _remember(record, name)
        if name != rungs[0].name:
            log.warning("%s did not give a right answer on this processor; using %s", rungs[0].name, name)
    return next(rung for rung in rungs if rung.name == name)


def _tried(model: Model, settings: Settings, rungs: Sequence[Rung]) -> str:
    """The first rung that agrees with the reference; only the first is tried where it does."""
    answers = answered(model, settings, [rungs[0], EXACT])
    if EXACT.name not in answers:
        answers |= answered(model, settings, [ORT])
    if not agrees(rungs[0], answers, model):
        answers |= answered(model, settings, [rung for rung in rungs if rung.name not in answers])
    return best(rungs, answers, model)


Answer = dict[str, np.ndarray]


def best(rungs: Sequence[Rung], answers: dict[str, Answer], model: Model) -> str:
    """The first rung whose answer agrees with the reference's. Raises EngineError where none does."""
    for rung in rungs:
        if agrees(rung, answers, model):
            return rung.name
    raise EngineError(
        "no backend could run the network on this processor; "
        "install ONNX Runtime (pip install 'veilcast[ort]') or use another network"
    )


def agrees(rung: Rung, answers: dict[str, Answer], model: Model) -> bool:
    """Whether the rung answered, a reference did, and both say the same within the tolerance."""
    reference = next((answers[r.name] for r in REFERENCES if r.name in answers), None)
    if reference is None or rung.name not in answers:
        return False
    if model.eight_bits:
        tolerance = EIGHT_BIT_TOLERANCE
    else:
        tolerance = BF16_TOLERANCE if rung.precision == "bf16" else F32_TOLERANCE
    return error(answers[rung.name], reference) <= tolerance


def error(answer: Answer, reference: Answer) -> float:
    """Largest relative L2 error of any output; infinite where it is not a number or of another shape."""
    worst = 0.0
    for name, right in reference.items():
        value = answer.get(name)
        if value is None or value.shape != right.shape or not np.isfinite(value).all():
            return float("inf")
        gap = float(np.linalg.norm(value.astype(np.float64) - right))
        worst = max(worst, gap / max(float(np.linalg.norm(right)), FLOOR * right.size**0.5))
    return worst


def noise(specs: Sequence[TensorSpec]) -> Answer:
    """The canary's input: the same numbers everywhere and always. Tensors of a picture's shape are
    coloured blocks of 0..255, as trained networks are far off their path on white noise; others 0..1."""
    rng = np.random.Generator(np.random.PCG64(20260101))
    values: Answer = {}
    for spec in specs:
        bounds = zip(spec.opt, spec.max, strict=True)
        shape = [
            FREE_DIMENSION if most is None and n <= 1 and i else max(n, 1)
            for i, (n, most) in enumerate(bounds)
        ]
        if len(shape) == 4 and 3 in (shape[1], shape[3]):
            values[spec.name] = _blocks(rng, shape).astype(spec.dtype)
        else:
            values[spec.name] = rng.random(shape).astype(spec.dtype)
    return values


def _blocks(rng: np.random.Generator, shape: Sequence[int], side: int = 8) -> np.ndarray:
    coarse = rng.integers(0, 256, [n if n <= 3 else -(-n // side) for n in shape])
    for axis, n in enumerate(shape):
        if n > 3:
            coarse = coarse.repeat(side, axis).take(range(n), axis)
    return coarse


def answered(model: Model, settings: Settings, rungs: Sequence[Rung]) -> dict[str, Answer]:
    """What each rung says, of those that live. A child tries them in turn; where it dies, the next
    child goes on behind the one that killed it."""
    answers: dict[str, Answer] = {}
    waiting = list(rungs)
    while waiting:
        waiting = waiting[_child(model, settings, waiting, answers) + 1 :]
    return answers


def _child(model: Model, settings: Settings, rungs: Sequence[Rung], answers: dict[str, Answer]) -> int:
    """Runs `rungs` in a new process, adds what they answered, returns how many it finished."""
    with tempfile.TemporaryDirectory(prefix="veilcast-canary-") as name:
        folder = Path(name)
        (folder / f"network{model.suffix}").write_bytes(model.data)
        (folder / "settings.json").write_text(settings.text())
        command = [sys.executable, "-P", "-m", __name__, name, model.suffix, *[rung.name for rung in rungs]]
        try:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=DEADLINE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            log.debug("the canary did not answer within %d s", DEADLINE_S)
        for rung in rungs:
            if (folder / f"{rung.name}.npz").exists():
                with np.load(folder / f"{rung.name}.npz", allow_pickle=False) as file:
                    answers[rung.name] = dict(file)
        return sum((folder / f"{rung.name}.done").exists() for rung in rungs)


def _key(model: Model, settings: Settings) -> str:
    # how many threads there are does not change what comes out
    parts = (
        model.sha256,
        replace(settings, threads=None, streams=1).text(),
        openvino_engine.version(),
        processor(),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _remembered(record: Path) -> str | None:
    try:
        return str(json.loads(record.read_text())["rung"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(record: Path, name: str) -> None:
    """Lost where the cache cannot be written: then the next opening tries again."""
    part = record.with_suffix(f".{os.getpid()}")
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"rung": name}))
        part.replace(record)
    except OSError as problem:
        log.debug("cannot write %s: %s", record, problem.strerror)


def main(arguments: Sequence[str]) -> None:
    """The child: opens and runs each rung, writing each answer as soon as it is there."""
    folder, suffix = Path(arguments[0]), arguments[1]
    model = Model((folder / f"network{suffix}").read_bytes(), suffix)
    settings = Settings(**json.loads((folder / "settings.json").read_text()))
    by_name = {rung.name: rung for rung in (BF16, BF16_PLAIN, F32, F32_PLAIN, EXACT, ORT)}
    for name in arguments[2:]:
        try:
            with by_name[name].open(model, settings) as engine:
                answer: dict[str, Any] = engine.run(noise(engine.inputs))
                np.savez(folder / f"{name}.npz", allow_pickle=False, **answer)
        except EngineError as problem:
            print(problem, file=sys.stderr)  # noqa: T201
        (folder / f"{name}.done").touch()


if __name__ == "__main__":
    main(sys.argv[1:])

"""Milliseconds of every network on every backend, side by side in one run, beside the machine's roofline.

    python -m benchmarks.engines [--model DIR] [--batch 1 --batch 8] [--out FILE.json]

The generator's networks are those of --model; the sampler is all its steps and the decoder in one graph.
torch float32 is the reference of the speed-ups; int8 is as the model's scales have it. With a CUDA device
the same command adds torch in half precision and TensorRT on it to the same table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks import outcome
from benchmarks.speed import processor

from veilcast.errors import EngineError, ModelMissing
from veilcast.pipeline.generator_model import CLOSEUP, GeneratorModel, listed, read_manifest
from veilcast.pipeline.studio import built_in
from veilcast.trt_engines import bench, openvino_engine
from veilcast.trt_engines.account import account
from veilcast.trt_engines.bench import Ceilings, Clock, Row
from veilcast.trt_engines.cost import cost
from veilcast.trt_engines.engine import Engine, TensorSpec, load
from veilcast.trt_engines.graphs import unrolled
from veilcast.trt_engines.models import ModelFile, Models
from veilcast.trt_engines.open import open_engine
from veilcast.trt_engines.simplify import simplified

LATENT = (32, 16, 16)
UNET: dict[str, tuple[int, ...]] = {
    **{"x": LATENT, "t": (), "veiled": (4, 128, 128)},
    **{"geometry": (61,), "identity": (128,)},
}
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "processor": time.process_time}
LOOKS = ((1088, 1920), (544, 960))  # what both default detectors are opened for on a 1080p video


@dataclass(frozen=True, slots=True)
class Subject:
    """A network to time. `shapes` without the batch; `int8`: in eight bits; `torch`: its name there."""

    name: str
    data: bytes
    shapes: Mapping[str, tuple[int, ...]]
    batches: tuple[int, ...]
    int8: bytes | None = None
    torch: str | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=built_in(), help="a generator's folder")
    parser.add_argument("--batch", type=int, action="append", help="of the generator; default 1 and 8")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="processor: for busy machines, with --threads 1"
    )
    parser.add_argument("--only", action="append", help="network by name")
    parser.add_argument("--beside", default="nothing", help="what else ran: told with the figures")
    outcome.add_out(parser, "engines")
    options = parser.parse_args()
    given = list(subjects(options.model, tuple(options.batch or (1, 8))))
    wanted = [s for s in given if not options.only or s.name in options.only]
    rungs = bench.default_rungs(openvino_engine.has_bf16())
    clock = CLOCKS[options.clock]
    limit = bench.ceilings(options.threads, rungs, options.seconds, int8=True, clock=clock)
    used = f"{processor()}, {options.threads} of its threads, {options.clock} time"
    text = f"{used}; beside it ran {options.beside}. {limit.text()}"
    print(text, file=sys.stderr)
    found = [row for s in wanted for row in timed(s, limit, options.threads, options.seconds, clock)]
    opened = opening(options.model, options.threads, clock)
    accounts = {s.name: whereabouts(s, max(s.batches), options.threads) for s in wanted if s.torch or s.int8}
    print(f"{text}\n\n{bench.table(found)}\n\nOpened from the cache, s: {opened}\nShares by kind: {accounts}")
    result = {
        **{
            "processor": processor(),
            "threads": options.threads,
            "clock": options.clock,
            "beside": options.beside,
        },
        **{"text": text, **asdict(limit), "opened_s": opened, "accounts": accounts},
        "rows": [
            {**asdict(row), "roofline_ms": row.roofline_ms if row.roofline_ms > 0 else None} for row in found
        ],
    }
    outcome.leave(result, options.out)


def timed(subject: Subject, limit: Ceilings, threads: int, budget_s: float, clock: Clock) -> Iterator[Row]:
    """torch, then every backend, for each batch."""
    rungs = bench.default_rungs(openvino_engine.has_bf16())
    for batch in subject.batches:
        yield from torch_rows(subject, batch, limit, threads, budget_s, clock)
        forms = bench.variants(subject.data, rungs, subject.int8)
        budget = {"threads": threads, "budget_s": budget_s, "clock": clock}
        yield from bench.rows(subject.name, forms, subject.shapes, (batch,), limit, **budget)  # type: ignore[arg-type]
        yield from gpu_rows(subject, batch, budget_s)


def subjects(model: Path, batches: tuple[int, ...]) -> Iterator[Subject]:
    """Both detectors from the cache, then the generator."""
    models, picture = Models(), (3, 736, 1280)
    try:
        eight = models.bytes("centerface_int8")
        yield Subject("centerface 1280x736", models.bytes("centerface"), {"rgb": picture}, (1,), eight)
        yield Subject("yunet 1280x736", models.bytes("yunet"), {"bgr": picture}, (1,))
    except ModelMissing as missing:
        print(f"left out: {missing}", file=sys.stderr)
    manifest = read_manifest(model)
    files = listed(model, manifest)
    unet, eight_unet = _forms(files["unet.onnx"])
    decoder, eight_decoder = _forms(files["decoder.onnx"])
    yield Subject("unet", unet, UNET, batches, eight_unet, "unet")
    yield Subject("decoder", decoder, {"latent": LATENT}, batches, eight_decoder, "decoder")
    if CLOSEUP in files:
        closeup, eight_closeup = _forms(files[CLOSEUP])
        yield Subject("close-up", closeup, {"latent": LATENT}, batches, eight_closeup, "closeup")
    noisy = {name: shape for name, shape in UNET.items() if name != "t"}
    joined = unrolled(simplified(unet), simplified(decoder), manifest.times)
    both = None
    if eight_unet and eight_decoder:
        both = unrolled(simplified(eight_unet), simplified(eight_decoder), manifest.times)
    yield Subject("sampler", joined, noisy, batches, both)


def _forms(file: ModelFile) -> tuple[bytes, bytes | None]:
    """A network as its file has it, and in eight bits where it has scales."""
    model = load(file)
    return model.plain.data, model.data if file.scales else None


def torch_rows(
    subject: Subject, batch: int, limit: Ceilings, threads: int, budget_s: float, clock: Clock
) -> Iterator[Row]:
    """float32 on the processor, bfloat16 where that has it (imitated it takes a hundred times as long), and
    half precision on a CUDA device where there is one."""
    if subject.torch is None:
        return
    try:
        import torch

        from veilcast.training import export, networks
        from veilcast.training.settings import Settings
        from veilcast.trt_engines.torch_engine import TorchEngine
    except ImportError:
        return
    torch.set_num_threads(threads)
    net: Any = export._part(networks.build(export.NETWORKS[f"{subject.torch}.onnx"], Settings()))
    export.read_back(subject.data, net)
    specs = [_spec(name, (batch, *shape)) for name, shape in subject.shapes.items()]
    work = cost(subject.data, {spec.name: spec.opt for spec in specs})
    ways: list[tuple[str, Any]] = [("cpu", "f32"), *[("cpu", "bf16")] * openvino_engine.has_bf16()]
    for device, precision in [*ways, *([("cuda", "fp16")] if torch.cuda.is_available() else [])]:
        with TorchEngine(net, specs, [_spec("out", (batch,))], device=device, precision=precision) as engine:
            ms = bench.median_ms(engine, budget_s, clock)
        known = device == "cpu" and precision in limit.flops
        floor = bench.roofline_ms(work, precision, limit) if known else float("nan")
        yield Row(subject.name, engine.label, batch, ms, work.flop / 1e9, floor)


def gpu_rows(subject: Subject, batch: int, budget_s: float) -> Iterator[Row]:
    """TensorRT where there is a GPU with it. Never run so far."""
    shapes = {name: (batch, *shape) for name, shape in subject.shapes.items()}
    with tempfile.TemporaryDirectory() as folder:
        try:
            engine: Engine = open_engine(subject.data, device="cuda", shapes=shapes, cache=Path(folder))
        except EngineError:
            return
        with engine:
            ms = bench.median_ms(engine, budget_s)
    work = cost(subject.data, shapes)
    yield Row(subject.name, engine.label, batch, ms, work.flop / 1e9, float("nan"))


def opening(model: Path, threads: int, clock: Clock) -> dict[str, float]:
    """Seconds to open the default set once it was opened before: both detectors in two sizes, and the
    generator's networks, which `synthetic` needs besides. The best of a few times."""
    spent: dict[str, list[float]] = {"detectors": [], "generator": []}
    with tempfile.TemporaryDirectory() as name:
        for _ in range(5):  # the first time tries and compiles
            start = clock()
            try:
                for role, picture in (("centerface_int8", "rgb"), ("yunet", "bgr")):
                    for size in LOOKS:
                        given = {"shapes": {picture: (1, 3, *size)}, "pictures": (picture,), "threads": 1}
                        with open_engine(Models().file(role), cache=Path(name), streams=2, **given):  # type: ignore[arg-type]
                            pass
                spent["detectors"].append(clock() - start)
            except ModelMissing:
                pass
            start = clock()
            with GeneratorModel(model, lambda file: open_engine(file, threads=threads, cache=Path(name))):
                spent["generator"].append(clock() - start)
    return {what: round(min(times), 3) for what, times in spent.items() if times}


def whereabouts(subject: Subject, batch: int, threads: int) -> dict[str, float]:
    """Shares of the time by kind of layer."""
    precision = "bf16" if openvino_engine.has_bf16() else "f32"
    shapes = {name: (batch, *shape) for name, shape in subject.shapes.items()}
    spent = account(subject.data, shapes, precision, threads)
    return {kind: round(ms / sum(spent.values()), 4) for kind, ms in spent.items()}


def _spec(name: str, shape: tuple[int, ...]) -> TensorSpec:
    return TensorSpec(name, np.dtype(np.float32), shape, shape, shape)


if __name__ == "__main__":
    main()

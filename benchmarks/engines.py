"""Milliseconds of every network on every backend, side by side in one run, beside the machine's roofline.

    python -m benchmarks.engines [--batch 1 --batch 8] --out engines.json

The generator's networks are those that ship; where there are none, the default sizes with random
weights, which cost the same, and the table says so. torch float32 is the reference of the speed-ups.
int8 is calibrated on noise here: for its speed alone, not for what it loses. With a CUDA device the
same command adds torch in half precision on it.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from veilcast.errors import EngineError, ModelMissing
from veilcast.trt_engines import bench, canary, openvino_engine
from veilcast.trt_engines.bench import Ceilings, Row
from veilcast.trt_engines.cost import cost
from veilcast.trt_engines.engine import TensorSpec
from veilcast.trt_engines.models import Models
from veilcast.trt_engines.open import open_engine
from veilcast.trt_engines.quantise import quantised

SHIPPED = Path(__file__).resolve().parent.parent / "diffusion" / "small"


@dataclass(frozen=True, slots=True)
class Subject:
    """A network to time. `shapes` without the batch; `module`: the same in torch, where there is one."""

    name: str
    data: bytes
    shapes: dict[str, tuple[int, ...]]
    batches: tuple[int, ...]
    module: Any = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--batch", type=int, action="append", help="of the generator's networks; default 1 and 8"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    parser.add_argument("--only", action="append", help="network by name")
    parser.add_argument("--no-int8", action="store_true")
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    rungs = bench.default_rungs(openvino_engine.has_bf16())
    limit = bench.ceilings(options.threads, rungs, options.seconds, int8=not options.no_int8)
    machine = _machine(options.threads, limit)
    print(machine["text"], file=sys.stderr)
    found: list[Row] = []
    for subject in subjects(tuple(options.batch or (1, 8))):
        if options.only and subject.name.split()[0] not in options.only:
            continue
        int8 = None if options.no_int8 else _int8(subject)
        found += torch_rows(subject, limit, options.threads, options.seconds)
        found += bench.rows(
            subject.name,
            bench.variants(subject.data, rungs, int8),
            subject.shapes,
            subject.batches,
            limit,
            threads=options.threads,
            budget_s=options.seconds,
        )
    opened = opening_s(options.threads)
    print(machine["text"] + "\n\n" + bench.table(found))
    if opened is not None:
        print(f"\nBoth default detectors opened from the cache in {opened:.2f} s.")
    if options.out:
        options.out.write_text(
            json.dumps({**machine, "opened_s": opened, "rows": [asdict(row) for row in found]}, indent=1)
            + "\n"
        )


def subjects(batches: tuple[int, ...]) -> Iterator[Subject]:
    """Detectors from the cache, then the generator's networks."""
    models = Models()
    for role, name, size in (("centerface", "rgb", (3, 736, 1280)), ("yunet", "bgr", (3, 736, 1280))):
        try:
            yield Subject(f"{role} 1280x736", models.bytes(role), {name: size}, (1,))
        except ModelMissing as missing:
            print(f"left out: {missing}", file=sys.stderr)
    try:
        yield from generator(batches)
    except ImportError:
        print("left out: the generator's networks need torch here", file=sys.stderr)


def opening_s(threads: int) -> float | None:
    """Seconds to open both default detectors in this process once their outcome is remembered."""
    models = Models()
    with tempfile.TemporaryDirectory() as folder:
        spent = 0.0
        for _ in range(2):  # the first time tries them in a child
            start = time.perf_counter()
            try:
                for role, name in (("centerface", "rgb"), ("yunet", "bgr")):
                    shapes, cache = {name: (1, 3, 736, 1280)}, Path(folder)
                    with open_engine(models.file(role), shapes=shapes, threads=threads, cache=cache):
                        pass
            except ModelMissing:
                return None
            spent = time.perf_counter() - start
    return spent


def generator(batches: tuple[int, ...]) -> Iterator[Subject]:
    from veilcast.diffusion.autoencoder import Decoder
    from veilcast.diffusion.patch import GEOMETRY
    from veilcast.diffusion.unet import UNet, UNetSize
    from veilcast.training.export import to_onnx

    latent: tuple[int, ...] = (32, 16, 16)
    unet: dict[str, tuple[int, ...]] = {
        **{"x": latent, "t": (), "veiled": (4, 128, 128)},
        **{"geometry": (GEOMETRY,), "identity": (128,)},
    }
    for name, module, shapes, output in (
        ("unet", UNet(UNetSize()), unet, "clean"),
        ("decoder", Decoder(), {"latent": latent}, "rgb"),
    ):
        shipped = SHIPPED / f"{name}.onnx"
        data = shipped.read_bytes() if shipped.exists() else to_onnx(module, shapes, output, half=False)
        label = name if shipped.exists() else f"{name} (random weights)"
        yield Subject(label, data, shapes, batches, module)


def torch_rows(subject: Subject, limit: Ceilings, threads: int, budget_s: float) -> Iterator[Row]:
    """torch float32 on the processor, and half precision on a CUDA device where there is one."""
    if subject.module is None:
        return
    import torch

    from veilcast.trt_engines.torch_engine import TorchEngine

    torch.set_num_threads(threads)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for batch in subject.batches:
        specs = [_spec(name, (batch, *shape)) for name, shape in subject.shapes.items()]
        work = cost(subject.data, {spec.name: spec.opt for spec in specs})
        for device in devices:
            with TorchEngine(subject.module, specs, [_spec("out", (batch,))], device=device) as engine:
                ms = bench.median_ms(engine, budget_s)
                floor = bench.roofline_ms(work, "f32", limit) if device == "cpu" else float("nan")
                yield Row(subject.name, engine.label, batch, ms, work.flop / 1e9, floor)


def _spec(name: str, shape: tuple[int, ...]) -> TensorSpec:
    return TensorSpec(name, np.dtype(np.float32), shape, shape, shape)


def _int8(subject: Subject) -> bytes | None:
    specs = [_spec(name, (1, *shape)) for name, shape in subject.shapes.items()]
    try:
        return quantised(subject.data, [canary.noise(specs)] * 4)
    except EngineError as problem:
        print(f"no int8 of {subject.name}: {problem}", file=sys.stderr)
        return None


def _machine(threads: int, limit: Ceilings) -> dict[str, Any]:
    name = next((line for line in canary.processor().splitlines() if line.startswith("model name")), "")
    name = name.split(":")[-1].strip() or platform.processor()
    ceilings = ", ".join(f"{precision} {flops / 1e9:.0f} GFLOP/s" for precision, flops in limit.flops.items())
    measured = f"{ceilings}; copy {limit.copy / 1e9:.1f} GB/s"
    text = f"{name}, {threads} threads. Ceilings measured in this run: {measured}."
    return {
        "processor": name,
        "threads": threads,
        "flops": dict(limit.flops),
        "copy": limit.copy,
        "text": text,
    }


if __name__ == "__main__":
    main()

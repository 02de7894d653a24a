"""How fast networks run here, beside what the machine could do at most.

The ceilings are measured, not looked up: one wide convolution in each precision (what the best layer
reaches) and one large copy (what memory gives). A network's time is the shorter it can be of neither
more FLOP nor more bytes than it needs: max(FLOP / ceiling, bytes / copy) is its roofline
(Williams, Waterman, Patterson 2009).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from veilcast.trt_engines.canary import BF16, F32_PLAIN, ORT, Rung, noise
from veilcast.trt_engines.convert.graph import GraphWriter
from veilcast.trt_engines.cost import Cost, cost
from veilcast.trt_engines.engine import Engine, Model, Settings
from veilcast.trt_engines.quantise import quantised

CEILING_SHAPE = (4, 256, 32, 32)
MATMUL_SHAPE = (1024, 1024)
Clock = Callable[[], float]  # seconds


@dataclass(frozen=True, slots=True)
class Ceilings:
    """`flops`, `matmul`: operations a second by precision, of a wide convolution and of a matrix product;
    `copy`: bytes a second read and written."""

    flops: Mapping[str, float]
    matmul: Mapping[str, float]
    copy: float

    def text(self) -> str:
        each = (
            f"{name} {flops / 1e9:.0f} (matrix product {self.matmul[name] / 1e9:.0f})"
            for name, flops in self.flops.items()
        )
        return (
            f"Ceilings measured in this run, GFLOP/s of a wide convolution: {', '.join(each)}; "
            f"copy {self.copy / 1e9:.1f} GB/s."
        )


@dataclass(frozen=True, slots=True)
class Row:
    network: str
    engine: str
    batch: int
    ms: float  # median time of one run
    gflop: float
    roofline_ms: float  # what the ceilings allow

    @property
    def reached(self) -> float:
        """Share of the roofline, 0 to 1."""
        return self.roofline_ms / self.ms


def median_ms(engine: Engine, budget_s: float, clock: Clock = time.perf_counter) -> float:
    """Median time of one call after a warm-up, over about `budget_s` seconds and at least five calls.
    `clock`: time.process_time says on a busy machine what a call costs, with one thread."""
    inputs = noise(engine.inputs)
    engine.run(inputs)
    times: list[float] = []
    end = time.perf_counter() + budget_s
    while len(times) < 5 or time.perf_counter() < end:
        start = clock()
        engine.run(inputs)
        times.append(clock() - start)
    return 1e3 * float(np.median(times))


def ceilings(
    threads: int,
    rungs: Sequence[Rung],
    budget_s: float,
    *,
    int8: bool = False,
    clock: Clock = time.perf_counter,
) -> Ceilings:
    """Measured on this machine with this many threads."""
    source = np.ones(1 << 26, np.uint8)
    target = np.empty_like(source)
    spent = _best_s(lambda: np.copyto(target, source), clock)
    return Ceilings(
        _reached(ceiling_network(), CEILING_SHAPE, threads, rungs, budget_s, int8, clock),
        _reached(matmul_network(), MATMUL_SHAPE, threads, rungs, budget_s, int8, clock),
        2 * source.nbytes / spent,
    )


def _reached(
    data: bytes,
    shape: tuple[int, ...],
    threads: int,
    rungs: Sequence[Rung],
    budget_s: float,
    int8: bool,
    clock: Clock,
) -> dict[str, float]:
    """Operations a second of a network with the input `x`, by precision, on the best rung."""
    flops: dict[str, float] = {}
    work = cost(data, {"x": shape}).flop
    eight = quantised(data, [{"x": np.ones(shape, np.float32)}]) if int8 else None
    for variant in variants(data, rungs, eight):
        settings = Settings(threads=threads, shapes={"x": shape})
        with variant.rung.open(Model(variant.data, ".onnx"), settings) as engine:
            reached = work / median_ms(engine, budget_s, clock) * 1e3
        flops[variant.precision] = max(flops.get(variant.precision, 0), reached)
    return flops


@dataclass(frozen=True, slots=True)
class Variant:
    """A network as one engine takes it: int8 has a graph of its own."""

    rung: Rung
    data: bytes
    precision: str  # whose ceiling it is held against


def variants(data: bytes, rungs: Sequence[Rung], int8: bytes | None = None) -> list[Variant]:
    """The network on every rung, and its quantised graph on the first."""
    found = [Variant(rung, data, rung.precision) for rung in rungs]
    return found + ([Variant(rungs[0], int8, "int8")] if int8 else [])


def rows(
    name: str,
    wanted: Sequence[Variant],
    shapes: Mapping[str, Sequence[int]],
    batches: Sequence[int],
    limit: Ceilings,
    *,
    threads: int,
    budget_s: float,
    clock: Clock = time.perf_counter,
) -> Iterator[Row]:
    """One row for each batch and variant. `shapes`: of one member, without the batch."""
    for batch in batches:
        fixed = {key: (batch, *rest) for key, rest in shapes.items()}
        for variant in wanted:
            settings = Settings(threads=threads, shapes=fixed)
            with variant.rung.open(Model(variant.data, ".onnx"), settings) as engine:
                label = engine.label + (" int8" if variant.precision == "int8" else "")
                work = cost(wanted[0].data, fixed)
                floor_ms = roofline_ms(work, variant.precision, limit)
                yield Row(name, label, batch, median_ms(engine, budget_s, clock), work.flop / 1e9, floor_ms)


def roofline_ms(work: Cost, precision: str, limit: Ceilings) -> float:
    """The longer of arithmetic and memory, each at its ceiling, in the precision's element size."""
    element = {"int8": 1, "bf16": 2}.get(precision, 4)
    return 1e3 * max(work.flop / limit.flops[precision], work.bytes(element) / limit.copy)


def table(found: Sequence[Row]) -> str:
    """Markdown; torch float32 of each network and batch is 1.0, else the slowest engine is."""
    lines = [
        "| network | batch | engine | ms | GFLOP | of roofline | speed-up |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found:
        same = [r for r in found if (r.network, r.batch) == (row.network, row.batch)]
        first = next((r.ms for r in same if r.engine == "torch f32 on cpu"), max(r.ms for r in same))
        facts = (row.network, row.batch, row.engine, f"{row.ms:.2f}", f"{row.gflop:.2f}")
        reached = f"{row.reached:.0%}" if row.reached > 0 else "–"
        lines.append("| " + " | ".join(map(str, (*facts, reached, f"{first / row.ms:.1f}"))) + " |")
    return "\n".join(lines)


def default_rungs(bf16: bool) -> tuple[Rung, ...]:
    return (*((BF16,) if bf16 else ()), F32_PLAIN, ORT)


def ceiling_network() -> bytes:
    """One 3x3 convolution of 256 to 256 channels: large enough to be bound by arithmetic."""
    graph = GraphWriter("ceiling")
    width = CEILING_SHAPE[1]
    kernel = np.random.default_rng(0).normal(size=(width, width, 3, 3)).astype(np.float32) / 48
    y = graph.conv("x", kernel, pads=[1] * 4)
    graph.node("Relu", y, to="y")
    shape: list[int | str] = ["n", *CEILING_SHAPE[1:]]
    return graph.bytes({"x": shape}, {"y": shape})


def matmul_network() -> bytes:
    """One product with a 1024 x 1024 matrix."""
    graph = GraphWriter("ceiling")
    side = MATMUL_SHAPE[1]
    matrix = np.random.default_rng(0).normal(size=(side, side)).astype(np.float32) / 32
    graph.node("Relu", graph.node("MatMul", "x", graph.constant(matrix)), to="y")
    return graph.bytes({"x": ["n", side]}, {"y": ["n", side]})


def _best_s(work: Callable[[], object], clock: Clock, times: int = 8) -> float:
    best = float("inf")
    for _ in range(times):
        start = clock()
        work()
        best = min(best, clock() - start)
    return best

"""veilcast engines: build networks for GPUs ahead of time, quantise them, look after them, measure here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from veilcast.pipeline.engine_set import ProductNetwork
    from veilcast.trt_engines.store import EngineStore

BuildPrecision = Literal["fp32", "fp16", "bf16", "int8", "fp8"]
Eight = Literal["int8", "fp8"]

app = typer.Typer(help="Engines: build for GPUs, quantise, list, verify, measure.", no_args_is_help=True)

Networks = Annotated[list[Path], typer.Argument(metavar="NETWORK.onnx...", help="ONNX files.")]
Product = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[NETWORK.onnx...]", help="ONNX files; none = the product's own networks."),
]
Generator = Annotated[
    Path | None, typer.Option("--model", help="Folder of a generator: its networks, and its sampler as one.")
]
Weights = Annotated[Path | None, typer.Option("--models", help="Folder of weights.")]
Folder = Annotated[
    Path | None, typer.Option("--engines", help="Folder of built engines; otherwise beside the weights.")
]
Sizes = Annotated[
    list[str] | None, typer.Option("--size", help="Open dimensions of an input: rgb=3x384x640.")
]


@app.command()
def build(
    networks: Product = None,
    model: Generator = None,
    targets: Annotated[
        list[int] | None, typer.Option("--target", help="SM number; repeat. Otherwise 80, 86, 89 and 120.")
    ] = None,
    precisions: Annotated[
        list[str] | None,
        typer.Option("--precision", help="fp32, fp16, bf16, int8, fp8; repeat. Otherwise fp16."),
    ] = None,
    batch: Annotated[
        tuple[int, int, int] | None,
        typer.Option(help="Least, best and most members of a batch; otherwise 1, 8 and 16."),
    ] = None,
    sizes: Sizes = None,
    models: Weights = None,
    engines: Folder = None,
) -> None:
    """Build with TensorRT-RTX on this processor for GPUs elsewhere: that they build, not that they run."""
    from veilcast.trt_engines.build import build_all

    store, wanted = _store(engines), [_precision(name) for name in precisions or ["fp16"]]
    for network in _subjects(networks or [], model, models, sizes, batch):
        found = build_all(
            {network.name: network.data},
            wanted,
            targets or [80, 86, 89, 120],
            store,
            batch=network.batch,
            sizes=network.sizes,
        )
        for built in found:
            recipe = built.recipe
            state = "built" if built.fresh else "there already"
            what = f"{recipe.name} {recipe.precision} {', '.join(recipe.targets)}"
            typer.echo(f"{what}: {state}, {built.bytes:,} bytes")


@app.command()
def quantise(
    network: Annotated[Path, typer.Argument(metavar="NETWORK.onnx")],
    inputs: Annotated[
        Path,
        typer.Option("--inputs", help="What the network sees in use: an .npz of its inputs, one row a case."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The eight-bit network to write.")],
    kind: Annotated[Eight, typer.Option(help="fp8 is for GPUs from SM 89 on.")] = "int8",
    ignored: Annotated[
        list[str] | None, typer.Option("--ignore", help="Layers that stay as they are: regular expression.")
    ] = None,
) -> None:
    """Weights and activations in eight bits. Look at pictures before using the result."""
    from veilcast.trt_engines.engine import load
    from veilcast.trt_engines.models import write_whole
    from veilcast.trt_engines.quantise import quantised, read_cases

    data = quantised(load(network).data, read_cases(inputs), ignored=ignored or (), kind=kind)
    write_whole(output.absolute(), data)
    typer.echo(f"{output}: {kind}, {len(data):,} bytes")


@app.command(name="list")
def show(engines: Folder = None) -> None:
    """The engines that are stored."""
    store = _store(engines)
    table = Table("network", "precision", "targets", "library", "MB")
    entries = store.entries().values()
    for entry in sorted(entries, key=lambda e: (e["name"], e["precision"], e["targets"])):
        size = f"{entry['bytes'] / 1e6:.1f}"
        table.add_row(entry["name"], entry["precision"], ", ".join(entry["targets"]), entry["library"], size)
    Console().print(table)
    typer.echo(f"folder: {store.folder}")


@app.command()
def verify(engines: Folder = None) -> None:
    """Check the signature of the list and the hash of every engine."""
    store = _store(engines)
    typer.echo(f"{store.verify()} engines are as they were built")


@app.command()
def bench(
    networks: Product = None,
    model: Generator = None,
    batch: Annotated[list[int] | None, typer.Option("--batch", help="Members of a batch; repeat.")] = None,
    sizes: Sizes = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads.")] = 2,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for each figure.")] = 1.0,
    models: Weights = None,
) -> None:
    """Milliseconds of each network on each backend here, beside the measured roofline."""
    from veilcast.trt_engines import bench as measure
    from veilcast.trt_engines.build import profile
    from veilcast.trt_engines.openvino_engine import has_bf16

    rungs = measure.default_rungs(has_bf16())
    limit = measure.ceilings(threads, rungs, seconds)
    typer.echo(limit.text())
    found: list[measure.Row] = []
    for network in _subjects(networks or [], model, models, sizes, None):
        fixed = profile(network.data, (1, 1, 1), network.sizes)
        shapes = {name: least[1:] for name, (least, _, _) in fixed.items()}
        forms = measure.variants(network.data, rungs)
        wanted = batch or ([1, 8] if network.batch[1] > 1 else [1])
        found += measure.rows(network.name, forms, shapes, wanted, limit, threads=threads, budget_s=seconds)
    typer.echo(measure.table(found))


def _store(folder: Path | None) -> EngineStore:
    from veilcast.trt_engines.build import default_store
    from veilcast.trt_engines.store import EngineStore

    return EngineStore(folder) if folder else default_store()


def _subjects(
    networks: list[Path],
    model: Path | None,
    models: Path | None,
    sizes: list[str] | None,
    batch: tuple[int, int, int] | None,
) -> Iterator[ProductNetwork]:
    """The files that are named; else the detectors, and the generator with what reads faces for it."""
    from veilcast.pipeline import engine_set
    from veilcast.trt_engines.build import read_networks
    from veilcast.trt_engines.models import Models

    opened = dict(_size(text) for text in sizes or [])
    for name, data in read_networks(networks).items():
        yield engine_set.ProductNetwork(name, data, batch or engine_set.FACES, opened)
    if model:
        yield from engine_set.generator(model)
    if not networks and not model:
        yield from engine_set.detectors(Models(models, fetch=models is None))


def _precision(name: str) -> BuildPrecision:
    known: tuple[BuildPrecision, ...] = get_args(BuildPrecision)
    found = next((precision for precision in known if precision == name), None)
    if found is None:
        raise typer.BadParameter(f"{name!r} is no precision: {', '.join(known)}")
    return found


def _size(text: str) -> tuple[str, tuple[int, ...]]:
    try:
        name, dims = text.split("=")
        return name, tuple(int(n) for n in dims.split("x"))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not of the form rgb=3x384x640") from None

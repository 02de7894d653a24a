"""veilcast engines: build networks for GPUs ahead of time, look after them, measure backends here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from veilcast.trt_engines.rtx_build import BuildPrecision

app = typer.Typer(help="Engines: build for GPUs, list, verify, measure backends.", no_args_is_help=True)

Networks = Annotated[list[Path], typer.Argument(metavar="NETWORK.onnx...", help="ONNX files.")]
Folder = Annotated[
    Path | None, typer.Option("--engines", help="Folder of built engines; otherwise beside the weights.")
]


@app.command()
def build(
    networks: Networks,
    targets: Annotated[
        list[int] | None, typer.Option("--target", help="SM number; repeat for several.")
    ] = None,
    precisions: Annotated[
        list[str] | None, typer.Option("--precision", help="fp32, fp16, bf16, int8, fp8; repeat for several.")
    ] = None,
    batch: Annotated[tuple[int, int, int], typer.Option(help="Least, best and most members of a batch.")] = (
        1,
        8,
        16,
    ),
    sizes: Annotated[
        list[str] | None, typer.Option("--size", help="Open dimensions of an input: rgb=3x384x640.")
    ] = None,
    engines: Folder = None,
) -> None:
    """Build with TensorRT-RTX on this processor for GPUs elsewhere: that they build, not that they run."""
    from veilcast.trt_engines.build import build_all, default_store, read_networks
    from veilcast.trt_engines.store import EngineStore

    store = EngineStore(engines) if engines else default_store()
    wanted = [_precision(name) for name in precisions or ["fp16"]]
    found = build_all(
        read_networks(networks),
        wanted,
        targets or [80, 86, 89, 120],
        store,
        batch=batch,
        sizes=dict(_size(text) for text in sizes or []),
    )
    for built in found:
        recipe = built.recipe
        state = "built" if built.fresh else "there already"
        typer.echo(
            f"{recipe.name} {recipe.precision} {', '.join(recipe.targets)}: {state}, {built.bytes:,} bytes"
        )


@app.command(name="list")
def show(engines: Folder = None) -> None:
    """The engines that are stored."""
    from veilcast.trt_engines.build import default_store
    from veilcast.trt_engines.store import EngineStore

    store = EngineStore(engines) if engines else default_store()
    table = Table("network", "precision", "targets", "library", "MB")
    for entry in store.entries().values():
        size = f"{entry['bytes'] / 1e6:.1f}"
        table.add_row(entry["name"], entry["precision"], ", ".join(entry["targets"]), entry["library"], size)
    Console().print(table)
    typer.echo(f"folder: {store.folder}")


@app.command()
def verify(engines: Folder = None) -> None:
    """Check the signature of the list and the hash of every engine."""
    from veilcast.trt_engines.build import default_store
    from veilcast.trt_engines.store import EngineStore

    store = EngineStore(engines) if engines else default_store()
    typer.echo(f"{store.verify()} engines are as they were built")


@app.command()
def bench(
    networks: Networks,
    batch: Annotated[list[int] | None, typer.Option("--batch", help="Members of a batch; repeat.")] = None,
    sizes: Annotated[
        list[str] | None, typer.Option("--size", help="Open dimensions of an input: rgb=3x384x640.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads.")] = 2,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for each figure.")] = 1.0,
) -> None:
    """Milliseconds of each network on each backend here, beside the measured roofline."""
    from veilcast.trt_engines import bench as measure
    from veilcast.trt_engines.build import profile, read_networks
    from veilcast.trt_engines.openvino_engine import has_bf16

    rungs = measure.default_rungs(has_bf16())
    limit = measure.ceilings(threads, rungs, seconds)
    found: list[measure.Row] = []
    for name, data in read_networks(networks).items():
        shapes = {
            k: v[0][1:] for k, v in profile(data, (1, 1, 1), dict(_size(t) for t in sizes or [])).items()
        }
        wanted = batch or [1, 8]
        forms = measure.variants(data, rungs)
        found += measure.rows(name, forms, shapes, wanted, limit, threads=threads, budget_s=seconds)
    typer.echo(measure.table(found))


def _size(text: str) -> tuple[str, list[int]]:
    try:
        name, dims = text.split("=")
        return name, [int(n) for n in dims.split("x")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not of the form rgb=3x384x640") from None


def _precision(name: str) -> BuildPrecision:
    known: dict[str, BuildPrecision] = {
        "fp32": "fp32",
        "fp16": "fp16",
        "bf16": "bf16",
        "int8": "int8",
        "fp8": "fp8",
    }
    if name not in known:
        raise typer.BadParameter(f"{name!r} is no precision: {', '.join(known)}")
    return known[name]

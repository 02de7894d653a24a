"""veilcast models: the pinned weights: fetch, list, check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="The pinned weights: fetch them, list them, check them.", no_args_is_help=True)

Folder = Annotated[
    Path | None,
    typer.Option("--models", help="Folder of weights; otherwise $VEILCAST_MODELS or the user's cache."),
]


@app.command()
def pull(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[ROLE]...", help="Which; otherwise what `run` needs.")
    ] = None,
    models: Folder = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what other commands use.")] = False,
    brought: Annotated[
        list[Path] | None, typer.Option("--from", help="A file that no registry has, as you got it.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing when all is well.")] = False,
) -> None:
    """Fetch weights, check their SHA-256, store them. What is there and right is left alone."""
    from veilcast.trt_engines.catalogue import ROLES
    from veilcast.trt_engines.models import Models
    from veilcast.trt_engines.models import pull as fetch

    cache = Models(models)
    files = {path.name: path for path in brought or []}
    roles = [cache.role(name) for name in names] if names else [r for r in ROLES if everything or r.default]
    written = fetch(roles, cache.folder, files)
    if not quiet:
        for path in written:
            typer.echo(f"stored {path}")
        typer.echo(f"{len(roles)} of {len(ROLES)} in {cache.folder}")


@app.command(name="list")
def show(models: Folder = None) -> None:
    """What there is, from where, under which licence, and whether it is here."""
    from veilcast.trt_engines.models import Models

    table = Table("role", "file", "use", "licence", "state")
    cache = Models(models)
    for role, state in cache.status():
        table.add_row(role.name, role.file, ", ".join(role.use), role.licence, state)
    Console().print(table)
    typer.echo(f"folder: {cache.folder}")


@app.command()
def verify(models: Folder = None) -> None:
    """Check every file that is here against its SHA-256."""
    from veilcast.trt_engines.models import Models
    from veilcast.trt_engines.models import verify as check

    cache = Models(models)
    typer.echo(f"{check(cache)} files in {cache.folder} are as pinned")

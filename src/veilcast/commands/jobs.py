"""veilcast jobs: what archive jobs are at, why files failed; try them again, or give them up."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veilcast.errors import InputMissing, VeilcastError

if TYPE_CHECKING:
    from veilcast.pipeline.accounts import Totals
    from veilcast.pipeline.journal import Journal, State

app = typer.Typer(no_args_is_help=True, help="What archive jobs are at.")

Which = Annotated[str, typer.Argument(metavar="JOB", help="Its folder, or a name that `jobs list` shows.")]
Files = Annotated[list[str] | None, typer.Argument(metavar="[GLOB]...", help="Files by name; otherwise all.")]


@app.command("list")
def list_jobs() -> None:
    """Every job below ~/.local/state, or $XDG_STATE_HOME."""
    from veilcast.pipeline.intake import state_home
    from veilcast.pipeline.journal import NAME, Journal

    folders = sorted(path.parent for path in state_home().glob(f"*/{NAME}"))
    for folder in folders:
        try:
            with Journal(folder) as journal:
                typer.echo(f"{folder.name}  {_summed(journal)}")
        except VeilcastError as error:
            typer.echo(f"{folder.name}  {error}")
    if not folders:
        typer.echo("no jobs; one that was given --journal is shown by `veilcast jobs show FOLDER`", err=True)


def _summed(journal: Journal) -> str:
    made = datetime.fromtimestamp(journal.get("made") or 0).isoformat(" ", "minutes")
    counts = ", ".join(f"{n} {state}" for state, n in journal.counts().items() if n)
    return f"{made}  {_status(journal)}  {counts}  {journal.get('source')} -> {journal.get('target')}"


@app.command()
def show(
    job: Which,
    files: Files = None,
    summary: Annotated[
        Path | None, typer.Option("--summary", help="Write the accounts into a folder.")
    ] = None,
    price: Annotated[float | None, typer.Option("--price", min=0, help="Of an hour of the machines.")] = None,
) -> None:
    """Each file with its state and reason, then the totals."""
    from veilcast.pipeline.accounts import totals, write
    from veilcast.pipeline.journal import shown

    with _opened(job) as journal:
        rows = list(journal.rows())
        for row in rows:
            if _meant(row.name, files):
                typer.echo(f"{row.state:<11} {shown(row.name)}" + (f": {row.reason}" if row.reason else ""))
        status = _status(journal)
        made = totals(rows, journal.get("wall_s") or 0.0, price)
        if summary is not None:
            write(journal, summary, price)
    left = f"{made.waiting} waiting, {made.failed} failed, {made.quarantined} quarantined"
    amount = f"{made.hours_in:.3f} hours, {made.frames} frames, {made.faces} faces"
    cost = "" if made.cost_an_hour is None else f", {made.cost_an_hour:.4g} an hour of footage"
    typer.echo(f"{status}: {made.done} done, {left}, {made.cancelled} cancelled; {amount}{cost}")


@app.command()
def retry(job: Which, files: Files = None) -> None:
    """Lets failed, quarantined and cancelled files wait again; `veilcast batch` then takes them."""
    from veilcast.pipeline.journal import State

    _move(job, files, (State.FAILED, State.QUARANTINED, State.CANCELLED), State.QUEUED, "wait again")


@app.command()
def cancel(job: Which, files: Files = None) -> None:
    """Gives up files that wait or are at work; what is at work ends without an output."""
    from veilcast.pipeline.journal import State

    _move(job, files, (State.QUEUED, State.RUNNING), State.CANCELLED, "cancelled")


def _move(job: str, files: list[str] | None, old: tuple[State, ...], new: State, word: str) -> None:
    with _opened(job) as journal:
        numbers = [row.number for row in journal.rows(*old) if _meant(row.name, files)]
        moved = journal.move(old, new, numbers)
    typer.echo(f"{moved} files {word}", err=True)


def account(folder: Path, summary: Path | None, price: float | None) -> Totals:
    """The accounts of a job, written."""
    from veilcast.pipeline.accounts import write
    from veilcast.pipeline.journal import Journal

    with Journal(folder) as journal:
        return write(journal, summary or folder, price)


def _status(journal: Journal) -> str:
    """What the job is at: files that are "running" in one that stopped were interrupted."""
    from veilcast.pipeline.journal import State, is_run

    if is_run(journal.folder):
        return "at work"
    counts = journal.counts()
    return "stopped" if counts[State.QUEUED] or counts[State.RUNNING] else "ended"


def _meant(name: str, globs: list[str] | None) -> bool:
    return not globs or any(fnmatch.fnmatchcase(name, pattern) for pattern in globs)


@contextmanager
def _opened(job: str) -> Iterator[Journal]:
    """Raises InputMissing where there is no such job."""
    from veilcast.pipeline.intake import state_home
    from veilcast.pipeline.journal import NAME, Journal

    for folder in (Path(job), state_home() / Path(job).name):
        if (folder / NAME).is_file():
            with Journal(folder) as journal:
                yield journal
            return
    raise InputMissing(f"there is no job {job}; `veilcast jobs list` shows those that are known")

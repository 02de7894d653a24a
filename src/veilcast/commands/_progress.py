"""A bar with frames a second and the time left, on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.progress import Task as Bar
from rich.text import Text

from veilcast.pipeline.supervise import OnProgress, Progress, silent


class _Rate(ProgressColumn):
    def render(self, task: Bar) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:6.1f} frames/s")


@contextmanager
def shown(name: str, quiet: bool) -> Iterator[OnProgress]:
    """What to call with progress; draws nothing when `quiet` or where nobody looks."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield silent
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console, speed_estimate_period=10) as bars:
        ids = {}

        def show(progress: Progress) -> None:
            if progress.stage not in ids:
                ids[progress.stage] = bars.add_task(f"{name}: {progress.stage}", total=progress.total)
            bars.update(ids[progress.stage], completed=progress.done, total=progress.total)

        yield show

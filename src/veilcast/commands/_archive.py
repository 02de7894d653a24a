"""A job's progress in the terminal: one bar for all, one line for each file at work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from veilcast.pipeline.batch import Event, OnEvent, unheard
from veilcast.pipeline.journal import SETTLED, State, shown

PLAIN_EVERY = 1  # files, where there is no terminal to draw in


@contextmanager
def shown_live(files: Callable[[], int], quiet: bool) -> Iterator[OnEvent]:
    """What to call with events. Where nobody looks, a line for each file that was not done."""
    console = Console(stderr=True)
    if quiet:
        yield unheard
    elif not console.is_terminal:
        yield lambda event: _plain(console, event)
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bars:
            yield _Bars(bars, files)


def _plain(console: Console, event: Event) -> None:
    if event.state in (State.FAILED, State.QUARANTINED, State.CANCELLED):
        text = f"{event.state}: {shown(event.row.name)}: {event.row.reason}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Bars:
    def __init__(self, bars: Progress, files: Callable[[], int]) -> None:
        self._bars, self._files = bars, files
        self._lock = threading.Lock()
        self._whole = bars.add_task("files", total=None)
        self._lines: dict[int, object] = {}

    def __call__(self, event: Event) -> None:
        with self._lock:
            if event.state in SETTLED:
                self._settled(event)
            elif event.progress is not None:
                self._at(event)

    def _settled(self, event: Event) -> None:
        if (line := self._lines.pop(event.row.number, None)) is not None:
            self._bars.remove_task(line)  # type: ignore[arg-type]
        self._bars.update(self._whole, advance=1, total=self._files())
        if event.state is not State.DONE:
            self._bars.console.print(escape(f"{event.state}: {shown(event.row.name)}: {event.row.reason}"))

    def _at(self, event: Event) -> None:
        step, number = event.progress, event.row.number
        assert step is not None
        if number not in self._lines:
            self._lines[number] = self._bars.add_task("", total=None)
        text = escape(f"{shown(event.row.name)[-40:]}: {step.stage.partition(':')[0]}")
        self._bars.update(self._lines[number], description=text, completed=step.done, total=step.total)  # type: ignore[arg-type]

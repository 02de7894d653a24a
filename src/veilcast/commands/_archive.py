"""A job's progress in the terminal: one bar for all, one line for each file at work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from veilcast.pipeline.batch import Event, OnEvent, unheard
from veilcast.pipeline.journal import SETTLED, State, shown

LOOK_EVERY_S = 1.0  # at the journal


@contextmanager
def shown_live(counts: Callable[[], Mapping[State, int]], quiet: bool) -> Iterator[OnEvent]:
    """What to call with events. counts: of the job's files. Where nobody looks, a line for each file that was
    not done."""
    console = Console(stderr=True)
    if quiet:
        yield unheard
    elif not console.is_terminal:
        yield lambda event: _plain(console, event)
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, speed_estimate_period=600) as bars:
            yield _Bars(bars, counts)


def _plain(console: Console, event: Event) -> None:
    if event.state in (State.FAILED, State.QUARANTINED, State.CANCELLED):
        text = f"{event.state}: {shown(event.row.name)}: {event.row.reason}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Bars:
    def __init__(self, bars: Progress, counts: Callable[[], Mapping[State, int]]) -> None:
        self._bars, self._counts = bars, counts
        self._lock = threading.Lock()
        self._whole = bars.add_task("files", total=None)
        self._lines: dict[int, TaskID] = {}
        self._began_s, self._due_s, self._frames = time.monotonic(), 0.0, 0

    def __call__(self, event: Event) -> None:
        with self._lock:
            if event.state in SETTLED:
                self._settled(event)
            elif event.progress is not None:
                self._at(event)
            if time.monotonic() >= self._due_s or event.state in SETTLED:
                self._due_s = time.monotonic() + LOOK_EVERY_S
                self._look()

    def _look(self) -> None:
        counts = self._counts()
        done, total = sum(counts[state] for state in SETTLED), sum(counts.values())
        rate = self._frames / (time.monotonic() - self._began_s)
        text = f"files ({rate:.0f} frames/s)" if self._frames else "files"
        self._bars.update(self._whole, description=text, completed=done, total=total)

    def _settled(self, event: Event) -> None:
        if (line := self._lines.pop(event.row.number, None)) is not None:
            self._bars.remove_task(line)
        if event.state is State.DONE:
            self._frames += event.row.facts["frames"]
        else:
            self._bars.console.print(escape(f"{event.state}: {shown(event.row.name)}: {event.row.reason}"))

    def _at(self, event: Event) -> None:
        step, number = event.progress, event.row.number
        assert step is not None
        if number not in self._lines:
            self._lines[number] = self._bars.add_task("", total=None)
        text = escape(f"{shown(event.row.name)[-40:]}: {step.stage.partition(':')[0]}")
        self._bars.update(self._lines[number], description=text, completed=step.done, total=step.total)

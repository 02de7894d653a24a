"""What is known of one file of an archive while it is at work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from veilcast.config import Config
from veilcast.errors import NotWritable
from veilcast.pipeline.crew import Crew
from veilcast.pipeline.journal import Journal, Row
from veilcast.pipeline.stores import Store
from veilcast.pipeline.supervise import OnProgress, silent

NUMBER = "[0-9]" * 7  # glob of what a file of a job is called in the job's folder


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job takes from, writes to and keeps what lies between."""

    source: Store
    target: Store
    folder: Path  # of the journal: mode 0700, never in the target
    config: Config
    models: Path | None = None
    overwrite: bool = False
    charge: Callable[[int], None] = lambda size: None  # waits where a rate is limited

    def work(self, number: int) -> Path:
        """The folder of what lies between, of one file."""
        return self.folder / "work" / f"{number:07d}"

    def report(self, number: int) -> Path:
        return self.folder / "reports" / f"{number:07d}.json"


@dataclass(frozen=True, slots=True)
class Job:
    """One file at work. `stop`: set when the whole job shall end at the next step."""

    place: Place
    journal: Journal
    crew: Crew
    row: Row
    stop: threading.Event
    on_progress: OnProgress = silent


def make_private(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise NotWritable(f"cannot make the folder {folder}: {error.strerror}") from None

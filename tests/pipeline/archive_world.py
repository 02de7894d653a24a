"""An archive of tiny videos, and workers that find a face in each without a network: what is tested is
what carries the files, not what finds the faces. Run as a program it is the job of one process:

    python -m tests.pipeline.archive_world SRC DST JOURNAL
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.clips import clip

from veilcast.config import Config
from veilcast.pipeline.batch import Event, OnEvent, Options, Outcome, run_archive, unheard
from veilcast.pipeline.crew import LocalCrew
from veilcast.pipeline.detectors.candidates import Look
from veilcast.pipeline.tasks import Tools
from veilcast.types import Box, Face, Frame

SEGMENT = 8  # frames, in place of hundreds


class Finder:
    """Sees one face that walks through the picture."""

    def find_all(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Look]]:
        for frame in frames:
            x = 10 + frame.index % 60
            yield frame, Look((Face(Box(x, 10, x + 25, 40), 0.9),))


def no_network(self: Tools, settings: object, models: object, device: str = "cpu") -> Any:
    """In place of `Tools.finder`."""
    return Finder()


def shorten() -> None:
    """Segments of a few frames, in this process."""
    from veilcast.pipeline import encode, sections, segments

    for module in (encode, sections, segments):
        module.SEGMENT_FRAMES = SEGMENT  # type: ignore[attr-defined]


WORKER = """
import sys
from veilcast.pipeline import worker
from veilcast.pipeline.tasks import Tools
from tests.pipeline import archive_world
archive_world.shorten()
Tools.finder = archive_world.no_network
worker.main(int(sys.argv[1]))
"""
crew = partial(LocalCrew, program=(sys.executable, "-c", WORKER))


def archive(folder: Path, count: int = 4, frames: int = 30) -> Path:
    """`count` videos that differ, in two folders."""
    for number in range(count):
        path = folder / f"cam{number % 2}" / f"{number:03d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        clip(path, frames + number)
    return folder


def run(
    source: Path | str, target: Path | str, journal: Path, on_event: OnEvent = unheard, **options: Any
) -> Outcome:
    given: dict[str, Any] = {
        "workers": 2,
        "back_off_s": 0.02,
        "retries": 2,
        "crew": crew,
        "journal": journal,
    } | options
    config = given.pop("config", Config())
    stop = given.pop("stop", None)
    return run_archive(str(source), str(target), config, Options(**given), on_event, stop)


def contents(folder: Path, pattern: str = "*") -> dict[str, str]:
    """Hash of every file below a folder whose name is like `pattern`."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob(pattern))
        if path.is_file()
    }


def main(source: str, target: str, journal: str) -> None:
    def told(event: Event) -> None:
        if event.state is not None:
            print(event.row.name, event.state, flush=True)  # noqa: T201

    run(source, target, Path(journal), told, retries=60)


if __name__ == "__main__":
    main(*sys.argv[1:])

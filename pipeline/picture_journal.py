"""The journal of a set of pictures: a line for each that is in place or failed, beside the outputs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

JOURNAL = "veilcast-pictures.jsonl"


@dataclass(frozen=True, slots=True)
class Line:
    """What the journal says of one picture. `stamp`: size in bytes and time of change of the source;
    `settings`: digest of the configuration; `error` empty = covered and in place; `candidate`: which one of
    the draw the picture's person has, so that it is the same one in the next picture; `source`: which set it
    is of (`set_of`), empty = an earlier version did not say."""

    name: str
    stamp: tuple[int, int]
    settings: str
    faces: int = 0
    fate: str = ""
    error: str = ""
    candidate: int | None = None
    source: str = ""


def stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def append(journal: Path, line: Line) -> None:
    """One line in one write, so that several workers may share the journal."""
    fd = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        os.write(fd, json.dumps(asdict(line)).encode() + b"\n")
    finally:
        os.close(fd)


def entries(journal: Path) -> Iterator[Line]:
    """The journal's lines; one that was cut off by a crash is skipped."""
    with suppress(OSError), journal.open("rb") as file:
        for text in file:
            with suppress(ValueError, TypeError):
                values = json.loads(text)
                yield Line(**{**values, "stamp": tuple(values["stamp"])})


def finished(journal: Path, settings: str, source: Path, target: Path) -> dict[str, Line]:
    """Pictures that are in place, made with these settings from the source as it is now."""
    last = {line.name: line for line in entries(journal)}
    return {
        name: line
        for name, line in last.items()
        if not line.error
        and line.settings == settings
        and (target / name).is_file()
        and (source / name).is_file()
        and line.stamp == stamp(source / name)
    }


def reasons(journal: Path) -> dict[str, str]:
    """Why pictures failed, by name."""
    return {line.name: line.error for line in entries(journal) if line.error}


def set_of(source: Path) -> str:
    """Names the folder of a set: of its path a hash alone, for journals lie beside outputs."""
    return hashlib.sha256(os.fsencode(source.resolve())).hexdigest()[:16]


def others(journal: Path, source: str, target: Path, names: Iterable[str]) -> list[str]:
    """Those of `names` that are in `target` and were not made from the set `source`. Where the journal knows
    no other set, what it does not know was written when a run was killed."""
    made = {line.name: line.source for line in entries(journal)}
    own = ("", source)
    unknown = "" if all(name in own for name in made.values()) else "another's"
    return [name for name in names if made.get(name, unknown) not in own and (target / name).exists()]

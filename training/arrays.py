"""Derived arrays as memory maps with a journal, so that deriving resumes where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from veilcast.errors import ModelMissing

CHUNK = 256  # pictures; the unit that is done or not done

Rows = np.ndarray
Derive = Callable[[Rows], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Array:
    """What one array holds for each picture."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Stage:
    """Arrays that are derived together, after the stages named in `needs`."""

    name: str
    arrays: Mapping[str, Array]
    needs: tuple[str, ...] = ()


class Cache:
    """A folder of .npy memory maps of `count` rows each and one journal of done chunks for each stage."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def chunks(self) -> int:
        return -(-self.count // CHUNK)

    def create(self, stage: Stage) -> None:
        for name, array in stage.arrays.items():
            path = self._path(name)
            if not path.exists():
                part = path.with_suffix(".part")
                np.lib.format.open_memmap(
                    part, "w+", np.dtype(array.dtype), (self.count, *array.shape)
                ).flush()
                part.rename(path)
        journal = self.folder / f"{stage.name}.done"
        if not journal.exists():
            journal.write_bytes(bytes(self.chunks))

    def open(self, name: str, mode: str = "r") -> np.ndarray:
        """Raises ModelMissing where nothing was derived."""
        if not self._path(name).exists():
            raise ModelMissing(f"{self.folder} has no `{name}` yet; run `veilcast train prepare` on it")
        return np.lib.format.open_memmap(self._path(name), mode)

    def done(self, stage: str) -> np.ndarray:
        """(chunks,) bool."""
        path = self.folder / f"{stage}.done"
        return np.fromfile(path, bool) if path.exists() else np.zeros(self.chunks, bool)

    def ready(self, *stages: str) -> np.ndarray:
        """Rows for which all these stages are done."""
        chunks = np.logical_and.reduce([self.done(stage) for stage in stages])
        return np.flatnonzero(np.repeat(chunks, CHUNK)[: self.count])

    def run(self, stage: Stage, derive: Derive, worker: int, workers: int) -> Iterator[int]:
        """Derive this worker's share of the missing chunks; yields the number of each when it is on disk.
        Safe to stop at any point: a chunk counts only when its rows are written."""
        outputs = {name: self.open(name, "r+") for name in stage.arrays}
        journal = np.memmap(self.folder / f"{stage.name}.done", bool, "r+")
        for chunk in np.flatnonzero(~journal).tolist():
            if chunk % workers != worker or not all(self.done(need)[chunk] for need in stage.needs):
                continue
            rows = np.arange(chunk * CHUNK, min((chunk + 1) * CHUNK, self.count))
            for name, values in derive(rows).items():
                outputs[name][rows] = values
            journal[chunk] = True
            yield chunk

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"


def write_table(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read_table(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]

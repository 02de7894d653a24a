"""The format of the training data: tar shards of WebP pictures and `index.csv.gz` (docs/training.md)."""

from __future__ import annotations

import csv
import gzip
import io
import tarfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from veilcast.errors import InputMissing, NotVideo

POINTS = ("leye", "reye", "nose", "lmouth", "rmouth")
HELD_OUT = 10  # one person in ten is never trained on


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture. `points`: (5, 2) in pixels of the stored crop."""

    shard: str
    key: str
    source: str
    identity: str  # empty where unknown
    age: float | None
    gender: str
    side_px: int
    inside: float
    points: tuple[tuple[float, float], ...]

    @property
    def held_out(self) -> bool:
        return bool(self.identity) and zlib.crc32(self.identity.encode()) % HELD_OUT == 0


def read_index(folder: Path, inside: float = 0.85) -> list[Entry]:
    """Every picture of which more than `inside` lies within its original. Raises InputMissing."""
    path = folder / "index.csv.gz"
    try:
        with gzip.open(path, "rt", newline="") as file:
            entries = [_entry(row) for row in csv.DictReader(file)]
    except OSError as error:
        raise InputMissing(f"cannot read the index of the training data, {path}: {error.strerror}") from None
    except (KeyError, ValueError) as error:
        raise NotVideo(f"{path} is not an index of training data: {error} (docs/training.md)") from None
    return [entry for entry in entries if entry.inside > inside]


def _entry(row: dict[str, str]) -> Entry:
    return Entry(
        shard=row["shard"],
        key=row["key"],
        source=row["source"],
        identity=row["identity"],
        age=float(row["age"]) if row["age"] else None,
        gender=row["gender"],
        side_px=int(float(row["side_px"])),
        inside=float(row["inside"]),
        points=tuple((float(row[f"{p}_x"]), float(row[f"{p}_y"])) for p in POINTS),
    )


@dataclass(slots=True)
class Shards:
    """Random access to the pictures of a data folder; each tar's member table is read once."""

    folder: Path
    _members: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)

    def read(self, entry: Entry) -> bytes:
        """The WebP file of one picture. Raises InputMissing."""
        path = self.folder / entry.shard
        try:
            offset, size = self._table(entry.shard)[entry.key]
            with path.open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except (OSError, KeyError, tarfile.TarError):
            raise InputMissing(f"the training data has no {entry.key} in {path}") from None

    def _table(self, shard: str) -> dict[str, tuple[int, int]]:
        if shard not in self._members:
            with tarfile.open(self.folder / shard) as tar:
                self._members[shard] = {m.name: (m.offset_data, m.size) for m in tar if m.isfile()}
        return self._members[shard]


def decode(data: bytes) -> np.ndarray:
    """WebP to RGB (h, w, 3) uint8."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

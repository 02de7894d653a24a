"""Pictures of known people: a gallery, or the pairs that set a recogniser's threshold.

Two layouts: a folder per person, or a *pack*: tar shards of pictures with `index.csv.gz` (shard, key,
identity, and the five points leye_x ... rmouth_y in pixels), the format that training reads.
"""

from __future__ import annotations

import csv
import gzip
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from veilcast.errors import ConfigError, InputMissing
from veilcast.evaluation.pairs import media, read_picture
from veilcast.types import Box, Face, Points, Rgb

POINTS = ("leye", "reye", "nose", "lmouth", "rmouth")
INDEX = "index.csv.gz"
WHOLE = 0.85  # faces less inside their picture than this are cut off


@dataclass(frozen=True, slots=True)
class Portrait:
    """One picture of one person, with the five landmarks of the face in pixels."""

    key: str
    person: str
    rgb: Rgb
    landmarks: Points


def held_out(identity: str) -> bool:
    """Whether a person of a pack is kept for evaluation: CRC-32 of the name divisible by ten."""
    return zlib.crc32(identity.encode()) % 10 == 0


def portraits(folder: Path, detect: Callable[[Rgb], Sequence[Face]]) -> Iterator[Portrait]:
    """Pictures of known people in either layout; of a pack only the held-out people. `detect` finds the
    face where the layout does not give its points. Raises InputMissing where there are none."""
    if (folder / INDEX).is_file():
        return _pack(folder)
    if not folder.is_dir():
        raise InputMissing(f"no folder {folder}")
    return _people(folder, detect)


def _people(folder: Path, detect: Callable[[Rgb], Sequence[Face]]) -> Iterator[Portrait]:
    for path in media(folder):
        relative = path.relative_to(folder)
        if len(relative.parts) < 2:
            continue
        rgb = read_picture(path)
        faces = [face for face in detect(rgb) if face.landmarks is not None]
        if faces:
            face = max(faces, key=lambda f: f.box.area)
            assert face.landmarks is not None
            yield Portrait(str(relative), relative.parts[0], rgb, face.landmarks)


def _pack(folder: Path) -> Iterator[Portrait]:
    with gzip.open(folder / INDEX, "rt", newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if _wanted(r)]
    by_shard: dict[str, dict[str, dict[str, str]]] = {}
    for row in rows:
        by_shard.setdefault(row["shard"], {})[row["key"]] = row
    for shard, wanted in by_shard.items():
        with tarfile.open(folder / shard) as archive:
            for member in archive:
                data = archive.extractfile(member) if member.name in wanted else None
                if data is not None:
                    row = wanted[member.name]
                    rgb = np.asarray(Image.open(io.BytesIO(data.read())).convert("RGB"))
                    points = [[float(row[f"{p}_x"]), float(row[f"{p}_y"])] for p in POINTS]
                    yield Portrait(row["key"], row["identity"], rgb, np.array(points, np.float32))


def _wanted(row: dict[str, str]) -> bool:
    return bool(row["identity"]) and held_out(row["identity"]) and float(row.get("inside") or 1) > WHOLE


def read_boxes(path: Path) -> dict[tuple[str, int], list[Box]]:
    """True faces by clip name and frame, from a CSV file with the columns clip, frame, x, y, width,
    height (displayed pixels, left upper corner). Raises InputMissing, ConfigError."""
    boxes: dict[tuple[str, int], list[Box]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                x, y, width, height = (float(row[key]) for key in ("x", "y", "width", "height"))
                boxes.setdefault((row["clip"], int(row["frame"])), []).append(
                    Box(x, y, x + width, y + height)
                )
    except OSError as error:
        raise InputMissing(f"cannot read the labels {path}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"{path} needs the columns clip, frame, x, y, width, height with numbers") from None
    return boxes

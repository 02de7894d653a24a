"""Labels of a picture set, copied with what they say about people's pictures and nothing that leads
back to the originals."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from veilcast.errors import ConfigError, UnsupportedMedia
from veilcast.pipeline.files import write_durably

SUFFIXES = frozenset({".csv", ".tsv", ".json", ".txt"})
FILE_COLUMNS = ("file", "filename", "file_name", "path", "image")
# COCO's addresses at which the original picture can still be fetched and the time when it was taken, and the
# original picture itself as labelme keeps it
LEADS_BACK = frozenset({"flickr_url", "coco_url", "url", "date_captured", "imageData"})
PICTURE_CHARS = 1000  # of base64: smaller pictures show nobody
CODED = re.compile(r"(?:[\w+/=-]{60,}[\r\n]*)+", re.ASCII)  # its lines have 60 to 76
DATA_URI = re.compile(r"\bdata:(?:\w+/[\w.+-]+)?[;,]", re.ASCII | re.IGNORECASE)  # RFC 2397
NO_TEXT = re.compile(r"[\0-\x08\x0e-\x1f]")  # in a table in any code that has ASCII in it


def is_label(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.is_symlink()


def copy(source: Path, target: Path) -> None:
    """A label file to the new set; of JSON, what leads back to the originals is left out. Raises
    UnsupportedMedia for JSON that does not parse and for tables that could hold pictures, OutputError."""
    data = source.read_bytes()
    if source.suffix.lower() == ".json":
        try:
            data = json.dumps(cleaned(json.loads(data))).encode()
        except (ValueError, RecursionError):
            raise UnsupportedMedia(f"{source.name} is not JSON; it was not copied") from None
    else:
        text = data.decode("latin-1")
        if NO_TEXT.search(text):
            raise UnsupportedMedia(f"{source.name} is no text; it was not copied")
        if holds_picture(text):
            raise UnsupportedMedia(f"{source.name} seems to hold pictures; it was not copied: take them out")
    write_durably(target, data)


def people(source: Path, names: Sequence[str], by: str) -> dict[str, str]:
    """Who is in each picture: nobody in particular (`by` = "image"), the folder's name ("folder"), or the
    value in column `by` of a CSV file of the set, which tells pictures by their path below the set or below
    its own folder, or by a file name that only one of them has. A picture without a row shows somebody of its
    own. Raises ConfigError where no CSV file has that column, or none of its rows is of a picture."""
    if by == "image":
        return {}
    if by == "folder":
        return {name: str(Path(name).parent) for name in names}
    for table in sorted(source.rglob("*.csv")):
        with table.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = csv.DictReader(file)
            key = next((c for c in rows.fieldnames or () if c.lower() in FILE_COLUMNS), None)
            if key and by in (rows.fieldnames or ()):
                told = {row[key]: f"{by}={row[by]}" for row in rows if row[key] and row[by]}
                return _matched(told, names, table.relative_to(source))
    raise ConfigError(
        f"no CSV file in {source} has a column {by!r} beside one called {'/'.join(FILE_COLUMNS)}"
    )


def _matched(told: Mapping[str, str], names: Sequence[str], table: Path) -> dict[str, str]:
    """What a table's rows tell of the pictures, by their own names."""
    bare = Counter(Path(name).name for name in names)
    found: dict[str, str] = {}
    for name in names:
        path = Path(name)
        ways = [name]
        ways += [str(path.relative_to(table.parent))] if path.is_relative_to(table.parent) else []
        ways += [path.name] if bare[path.name] == 1 else []
        who = next((told[way] for way in ways if way in told), None)
        if who is not None:
            found[name] = who
    if not found:
        raise ConfigError(
            f"no row of {table} is of a picture beside it: it must hold their paths or file names"
        )
    return found


def cleaned(labels: Any) -> Any:
    """Labels (JSON's values) without what leads back to the originals, and without pictures: null, as
    labelme writes it, where one was."""
    if isinstance(labels, dict):
        kept = {key: value for key, value in labels.items() if key not in LEADS_BACK}
        return {key: cleaned(value) for key, value in kept.items() if not holds_picture(key)}
    if isinstance(labels, list):
        return [cleaned(value) for value in labels]
    return None if isinstance(labels, str) and holds_picture(labels) else labels


def holds_picture(text: str) -> bool:
    """Whether a text holds what could be a picture: a data: URI, or so much without a gap that is base64."""
    return DATA_URI.search(text) is not None or any(len(run) >= PICTURE_CHARS for run in CODED.findall(text))

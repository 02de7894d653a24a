"""Labels of a picture set, copied with what they say about people's pictures and nothing that leads
back to the originals."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from veilcast.errors import ConfigError, UnsupportedMedia
from veilcast.pipeline.files import write_durably

SUFFIXES = frozenset({".csv", ".tsv", ".json", ".txt"})
# of COCO's "images": addresses at which the original picture can still be fetched, and when it was taken
FILE_COLUMNS = ("file", "filename", "file_name", "path", "image")
LEADS_BACK = frozenset({"flickr_url", "coco_url", "url", "date_captured"})


def is_label(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.is_symlink()


def copy(source: Path, target: Path) -> None:
    """A label file to the new set; COCO's addresses of the originals are left out. Raises
    UnsupportedMedia for JSON that does not parse, OutputError."""
    data = source.read_bytes()
    if source.suffix.lower() == ".json":
        try:
            labels = json.loads(data)
        except ValueError:
            raise UnsupportedMedia(f"{source.name} is not JSON; it was not copied") from None
        if is_coco(labels):
            data = json.dumps(cleaned(labels)).encode()
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


def is_coco(labels: Any) -> bool:
    """Whether this is COCO's layout: an object with lists of images and annotations."""
    return isinstance(labels, dict) and isinstance(labels.get("images"), list) and "annotations" in labels


def cleaned(labels: dict[str, Any]) -> dict[str, Any]:
    """COCO labels without what leads back to the originals."""
    images = [
        {k: v for k, v in image.items() if k not in LEADS_BACK} if isinstance(image, dict) else image
        for image in labels["images"]
    ]
    return {**labels, "images": images}

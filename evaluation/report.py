"""The result as files: JSON, CSV, one HTML page. Each appears whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from veilcast.errors import NotWritable
from veilcast.evaluation.measure import Measured
from veilcast.evaluation.page import page
from veilcast.evaluation.svg import Curve

POINTS = 400  # of one curve on the page
CURVES = 4


def write_json(result: Mapping[str, Any], path: Path) -> None:
    """Raises NotWritable."""
    _write(path, json.dumps(result, indent=2, allow_nan=False) + "\n")


def write_csv(result: Mapping[str, Any], path: Path) -> None:
    """One line per figure: section, name, value. Raises NotWritable."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(("section", "name", "value"))
    for section, values in result.items():
        writer.writerows((section, name, value) for name, value in figures(values) if name)
    _write(path, buffer.getvalue())


def write_html(result: Mapping[str, Any], measured: Measured, facts: Mapping[str, str], path: Path) -> None:
    """Raises NotWritable."""
    clips = measured.clips
    title = clips[0].name if len(clips) == 1 else f"{len(clips)} clips"
    html = page(result, f"Evaluation of {title}", measured.album.cases(), exposure(measured), facts)
    _write(path, html)


def figures(values: Any, name: str = "") -> Iterator[tuple[str, object]]:
    """Numbers of a nested result with dotted names; rows of a list go by their recogniser; curves are
    left to the JSON."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from figures(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, list) and values and isinstance(values[0], Mapping):
        for row in values:
            yield from figures({k: v for k, v in row.items() if k != "recogniser"}, str(row["recogniser"]))
    elif not isinstance(values, list):
        yield name, values


def exposure(measured: Measured) -> dict[str, Curve]:
    """Worst correlation over time of the first few videos, at most `POINTS` points each: the highest
    of each stretch, so that one exposed frame is never thinned away."""
    curves: dict[str, Curve] = {}
    for number, clip in enumerate(measured.clips):
        own = [(time_s, value) for n, time_s, value in measured.curve if n == number]
        if len(own) > 1 and len(curves) < CURVES:
            step = -(-len(own) // POINTS)
            curves[clip.name] = [max(own[i : i + step], key=lambda p: p[1]) for i in range(0, len(own), step)]
    return curves


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise NotWritable(f"cannot write {path}: {error.strerror}; is there such a folder?") from None

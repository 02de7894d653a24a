"""Zones: areas that are always covered, whatever the detector says.

On the command line: `"100,50 300,50 300,200"`, polygons separated by `;`. In a TOML file:

    [[zone]]
    points = [[100, 50], [300, 50], [300, 200]]   # pixels of the displayed picture
    start_s = 2.5                                  # optional, seconds from the start
    end_s = 10                                     # optional
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, isfinite
from pathlib import Path
from typing import Any

from veilcast.errors import ConfigError
from veilcast.pipeline.shapes import Polygon


@dataclass(frozen=True, slots=True)
class Zone:
    """A polygon and when it is covered: from `start_s` until before `end_s`; None = no end."""

    polygon: Polygon
    start_s: float = 0.0
    end_s: float | None = None


def at(zones: Sequence[Zone], time: Fraction) -> tuple[Polygon, ...]:
    """The polygons to cover at `time`, in seconds from the start of the stream."""
    return tuple(
        zone.polygon
        for zone in zones
        if time >= _exact(zone.start_s) and (zone.end_s is None or time < _exact(zone.end_s))
    )


def _exact(seconds: float) -> Fraction:
    """0.4 as a person means it: the float is a little more."""
    return Fraction(str(seconds))


def parse(text: str) -> tuple[Zone, ...]:
    """The zones that the option names: a TOML file, or the polygons themselves. Raises ConfigError."""
    if text.endswith(".toml"):
        return _from_file(Path(text))
    return tuple(Zone(_polygon(part)) for part in text.split(";") if part.strip())


def _polygon(text: str) -> Polygon:
    try:
        pairs = [pair.split(",") for pair in text.split()]
        return _checked([(float(x), float(y)) for x, y in pairs])
    except ValueError:
        raise ConfigError(
            f'zone "{text.strip()}" is not a polygon; write at least three corners as "x,y x,y x,y" in pixels'
        ) from None


def _checked(points: Sequence[tuple[float, float]]) -> Polygon:
    if len(points) < 3 or not all(isfinite(value) for point in points for value in point):
        raise ValueError("a polygon has at least three corners, all of them numbers")
    return Polygon(tuple(points))


def _from_file(path: Path) -> tuple[Zone, ...]:
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the zones file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise ConfigError(f"the zones file {path} is not valid TOML") from None
    entries = content.pop("zone", None)
    if content or not isinstance(entries, list) or not entries:
        raise ConfigError(f"the zones file {path} must hold [[zone]] tables and nothing else")
    return tuple(_zone(entry, n, path) for n, entry in enumerate(entries, 1))


def _zone(entry: dict[str, Any], number: int, path: Path) -> Zone:
    try:
        points = [(float(x), float(y)) for x, y in entry["points"]]
        start_s = float(entry.get("start_s", 0.0))
        end_s = None if entry.get("end_s") is None else float(entry["end_s"])
        senseless = not isfinite(start_s) or (end_s is not None and not start_s < end_s < inf)
        if set(entry) - {"points", "start_s", "end_s"} or senseless:
            raise ValueError
        return Zone(_checked(points), start_s, end_s)
    except (KeyError, TypeError, ValueError):
        raise ConfigError(
            f"{path}: zone {number} needs points = [[x, y], ...] with at least three corners in pixels, and "
            "may have start_s and end_s with start_s < end_s"
        ) from None

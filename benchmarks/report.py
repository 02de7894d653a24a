"""The README's tables from the JSON that the benchmarks wrote: one command, nothing typed by hand.

    python -m benchmarks.report [--results benchmarks/results] [--readme README.md] [--check]

A table stands in the README between `<!-- table NAME -->` and `<!-- /table -->`; it is made from
NAME.json. A table whose JSON is missing stays as it is, and is told. --check changes nothing and fails
where the README is not what the JSON says.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import peers

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MARKED = re.compile(r"(<!-- table (\w+) -->\n)(.*?)(<!-- /table -->)", re.DOTALL)
Json = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--check", action="store_true", help="change nothing; fail where it is out of step")
    options = parser.parse_args()
    text = options.readme.read_text()
    new, missing = filled(text, options.results)
    for name in missing:
        print(f"no {options.results / name}.json: its table stays as it is", file=sys.stderr)
    if options.check and new != text:
        sys.exit(f"{options.readme} is not what {options.results} says: run python -m benchmarks.report")
    if not options.check:
        options.readme.write_text(new)


def filled(text: str, results: Path) -> tuple[str, list[str]]:
    """The text with its tables made anew, and the names of those whose JSON is missing."""
    missing: list[str] = []

    def made(found: re.Match[str]) -> str:
        name, path = found[2], results / f"{found[2]}.json"
        if name not in TABLES:
            sys.exit(f"no table is called {name}; there are {', '.join(TABLES)}")
        if not path.exists():
            missing.append(name)
            return found[0]
        return f"{found[1]}{TABLES[name](json.loads(path.read_text()))}\n{found[4]}"

    return MARKED.sub(made, text), missing


def speed_table(result: Json) -> str:
    head = ("clip", "size", "frames", "veilcast, frames/s", "deface, frames/s", "times")
    rows = [
        (
            row["clip"],
            row["size"],
            str(row["frames"]),
            f"{row['veilcast']['frames_per_s']:.1f}",
            f"{row['deface']['frames_per_s']:.1f}" if row["deface"] else "",
            f"{row['ratio']:.1f}" if row["ratio"] else "",
        )
        for row in result["rows"]
    ]
    return f"{result['machine']['processor']}:\n\n{markdown(head, rows)}"


def peers_table(result: Json) -> str:
    return f"Clips: {', '.join(result['clips'])}.\n\n{peers.table(result['methods']).rstrip()}"


def engines_table(result: Json) -> str:
    """Times beside the slowest engine of the same network and batch."""
    slowest: dict[tuple[str, int], float] = {}
    for row in result["rows"]:
        key = (row["network"], row["batch"])
        slowest[key] = max(slowest.get(key, 0), row["ms"])
    rows = [
        (
            row["network"],
            str(row["batch"]),
            row["engine"],
            f"{row['ms']:.2f}",
            f"{row['gflop']:.2f}",
            "–" if row["roofline_ms"] is None else f"{row['roofline_ms'] / row['ms']:.0%}",
            f"{slowest[row['network'], row['batch']] / row['ms']:.1f}",
        )
        for row in result["rows"]
    ]
    head = ("network", "batch", "engine", "ms", "GFLOP", "of roofline", "speed-up")
    return f"{result['text']}\n\n{markdown(head, rows)}"


def pictures_table(result: Json) -> str:
    rows = [
        (row["cover"], f"{row['pictures']:,}", f"{row['wall_s']:.0f}", f"{row['pictures_per_s']:.1f}")
        for row in result["rows"]
    ]
    head = ("cover", "pictures of 1 megapixel", "seconds", "a second")
    return f"{result['processor']}:\n\n{markdown(head, rows)}"


TABLES: Mapping[str, Callable[[Json], str]] = {
    "speed": speed_table,
    "peers": peers_table,
    "engines": engines_table,
    "pictures": pictures_table,
}


def markdown(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


if __name__ == "__main__":
    main()

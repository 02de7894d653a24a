"""Where a benchmark leaves its figures: in benchmarks/results, of which report.py makes the tables of README
and docs. `--out` leaves them elsewhere, for a trial that the documents are not to tell."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def add_out(parser: argparse.ArgumentParser, name: str) -> None:
    """The option --out; `name`: of the JSON file that report.py looks for."""
    parser.add_argument(
        "--out", type=Path, default=RESULTS / f"{name}.json", help=f"default: benchmarks/results/{name}.json"
    )


def leave(result: Any, path: Path) -> None:
    """Writes the figures, and says where they are."""
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"figures: {path}", file=sys.stderr)

"""`veilcast` and `python -m veilcast`: begins what a run will need, then the command line."""

from __future__ import annotations

import sys
from contextlib import nullcontext

from veilcast.pipeline.processes import RUNNER, started_ahead

WORKING = ["run"], ["detect"], ["render"]  # the commands whose work is done by a worker


def main() -> None:
    """Entry point."""
    with started_ahead(RUNNER) if sys.argv[1:2] in WORKING else nullcontext():
        from veilcast.cli import main as command_line  # takes as long as a worker needs to start

        command_line()


if __name__ == "__main__":
    main()

"""A worker that takes the time of a job and does nothing: `python -m benchmarks.sleeper FD`. With it a
machine of few cores runs many actors, so that what is measured is the scheduler."""

from __future__ import annotations

import sys
import time
from typing import Any

from veilcast.pipeline import tasks, worker

STEP_S = 0.1


def perform(job: dict[str, Any], on_frame: Any, tools: object) -> dict[str, Any]:
    end_s = time.monotonic() + job["seconds"]
    while (left_s := end_s - time.monotonic()) > 0:
        time.sleep(min(left_s, STEP_S))
        on_frame("sleeping", 0, None)
    return {}


if __name__ == "__main__":
    tasks.perform = perform
    worker.main(int(sys.argv[1]))

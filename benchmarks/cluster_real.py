"""Whether the model of benchmarks.cluster tells the truth: the same jobs by the model and by real Ray actors
on this machine, whose workers take the time of their work and do nothing (benchmarks.sleeper).

    python -m benchmarks.cluster_real [--actors 1 2 4 8] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import outcome
from benchmarks.archive import message_s
from benchmarks.cluster import RATE, SEGMENT_FRAMES, Times, simulate

from veilcast.config import Limits
from veilcast.pipeline.actors import RayCrew
from veilcast.pipeline.crew import Crew
from veilcast.pipeline.journal import Journal, State
from veilcast.pipeline.stores import Entry

FRAMES = 3 * SEGMENT_FRAMES
FILES_AN_ACTOR = 3
# of a second's work a frame in all, as measured stages relate; storage plays no part on one machine
STAGES = Times(scout_s=1 / 1000, cover_s=1 / 1500, join_s=1 / 18000, verify_s=1 / 6000, storage_bytes_s=1e18)
SLEEPER = (sys.executable, "-P", "-m", "benchmarks.sleeper")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--actors", type=int, nargs="*", default=[1, 2, 4, 8])
    outcome.add_out(parser, "cluster_real")
    options = parser.parse_args()
    times = replace(STAGES, message_s=message_s())
    rows = []
    for actors in options.actors:
        files = FILES_AN_ACTOR * actors
        model_s = simulate(actors, files, FRAMES / RATE / 3600, times).wall_h * 3600
        real_s = measured(actors, files, times)
        rows.append({"actors": actors, "files": files, "model_s": model_s, "ray_s": real_s})
        print(f"{actors} actors, {files} files: model {model_s:.2f} s, Ray {real_s:.2f} s", flush=True)
    outcome.leave({"times": asdict(times), "rows": rows}, options.out)


def measured(actors: int, files: int, times: Times) -> float:
    """Seconds of the job, once all actors are there."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Journal(Path(folder)) as journal,
        RayCrew(actors, program=SLEEPER) as crew,
    ):
        journal.add([(Entry(f"{n}.mp4", 1, ""), 0) for n in range(files)])
        for answer in [crew.submit({"task": "sections", "seconds": 5.0}, Limits()) for _ in range(actors)]:
            answer.result()
        began_s = time.monotonic()
        with ThreadPoolExecutor(actors + 1) as pool:
            list(pool.map(partial(_file, crew, journal, times), range(files)))
        return time.monotonic() - began_s


def _file(crew: Crew, journal: Journal, times: Times, place: int) -> None:
    """One file's way, as pipeline/rendering.py asks for it."""

    def ask(stage: str, frames: int, urgency: int = 0) -> Any:
        job = {"task": "sections", "seconds": frames * getattr(times, f"{stage}_s")}
        return crew.submit(job, Limits(), urgency=(0, place, urgency))

    row = journal.take()
    assert row is not None
    ask("scout", FRAMES).result()
    for number, answer in enumerate(
        [ask("cover", SEGMENT_FRAMES, n) for n in range(FRAMES // SEGMENT_FRAMES)]
    ):
        answer.result()
        journal.add_segment(row.number, number, "0" * 64)
    ask("join", FRAMES, -1).result()
    ask("verify", FRAMES, -1).result()
    journal.seal(row.number, "0" * 64, {})
    journal.settle(row.number, State.DONE)


if __name__ == "__main__":
    main()

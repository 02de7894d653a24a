"""What an archive job costs over the work itself, on this machine: two files at once against one, against
`run` on all cores, on Ray, and what journal and reports take. Outputs are compared before times are told.

    python -m benchmarks.archive [--clip CLIP] [--files N] [--no-ray] [--out FILE.json]

Each job is N copies of one clip. `_s` is wall time of the whole call, `_cpu_s` processor time of all
processes that took part, which other work on the machine disturbs less; ratios are given by both. `start_s`
is until the first frame was looked at. The stage times that come out, in processor time, are what
`benchmarks.cluster --times` takes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import psutil
from benchmarks import outcome
from benchmarks.clips import clips_at_hand, named
from benchmarks.speed import processor

from veilcast.config import Config, Limits
from veilcast.pipeline import report
from veilcast.pipeline.api import anonymize_file
from veilcast.pipeline.batch import Event, Options, run_archive
from veilcast.pipeline.crew import PostedCrew, Workers
from veilcast.pipeline.journal import Journal, State
from veilcast.pipeline.stores import Entry
from veilcast.pipeline.supervise import OnProgress

CLIP = "stage_multi_hamilton_640x360.mp4"
Json = dict[str, Any]


class Timed(Workers):
    """A post that notes the processor time of each task."""

    def __init__(self, core: int | None, spent_s: dict[str, float]) -> None:
        super().__init__(core)
        self._spent_s = spent_s

    def perform(self, job: Json, limits: Limits, on_progress: OnProgress) -> Json:
        checks = job["task"] == "verify"
        process = psutil.Process(self._worker(checks).child.process.pid)
        before_s = sum(process.cpu_times()[:2])
        answer = super().perform(job, limits, on_progress)
        self._spent_s[job["task"]] += sum(process.cpu_times()[:2]) - before_s
        return answer


class Meter:
    """Processor time of this process and all that it starts, those that ended included. A context manager:
    seconds in `cpu_s` afterwards."""

    def __enter__(self) -> Self:
        self._before_s = self._now_s()
        self._most_s = self._before_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *rest: object) -> None:
        self._done.set()
        self._thread.join()
        self.cpu_s = max(self._most_s, self._now_s()) - self._before_s

    def _watch(self) -> None:
        """Processes of Ray are nobody's children at the end: the most that was seen counts."""
        while not self._done.wait(0.3):
            self._most_s = max(self._most_s, self._now_s())

    def _now_s(self) -> float:
        own = psutil.Process()
        found: float = sum(own.cpu_times()[:4])
        for process in own.children(recursive=True):
            with suppress(psutil.Error):
                found += sum(process.cpu_times()[:4])
        return found


class TimedCrew(PostedCrew):
    def __init__(self, size: int, spent_s: dict[str, float]) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self._all = [Timed(cores[n % len(cores)], spent_s) for n in range(size)]
        super().__init__(self._all)

    def close(self) -> None:
        super().close()
        for workers in self._all:
            workers.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", type=named)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--no-ray", action="store_true")
    outcome.add_out(parser, "archive")
    options = parser.parse_args()
    clip = options.clip or clips_at_hand([CLIP])[0]
    with tempfile.TemporaryDirectory(prefix="veilcast-archive-") as name:
        folder = Path(name)
        source = copies(clip, folder / "in", options.files)
        found = measured(source, folder, not options.no_ray)
    found["machine"] = {"processor": processor(), "cores": len(os.sched_getaffinity(0))}
    found["clip"] = clip.name
    found["files"] = options.files
    outcome.leave(found, options.out)
    print(json.dumps(found, indent=1))


def copies(clip: Path, folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        shutil.copy(clip, folder / f"{number:03d}{clip.suffix}")
    return folder


def measured(source: Path, folder: Path, with_ray: bool) -> Json:
    anonymize_file(sorted(source.iterdir())[0], folder / ("warm" + sorted(source.iterdir())[0].suffix))
    with Meter() as run_meter:
        run_s = timed(lambda: alone(source, folder / "run"))
    spent_s: dict[str, float] = defaultdict(float)
    one = job(source, folder / "one", partial(TimedCrew, spent_s=spent_s), 1)
    two_spent: dict[str, float] = defaultdict(float)
    two = job(source, folder / "two", partial(TimedCrew, spent_s=two_spent), 2)
    assert digest(folder / "run") == digest(folder / "one") == digest(folder / "two")
    frames = one["frames"]
    tasks = {"scout": "scout", "cover": "sections", "join": "join", "verify": "verify"}
    times: Json = {f"{stage}_s": two_spent[task] / frames for stage, task in tasks.items()}
    books = bookkeeping(folder)
    times["journal_s"] = books["journal_s"]
    times["frame_bytes"] = round(sum(path.stat().st_size for path in source.iterdir()) / frames)
    files = len(list(source.iterdir()))
    found: Json = {
        "frames": frames,
        "run_s": run_s,
        "run_cpu_s": run_meter.cpu_s,
        "one_core_s": one["wall_s"],
        "one_core_cpu_s": one["cpu_s"],
        "two_cores_s": two["wall_s"],
        "two_cores_cpu_s": two["cpu_s"],
        "two_over_one": one["wall_s"] / two["wall_s"],
        "two_over_one_by_cpu": 2 * one["cpu_s"] / two["cpu_s"],
        "two_over_run": run_s / two["wall_s"],
        "two_over_run_by_cpu": run_meter.cpu_s / two["cpu_s"],
        "start_s": two["start_s"],
        "bookkeeping_share": files * books["file_s"] / two["wall_s"],
        "bookkeeping_share_by_cpu": files * books["file_cpu_s"] / two["cpu_s"],
        "times": times,
    }
    if with_ray:
        from veilcast.pipeline.actors import RayCrew

        ray = job(source, folder / "ray", RayCrew, 2)
        assert digest(folder / "ray") == digest(folder / "run")
        times["message_s"] = message_s()
        found["ray_s"], found["ray_start_s"] = ray["wall_s"], ray["start_s"]
        found["ray_cpu_s"], found["ray_idle_cpu_s"] = ray["cpu_s"], idle_ray_cpu_s()
        found["ray_overhead_by_cpu"] = (ray["cpu_s"] - found["ray_idle_cpu_s"]) / two["cpu_s"] - 1
        found["ray_overhead"] = (ray["wall_s"] - ray["start_s"]) / (two["wall_s"] - two["start_s"]) - 1
    return found


def timed(call: Callable[[], object]) -> float:
    began_s = time.monotonic()
    call()
    return time.monotonic() - began_s


def alone(source: Path, target: Path) -> None:
    """What `veilcast run FOLDER` does."""
    target.mkdir()
    for path in sorted(source.iterdir()):
        anonymize_file(path, target / path.name)


def job(source: Path, target: Path, crew: Any, workers: int) -> Json:
    began_s = time.monotonic()
    first: list[float] = []

    def heard(event: Event) -> None:
        if not first and event.progress and event.progress.stage == "finding":
            first.append(time.monotonic() - began_s)

    folder = target.with_name(target.name + "-job")
    options = Options(workers=workers, journal=folder, crew=crew)
    with Meter() as meter:
        outcome = run_archive(str(source), str(target), Config(), options, heard)
    wall_s = time.monotonic() - began_s
    assert outcome.counts[State.DONE] == len(list(source.iterdir())), outcome.counts
    with Journal(folder) as journal:
        frames = sum(row.facts["frames"] for row in journal.rows())
    return {"wall_s": wall_s, "cpu_s": meter.cpu_s, "start_s": first[0], "frames": frames}


def digest(folder: Path) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())]


def idle_ray_cpu_s() -> float:
    """Processor time of starting and ending Ray for a job without work."""
    from veilcast.pipeline.actors import RayCrew

    with Meter() as meter, RayCrew(2):
        time.sleep(3)
    return meter.cpu_s


def bookkeeping(folder: Path, count: int = 100) -> dict[str, float]:
    """Seconds of a change in the journal, and of all changes and the report of a file, on the disk."""
    place = folder / "books"
    place.mkdir()
    told = json.loads(next((folder / "two-job" / "reports").iterdir()).read_text())
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    with Journal(place) as journal:
        journal.add([(Entry(f"{n}.mp4", 1, ""), 0) for n in range(count)])
        while (row := journal.take()) is not None:
            journal.add_segment(row.number, 0, "0" * 64)
            journal.seal(row.number, "0" * 64, {"frames": 1})
            journal.settle(row.number, State.DONE)
        journal_s = (time.monotonic() - began_s) / count / 4
        for number in range(count):
            report.write(place / f"{number}.json", told)
    return {
        "journal_s": journal_s,
        "file_s": (time.monotonic() - began_s) / count,
        "file_cpu_s": (time.process_time() - began_cpu_s) / count,
    }


def message_s(count: int = 300) -> float:
    """Seconds of the driver's processor for a message that an actor streams to it."""
    import ray

    from veilcast.pipeline.actors import RayCrew

    class Speaker:
        def speak(self, count: int) -> Any:
            for number in range(count):
                yield {"progress": ["covering", number, count]}

    with RayCrew(1):
        speaker = ray.remote(Speaker).options(num_cpus=0).remote()
        ask = speaker.speak.options(num_returns="streaming", _generator_backpressure_num_objects=4)
        for reference in ask.remote(10):
            ray.get(reference)
        began_s = time.process_time()
        for reference in ask.remote(count):
            ray.get(reference)
        return (time.process_time() - began_s) / count


if __name__ == "__main__":
    main()

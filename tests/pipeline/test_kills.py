"""SIGKILL of any process of a job at any moment: nothing lost, nothing twice, nothing half under its name."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.pipeline.archive_world import archive, contents, run

from veilcast.pipeline.journal import Journal, State

ROOT = Path(__file__).resolve().parents[2]


class Killed:
    """A job in a process of its own that is killed, piece by piece, and begun again."""

    def __init__(self, source: Path, folder: Path, whole: dict[str, str]) -> None:
        self.source, self.folder, self.whole = source, folder, whole
        self.process: subprocess.Popen[bytes] | None = None
        self.finished = 0

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def start(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            args = [sys.executable, "-m", "tests.pipeline.archive_world"]
            args += [str(self.source), str(self.out), str(self.folder / "job")]
            self.process = subprocess.Popen(args, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
        return self.process

    def kill_somebody(self, dice: random.Random) -> str:
        """Kills the job itself or one of its workers; says which."""
        process = self.start()
        workers = psutil.Process(process.pid).children(recursive=True)
        victim = process.pid if dice.random() < 0.34 or not workers else dice.choice(workers).pid
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return "nobody"
        if victim != process.pid:
            return "worker"
        process.wait()
        self.process = None
        return "job"

    def look(self) -> None:
        """What has a final name is what the unbroken run gave."""
        # what is being written may be gone before it is read
        found = contents(self.out, "*.mp4") if self.out.exists() else {}
        assert found.items() <= self.whole.items()

    def finish(self, seconds: float = 120) -> None:
        process = self.start()
        assert process.wait(seconds) == 0
        self.process = None
        assert contents(self.out) == self.whole
        with Journal(self.folder / "job") as journal:
            assert journal.counts()[State.DONE] == len(self.whole)
            frames = sum(row.facts["frames"] for row in journal.rows())
        assert frames == sum(30 + n for n in range(len(self.whole)))
        self.finished += 1

    def again(self) -> None:
        for name in ("out", "job"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def kill(count: int, seed: int, tmp_path: Path) -> None:
    source = archive(tmp_path / "in", 4)
    began_s = time.monotonic()
    run(source, tmp_path / "whole", tmp_path / "job0", retries=60)
    unbroken_s = time.monotonic() - began_s
    job = Killed(source, tmp_path / "killed", contents(tmp_path / "whole"))
    dice = random.Random(seed)
    victims: list[str] = []
    try:
        while len(victims) < count:
            if job.start().poll() is not None:  # done before it was killed again
                job.finish()
                job.again()
                continue
            time.sleep(dice.uniform(0, unbroken_s / 2))
            if job.start().poll() is None and (who := job.kill_somebody(dice)) != "nobody":
                victims.append(who)
            job.look()
        job.finish(300)
    finally:
        job.end()
    assert {"job", "worker"} <= set(victims)


def test_25_kills_at_random_lose_and_repeat_nothing(tmp_path: Path) -> None:
    kill(25, 8, tmp_path)


@pytest.mark.slow
def test_200_kills_at_random_lose_and_repeat_nothing(tmp_path: Path) -> None:
    kill(200, 9, tmp_path)


@pytest.mark.parametrize("moment", ["sealed", "named"])
def test_a_kill_between_name_and_journal_is_no_second_file(moment: str, tmp_path: Path) -> None:
    """The narrowest place: the output is whole, or has its name, and the journal does not know it yet."""
    source = archive(tmp_path / "in", 1)
    run(source, tmp_path / "out", tmp_path / "job")
    whole = contents(tmp_path / "out")
    with Journal(tmp_path / "job") as journal:
        journal.move((State.DONE,), State.RUNNING)
    if moment == "sealed":
        shutil.rmtree(tmp_path / "out")
    outcome = run(source, tmp_path / "out", tmp_path / "job")
    assert outcome.counts[State.DONE] == 1
    assert contents(tmp_path / "out") == whole


def test_something_else_under_the_name_is_not_taken_for_the_output(tmp_path: Path) -> None:
    source = archive(tmp_path / "in", 1)
    run(source, tmp_path / "out", tmp_path / "job")
    with Journal(tmp_path / "job") as journal:
        journal.move((State.DONE,), State.RUNNING)
    (tmp_path / "out" / "cam0" / "000.mp4").write_bytes(b"something else")
    outcome = run(source, tmp_path / "out", tmp_path / "job")
    assert outcome.counts[State.FAILED] == 1


def test_a_damaged_segment_is_rendered_again(tmp_path: Path) -> None:
    import threading

    from veilcast.pipeline.batch import Event

    source = archive(tmp_path / "in", 1)
    run(source, tmp_path / "whole", tmp_path / "job0")
    stop = threading.Event()

    def stop_after_a_segment(event: Event) -> None:
        if list((tmp_path / "job" / "work").glob("*/segment-000001")):
            stop.set()

    run(source, tmp_path / "out", tmp_path / "job", stop_after_a_segment, stop=stop, workers=1)
    for path in (tmp_path / "job" / "work").glob("*/segment-*"):
        path.write_bytes(path.read_bytes()[:-20] + b"x" * 20)
    run(source, tmp_path / "out", tmp_path / "job")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")

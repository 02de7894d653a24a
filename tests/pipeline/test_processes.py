"""Workers that are started before they are needed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from veilcast.config import Limits
from veilcast.pipeline.processes import WORKER, started_ahead
from veilcast.pipeline.supervise import child

ECHO = (
    sys.executable,
    "-c",
    "import json, os, sys\n"
    "for line in sys.stdin:\n"
    "    os.write(int(sys.argv[-1]), json.dumps({'result': json.loads(line)}).encode() + b'\\n')",
)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_first_who_needs_a_worker_gets_the_one_that_waits() -> None:
    with started_ahead(ECHO) as waiting:
        with child(program=ECHO) as first, child(program=ECHO) as second:
            assert first.started is waiting
            assert second.started is not waiting
            assert first.perform({"task": "a"}, Limits()) == {"task": "a"}
            assert second.perform({"task": "b"}, Limits()) == {"task": "b"}
        assert gone(first.process.pid)
        assert gone(second.process.pid)


def test_a_worker_that_nobody_needed_ends_with_the_block() -> None:
    with started_ahead(ECHO) as waiting:
        assert not gone(waiting.process.pid)
    assert gone(waiting.process.pid)


def test_who_has_files_to_hand_down_gets_a_new_worker() -> None:
    read_fd, write_fd = os.pipe()
    try:
        with started_ahead(ECHO) as waiting, child((read_fd,), ECHO) as fresh:
            assert fresh.started is not waiting
    finally:
        os.close(read_fd)
        os.close(write_fd)


TOUCH = """
import sys
from pathlib import Path
from veilcast.pipeline import tasks, worker
tasks.perform = lambda job, *rest: Path(job["folder"], job["task"]).touch() or {}
worker.main(int(sys.argv[1]))
"""


def test_covered_pictures_are_as_open_as_the_users_files_and_nothing_else_is(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with child(program=(sys.executable, "-c", TOUCH)) as worker:
            for task in ("scout", "pictures", "sections"):
                worker.perform({"task": task, "folder": str(tmp_path)}, Limits())
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"pictures": 0o640, "scout": 0o600, "sections": 0o600}


def test_a_killed_worker_is_of_no_more_use_and_leaves_nothing() -> None:
    with child(program=ECHO) as worker:
        worker.kill()
    assert gone(worker.process.pid)


def test_a_command_line_that_fails_leaves_no_worker_behind(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "veilcast", "run", "missing.mp4", "-o", "out.mp4", "--no-such-option"]
    before = _workers()
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 2
    deadline_s = time.monotonic() + 10
    while (left := _workers() - before) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not left


def _workers() -> set[int]:
    """Processes that run a worker and whose parent is gone."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        if WORKER[-1].encode() in words and parent == 1:
            found.add(int(folder.name))
    return found


@pytest.mark.parametrize("module", ["veilcast.pipeline.processes", "veilcast.__main__"])
def test_a_worker_is_started_before_anything_heavy_is_imported(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pydantic", "typer", "rich", "numpy", "av"} & set(done.stdout.split())

"""Whatever a worker does, its parent goes on, says in one sentence what happened, and leaves no process."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from veilcast.config import Limits
from veilcast.errors import DamagedMedia, VeilcastError, WorkerDied, WorkerHung
from veilcast.pipeline.supervise import Progress, supervise

PREAMBLE = """
import json, os, signal, sys, time
job = json.loads(sys.stdin.readline())
fd = int(sys.argv[1])
def say(value): os.write(fd, (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\\n")
"""


def worker(body: str) -> Sequence[str]:
    """A program that stands in for the worker and does `body`."""
    return (sys.executable, "-c", PREAMBLE + textwrap.dedent(body))


def run(body: str, job: dict[str, Any] | None = None, **limits: float) -> dict[str, Any]:
    return supervise(job or {}, Limits.model_validate({"stall_s": 20} | limits), program=worker(body))


def is_alive(pid: int) -> bool:
    """Whether it runs: a zombie that nobody has waited for yet does not."""
    with contextlib.suppress(OSError):
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return False


def gone_within(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not is_alive(pid)


def test_the_answer_comes_back() -> None:
    assert run("say({'result': {'echo': job}})", {"task": "x"}) == {"echo": {"task": "x"}}


def test_progress_is_passed_on() -> None:
    seen: list[Progress] = []
    body = (
        "say({'progress': ['finding', 3, None]}); say({'progress': ['finding', 4, 9]}); say({'result': {}})"
    )
    supervise({}, Limits(), seen.append, program=worker(body))
    assert seen == [Progress("finding", 3, None), Progress("finding", 4, 9)]


def test_a_typed_error_keeps_its_type_and_sentence() -> None:
    with pytest.raises(DamagedMedia, match=r"^frame 7 is damaged$"):
        run("say({'error': 'DamagedMedia', 'message': 'frame 7 is damaged'})")


@pytest.mark.parametrize("name", ["Nonsense", "SystemExit", "annotations", "ClassVar"])
def test_an_error_of_another_type_is_never_made(name: str) -> None:
    with pytest.raises(VeilcastError, match="text") as caught:
        run(f"say({{'error': {name!r}, 'message': 'text'}})")
    assert type(caught.value) is VeilcastError


def test_a_worker_that_crashes_is_told_with_its_signal() -> None:
    with pytest.raises(WorkerDied, match="SIGSEGV"):
        run("os.kill(os.getpid(), signal.SIGSEGV)")


def test_a_worker_that_leaves_without_an_answer_is_told() -> None:
    with pytest.raises(WorkerDied, match="without an answer"):
        run("sys.exit(0)")


def test_a_worker_that_stalls_is_killed() -> None:
    start = time.monotonic()
    with pytest.raises(WorkerHung, match=r"no progress for 1 s"):
        run("time.sleep(60)", stall_s=1)
    assert time.monotonic() - start < 10


def test_a_worker_that_ignores_signals_is_killed_all_the_same() -> None:
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass"
    with pytest.raises(WorkerHung):
        run(body, stall_s=1)


def test_progress_does_not_extend_the_deadline() -> None:
    body = "while True: say({'progress': ['finding', 1, 2]}); time.sleep(.05)"
    with pytest.raises(WorkerHung, match="deadline_s"):
        run(body, deadline_s=1.5)


def test_a_worker_that_grows_too_large_is_killed() -> None:
    with pytest.raises(WorkerDied, match="200 MiB"):
        run("x = b'x' * (400 << 20); time.sleep(60)", max_memory_bytes=200 << 20)


def test_a_worker_that_talks_nonsense_is_not_believed() -> None:
    body = "[say(x) for x in (b'\\xff\\x00', b'[1]', b'{', {'result': 5}, {'progress': 1}, {})]"
    with pytest.raises(WorkerDied):
        run(body)


def test_what_a_worker_started_ends_with_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    body = """
        import subprocess
        child = subprocess.Popen(["sleep", "60"])
        open(job["note"], "w").write(str(child.pid))
        say({"result": {}})
    """
    run(body, {"note": str(note)})
    assert gone_within(int(note.read_text()), 5)


# A worker with the real one's guard, busy for a minute; and a parent that waits for it.
BUSY = """
import os, queue, sys, threading, time
from pathlib import Path
from veilcast.pipeline import worker
jobs = queue.Queue()
threading.Thread(target=worker.listen, args=(sys.stdin.buffer, jobs)).start()
job = jobs.get()
Path(job["note"]).write_text(str(os.getpid()))
time.sleep(60)
"""
PARENT = """
import json, sys
from veilcast.config import Limits
from veilcast.pipeline.supervise import supervise
supervise(json.loads(sys.argv[1]), Limits(), program=(sys.executable, "-c", sys.argv[2]))
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_ends_with_its_parent_and_takes_its_part_along(tmp_path: Path, sent: signal.Signals) -> None:
    part, note = tmp_path / "out.mp4.part", tmp_path / "pid"
    part.write_bytes(b"half")
    job = json.dumps({"target": str(part), "note": str(note)})
    parent = subprocess.Popen([sys.executable, "-c", PARENT, job, BUSY])
    while not (note.exists() and note.read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(sent)
    parent.wait()
    assert gone_within(int(note.read_text()), 5)
    assert not part.exists()

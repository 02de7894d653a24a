"""Runs one task in a child process that can be killed: limits, deadline, heartbeat.

Hostile media is decoded, and large native libraries run, in the child alone. Parent and child speak
JSON lines over pipes, so nothing that the child says is executed or unpickled here. The child ends
with its parent, whatever ends the parent: its standard input closes (see worker.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veilcast import errors
from veilcast.config import Limits
from veilcast.errors import VeilcastError, WorkerDied, WorkerHung
from veilcast.pipeline.processes import WORKER, Started, started

Json = dict[str, Any]

_POLL_S = 0.25
_LAST_WORD_S = 2.0  # for a child that closed its pipe to say how it ended
_MAX_LINE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task is. `total` is None where the container does not say."""

    stage: str  # "finding", "covering", "checking"
    done: int  # frames
    total: int | None


OnProgress = Callable[[Progress], None]
OnFrame = Callable[[str, int, int | None], None]  # the same in the worker: stage, frames done, frames in all


def silent(progress: Progress) -> None:
    """Progress that nobody watches."""


def supervise(
    job: Json,
    limits: Limits,
    on_progress: OnProgress = silent,
    pass_fds: Sequence[int] = (),
    program: Sequence[str] = WORKER,
) -> Json:
    """The result of `job` (see worker.py), done in a fresh process.

    Raises the typed error that the child met, WorkerHung past a limit on time, WorkerDied when the
    child was killed, crashed or grew beyond its memory.
    """
    with child(pass_fds, program) as worker:
        return worker.perform(job, limits, on_progress)


@dataclass(slots=True)
class Child:
    """A worker process. It does one job after another. One that `owes` the answer to a job that was given up,
    by whatever exception, is of no more use: it would be taken for the answer to the next."""

    started: Started
    owes: bool = False

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self.started.process

    def kill(self) -> None:
        """For who has what it was started for."""
        self.started.kill()

    def perform(self, job: Json, limits: Limits, on_progress: OnProgress = silent) -> Json:
        """As `supervise`, in this process. Raises also what `on_progress` raises."""
        if self.owes:
            raise WorkerDied("the worker was still at a job that was given up")
        assert self.process.stdin is not None
        self.owes = True
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(job).encode() + b"\n")
            self.process.stdin.flush()  # and stays open: its end tells the child that the parent is gone
        watch = _Watch(self.process, limits)
        for message in _messages(self.started.answers, watch):
            match message:
                case {"progress": [str(stage), int(done), total]}:
                    watch.alive()
                    on_progress(Progress(stage, done, total))
                case {"result": dict(result)}:
                    self.owes = False
                    return result
                case {"error": str(name), "message": str(text)}:
                    self.owes = False
                    raise error_named(name, text)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=_LAST_WORD_S)
        raise WorkerDied(_died(self.process.returncode))


class _Watch:
    """Limits on one child, checked a few times a second."""

    def __init__(self, process: subprocess.Popen[bytes], limits: Limits) -> None:
        self._process = process
        self._limits = limits
        self._start_s = self._heard_s = time.monotonic()

    def alive(self) -> None:
        self._heard_s = time.monotonic()

    def check(self) -> None:
        now_s = time.monotonic()
        if now_s - self._heard_s > self._limits.stall_s:
            raise WorkerHung(
                f"no progress for {self._limits.stall_s:g} s, so the worker was stopped; "
                "the input may be made to hang decoders, or limits.stall_s is too small for it"
            )
        deadline_s = self._limits.deadline_s
        if deadline_s is not None and now_s - self._start_s > deadline_s:
            raise WorkerHung(
                f"not done within {deadline_s:g} s (limits.deadline_s), so the worker was stopped"
            )
        if resident_bytes(self._process.pid) > self._limits.max_memory_bytes:
            raise WorkerDied(
                f"the worker grew beyond {self._limits.max_memory_bytes >> 20} MiB and was stopped; "
                "raise limits.max_memory_bytes if the picture is that large"
            )


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 where it has ended or the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def child(pass_fds: Sequence[int] = (), program: Sequence[str] = WORKER) -> Iterator[Child]:
    """A worker that waits for jobs. Killed, with all that it started, when the block is left."""
    worker = started(program, pass_fds)
    try:
        yield Child(worker)
    finally:
        worker.end()


def _messages(fd: int, watch: _Watch) -> Iterator[Json]:
    """What the child says, until it closes its end. Anything that is not a JSON object is skipped."""
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while True:
            watch.check()
            if not selector.select(_POLL_S):
                continue
            chunk = os.read(fd, 1 << 20)
            if not chunk:
                return
            *lines, buffer = (buffer + chunk).split(b"\n")
            if len(buffer) > _MAX_LINE_BYTES:
                raise WorkerDied("the worker answered with nonsense and was stopped")
            yield from _objects(lines)


def _objects(lines: Sequence[bytes]) -> Iterator[Json]:
    for line in lines:
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                yield value


def error_named(name: str, text: str) -> VeilcastError:
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, VeilcastError):
        return kind(text)
    return VeilcastError(text)


def _died(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        cause = f"was killed by signal {-returncode} ({signal.Signals(-returncode).name})"
    else:
        cause = "ended without an answer"
    return f"the worker {cause}, so there is no output; the input may be made to crash decoders"

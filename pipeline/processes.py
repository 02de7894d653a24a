"""Starts worker processes, also one before anybody knows what it will be asked: its imports take as long as
those of the command line, which does them meanwhile. Only the standard library is imported here, and little
of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Program = tuple[str, ...]

# -P: the working directory, which may hold anyone's files, is no place to import from
WORKER: Program = (sys.executable, "-P", "-m", "veilcast.pipeline.worker")
# with the imports of a whole run done before the job comes
RUNNER: Program = (*WORKER, "veilcast.pipeline.jobs", "veilcast.pipeline.detect")
# started beside a worker, so that it is ready when that has done its work
CHECKER: Program = (*WORKER, "veilcast.pipeline.tasks", "veilcast.pipeline.verification")


@dataclass(frozen=True, slots=True)
class Started:
    """A worker that waits for jobs on its standard input. `answers`: a file descriptor to read them from."""

    process: subprocess.Popen[bytes]
    answers: int

    def kill(self) -> None:
        """And its descendants, which share its session; even one that is stopped. Nobody waits until their
        memory is free."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        self.kill()
        self.process.wait()
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        os.close(self.answers)


_waiting: dict[Program, Started] = {}


@contextlib.contextmanager
def started_ahead(program: Program) -> Iterator[Started]:
    """One worker of `program` for whoever needs the first one, killed in the end if nobody did."""
    _waiting[program] = start(program)
    try:
        yield _waiting[program]
    finally:
        if spare := _waiting.pop(program, None):
            spare.end()


def started(program: Sequence[str], pass_fds: Sequence[int] = ()) -> Started:
    """A worker: the one that waits, unless it has to inherit file descriptors."""
    spare = None if pass_fds else _waiting.pop(tuple(program), None)
    return spare or start(program, pass_fds)


def start(program: Sequence[str], pass_fds: Sequence[int] = ()) -> Started:
    """A new process. It ends with this one, whatever ends this one: its standard input closes."""
    read_fd, write_fd = os.pipe()
    try:
        process = subprocess.Popen(
            [*program, str(write_fd)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=None if os.environ.get("VEILCAST_DEBUG") else subprocess.DEVNULL,
            pass_fds=(write_fd, *pass_fds),
            start_new_session=True,
            # what is multiplied here is small, and the library's threads spin for a while when they start
            env={"OPENBLAS_NUM_THREADS": "1", **os.environ},
        )
    except BaseException:
        os.close(read_fd)
        raise
    finally:
        os.close(write_fd)
    return Started(process, read_fd)

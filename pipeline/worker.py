"""The child's side of supervise.py: `python -m veilcast.pipeline.worker [MODULE...] FD` reads jobs, a line
of JSON each, from standard input, does one after the other, and answers with lines of JSON on FD. Modules
that are named are imported before the first job comes, so that it need not wait for them."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from veilcast.errors import VeilcastError

Json = dict[str, Any]

PRIVATE = 0o077  # umask
WRITES_COVERED = ("pictures",)  # tasks that write outputs alone: as open as the user's other files


class Parent:
    """Where answers go. Progress is thinned to about ten lines a second by whoever reports it."""

    def __init__(self, fd: int) -> None:
        self._out = os.fdopen(fd, "wb", buffering=0)
        self._lock = threading.Lock()

    def progress(self, stage: str, done: int, total: int | None) -> None:
        self._send({"progress": [stage, done, total]})

    def result(self, value: Json) -> None:
        self._send({"result": value})

    def status(self, value: Json) -> None:
        self._send({"status": value})

    def error(self, error: Exception) -> None:
        self._send({"error": type(error).__name__, "message": str(error)})

    def _send(self, message: Json) -> None:
        view = memoryview(json.dumps(message).encode() + b"\n")
        with self._lock, contextlib.suppress(BrokenPipeError):
            while view:
                view = view[self._out.write(view) or 0 :]


def main(fd: int, ahead: Sequence[str] = ()) -> None:
    umask = contain()
    jobs: queue.Queue[Json] = queue.Queue()
    threading.Thread(target=listen, args=(sys.stdin.buffer, jobs), daemon=True).start()
    parent = Parent(fd)
    prepare(ahead)
    tools = None
    while True:
        job = jobs.get()
        try:
            from veilcast.pipeline.tasks import Tools, perform  # heavy: after the guard is up

            os.umask(umask if job["task"] in WRITES_COVERED else PRIVATE)
            tools = tools or Tools()
            parent.result(perform(job, parent.progress, tools))
        except VeilcastError as error:
            parent.error(error)
        except MemoryError:
            parent.error(VeilcastError("not enough memory for this input"))
        except Exception as error:  # noqa: BLE001 (the border of the process: told to the parent)
            parent.error(VeilcastError(internal(error)))


def prepare(modules: Sequence[str]) -> None:
    """Imports what the first job will need. What fails here fails again there, and is told."""
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def contain() -> int:
    """No core dumps, which hold the original picture; files for this user alone. Gives the user's own umask,
    for what was covered."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    umask = os.umask(PRIVATE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    return umask


def listen(stdin: BinaryIO, jobs: queue.Queue[Json]) -> None:
    """Standard input ends when the parent does, even by SIGKILL: then nobody will verify or rename
    what is being written, so it goes, and this process with all that it started. `job["kept"]`: somebody
    else watches over what is written, and may have given the work to another already."""
    target = None
    for line in stdin:
        job = json.loads(line)
        target = None if job.get("kept") else job.get("target")
        jobs.put(job)
    if target:
        Path(target).unlink(missing_ok=True)
    os.killpg(0, signal.SIGKILL)


def internal(error: Exception) -> str:
    """An unforeseen error, told without its text, which may quote anything."""
    if os.environ.get("VEILCAST_DEBUG"):
        traceback.print_exc()
    at = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"internal error: {type(error).__name__} in {Path(at.filename).name}, line {at.lineno}; "
        "set VEILCAST_DEBUG=1 to see it whole"
    )


if __name__ == "__main__":
    main(int(sys.argv[-1]), sys.argv[1:-1])

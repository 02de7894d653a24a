"""The parent's side of shared generators: one process for each model that cameras use, started, watched by a
question that it must answer, replaced."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection
from pathlib import Path

from veilcast.config import Device
from veilcast.errors import EngineError
from veilcast.pipeline.generator_remote import RemoteGenerator
from veilcast.pipeline.ladder import FIRST_S, MOST_S

PROGRAM = (sys.executable, "-P", "-m", "veilcast.pipeline.generator_process")
ASKED_EVERY_S = 5.0
ASKED_FIRST_S = 0.5  # while it has not answered yet: from then on a silence counts
ANSWER_S = 5.0
STARTING_S = 120.0
LASTED_S = 60.0  # of a process, after which its next failure is a first one


class SharedGenerator:
    """Keeps one on its socket from `start` to `stop`. While there is none, faces are covered solid."""

    def __init__(self, model: Path, path: Path, device: Device = "cpu") -> None:
        self.model, self.path, self.device = model, path, device
        self.pid: int | None = None
        self.answered = False  # this process has
        self.restarts = -1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="generator", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(ANSWER_S + STARTING_S)

    def _run(self) -> None:
        wait_s = FIRST_S
        while not self._stop.is_set():
            start_s = time.monotonic()
            self.restarts += 1
            # the border of the thread: what could not be started is tried again; faces are solid meanwhile
            with contextlib.suppress(Exception):
                self._once()
            wait_s = FIRST_S if time.monotonic() - start_s > LASTED_S else min(2 * wait_s, MOST_S)
            self._stop.wait(wait_s)

    def _once(self) -> None:
        """One process, until it ends, falls silent or is not wanted any more."""
        self.path.unlink(missing_ok=True)
        process = subprocess.Popen(
            PROGRAM,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=None if os.environ.get("VEILCAST_DEBUG") else subprocess.DEVNULL,
            start_new_session=True,
        )
        self.pid, self.answered = process.pid, False
        try:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                asked = {"model": str(self.model), "socket": str(self.path), "device": self.device}
                process.stdin.write(json.dumps(asked).encode() + b"\n")
                process.stdin.flush()  # and stays open: its end tells the child that the parent is gone
            self._watch(process)
        finally:
            self.pid = None
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        remote, start_s = RemoteGenerator(self.path, ANSWER_S), time.monotonic()
        try:
            while process.poll() is None:
                if self._stop.wait(ASKED_EVERY_S if self.answered else ASKED_FIRST_S):
                    return
                try:
                    remote.offer(ready_s=0)
                    self.answered = True
                except EngineError:
                    if self.answered or time.monotonic() - start_s > STARTING_S:
                        return
        finally:
            remote.close()


class Generators:
    """All end by `close`, or with this process. Sockets lie in a folder that is this user's alone."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vc-gen-")
        self._shared: dict[tuple[Path, Device], SharedGenerator] = {}
        self._made = 0

    def at(self, model: Path, device: Device = "cpu") -> Path:
        """The socket of the generator of this model; it is started where there is none yet."""
        key = model.absolute(), device
        if key not in self._shared:
            made = SharedGenerator(key[0], Path(self._folder.name) / f"{self._made}.sock", device)
            self._shared[key], self._made = made, self._made + 1
            made.start()
        return self._shared[key].path

    def keep(self, wanted: Collection[Path | None]) -> None:
        """Ends all but those at these sockets."""
        for key, one in list(self._shared.items()):
            if one.path not in wanted:
                self._shared.pop(key).stop()

    @property
    def shared(self) -> tuple[SharedGenerator, ...]:
        return tuple(self._shared.values())

    def close(self) -> None:
        self.keep(())
        self._folder.cleanup()

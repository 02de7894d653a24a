"""The parent's side of one camera: a process that is started, watched, replaced, and at last held.

process says how it is twice a second -> silent, too large, or dead: killed, with all that it started
restarted up to live.restarts times a minute -> then a process that shows the slate and nothing else
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from veilcast.errors import InputError, VeilcastError, WorkerDied, WorkerHung
from veilcast.pipeline.ladder import Ladder
from veilcast.pipeline.live_job import Camera
from veilcast.pipeline.processes import start
from veilcast.pipeline.supervise import error_named, resident_bytes
from veilcast.pipeline.worker import internal

Json = dict[str, Any]
OnEvent = Callable[[str, Json], None]

PROGRAM = (sys.executable, "-P", "-m", "veilcast.pipeline.live_worker")
STARTING_S = 60.0  # before its first word: imports, on a machine that is busy
LEAVE_S = 12.0
POLL_S = 0.25
MAX_LINE_BYTES = 1 << 20
RETRY_SLATE_S = 2.0
ENDED = "ended"


class Keeper:
    """Keeps one camera on air from `start` to `stop`. `status` may be asked at any time."""

    def __init__(self, camera: Camera, on_event: OnEvent = lambda name, facts: None) -> None:
        self.camera, self._on_event = camera, on_event
        self._ladder = Ladder(camera.config.live.restarts)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._said: Json = {}
        self._said_s: float | None = None
        self._before = {name: Counter[str]() for name in ("counts", "slates", "ledger")}
        self._size: list[int] | None = None
        self._told: dict[int, Json] = {}  # what was told last of the camera (0) and of each output
        self.restarts = 0
        self.ended = self._over = False
        self.error: VeilcastError | None = None  # the last one
        self._thread = threading.Thread(target=self._run, name=f"keeper {camera.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Asks the process to end its outputs as they should be ended; kills it where that takes long."""
        self._stop.set()
        with self._lock:
            if self._process is not None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.terminate()
        self._thread.join(LEAVE_S + 2)

    def join(self, timeout_s: float | None = None) -> bool:
        """Whether everything is over: a file that was played to its end."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def failed(self) -> VeilcastError | None:
        """Why nobody keeps the camera any more, though it was not stopped and no file came to its end; None =
        all is well."""
        if self.ended or self._stop.is_set() or not self._over:
            return None
        return self.error or WorkerDied(f"nobody watches over {self.camera.name} any more; start it anew")

    def status(self) -> Json:
        """Plain values without any secret."""
        with self._lock:
            process, said, said_s = self._process, dict(self._said), self._said_s
            before = {name: counter.copy() for name, counter in self._before.items()}
        pid = process.pid if process else None
        error = self.error or self.failed
        for name, counter in before.items():
            said[name] = dict(counter + Counter(said.get(name, {})))
        return said | {
            "name": self.camera.name,
            "source": str(self.camera.source),
            "state": self._public_state(said),
            "pid": pid,
            "memory_bytes": resident_bytes(pid) if pid else 0,
            "age_s": None if said_s is None else round(time.monotonic() - said_s, 2),
            "restarts": self.restarts,
            "alarm": self._is_alarming,
            "error": str(error) if error else "",
        }

    def _public_state(self, said: Json) -> str:
        if self.ended:
            return ENDED
        return "fault" if self._is_alarming else str(said.get("state", "starting"))

    @property
    def _is_alarming(self) -> bool:
        return self._ladder.ended or self.failed is not None

    # -- the thread

    def _run(self) -> None:
        try:
            while not (self.ended or self._over or self._stop.is_set()):
                self._keep(self._ladder.ended)
        finally:
            self._over = True

    def _keep(self, held: bool) -> None:
        try:
            self._serve(held)
            self.ended = not held
            if self.ended or self._stop.is_set():
                self._tell("ended")
        except VeilcastError as error:
            self._failed(error, held)
        except Exception as error:  # noqa: BLE001 (the border of the thread: no camera is left alone)
            self._failed(VeilcastError(internal(error)), held)

    def _failed(self, error: VeilcastError, held: bool) -> None:
        if self._stop.is_set():
            return
        self.error = error
        if isinstance(error, InputError):
            self._over = True  # a file, of which another try would not show more
            self._tell("failed", error=str(error), alarm=True)
            return
        wait_s = RETRY_SLATE_S if held else self._ladder.failed(error, time.monotonic())
        if wait_s is None:
            self._tell("held", error=str(error), alarm=True)
            return
        self.restarts += 1
        self._tell("restarting", error=str(error), wait_s=wait_s)
        self._stop.wait(wait_s)

    def _serve(self, held: bool) -> None:
        """One process, from its start to its end. Raises what ended it, unless that was as it should be."""
        with self._child(held) as (process, fd):
            self._tell("started", pid=process.pid, held=held)
            for message in self._messages(process, fd):
                match message:
                    case {"status": dict(status)}:
                        self._heard(status)
                    case {"result": dict()}:
                        return
                    case {"error": str(name), "message": str(text)}:
                        raise error_named(name, text)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=2)
            raise WorkerDied(f"the process of {self.camera.name} ended with {process.returncode}")

    def _heard(self, status: Json) -> None:
        with self._lock:
            self._said, self._said_s = status, time.monotonic()
            self._size = status.get("size") or self._size
        self._tell_change("state", 0, state=status.get("state"), told=status.get("told", ""))
        for number, output in enumerate(status.get("outputs", ()), 1):
            if output["told"] or number in self._told:
                self._tell_change("output", number, to=output["to"], told=output["told"])

    def _tell_change(self, event: str, of: int, **facts: object) -> None:
        """The same is said twice a second; people are told when it changes."""
        if self._told.get(of) != facts:
            self._told[of] = facts
            self._tell(event, **facts)

    @contextlib.contextmanager
    def _child(self, held: bool) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
        try:
            worker = start(PROGRAM)
        except OSError as error:  # no memory, descriptor or process is left: there may be some in a while
            raise WorkerDied(
                f"no process could be started for {self.camera.name}: {error.strerror}; "
                "free memory, or raise the limits on processes and open files"
            ) from None
        process = worker.process
        job = {"camera": self.camera.to_json(), "size": self._size, "slate": held}
        try:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(job).encode() + b"\n")
                process.stdin.flush()  # and stays open: its end tells the child that the parent is gone
            with self._lock:
                self._process = process
            yield process, worker.answers
        finally:
            worker.end()
            with self._lock:
                self._process = None
                for name, counter in self._before.items():
                    counter.update(self._said.get(name, {}))
                self._said = {}

    def _messages(self, process: subprocess.Popen[bytes], fd: int) -> Iterator[Json]:
        """What the process says, until it closes its end. Raises WorkerHung, WorkerDied."""
        buffer, heard_s, started = b"", time.monotonic(), False
        leaving_s: float | None = None
        with selectors.DefaultSelector() as selector:
            selector.register(fd, selectors.EVENT_READ)
            while True:
                now_s = time.monotonic()
                if self._stop.is_set():
                    if leaving_s is None:
                        leaving_s = now_s
                        with contextlib.suppress(ProcessLookupError):
                            process.terminate()  # it may have been started after `stop` looked
                    if now_s - leaving_s > LEAVE_S:
                        raise WorkerHung(f"the process of {self.camera.name} did not leave")
                # read before it is judged: it was us who heard nothing, if this process was stopped
                has_spoken = bool(selector.select(POLL_S))
                self._check(process, 0.0 if has_spoken else now_s - heard_s, started)
                if not has_spoken:
                    continue
                chunk = os.read(fd, 1 << 16)
                if not chunk:
                    return
                *lines, buffer = (buffer + chunk).split(b"\n")
                if len(buffer) > MAX_LINE_BYTES:
                    raise WorkerDied(f"the process of {self.camera.name} talks nonsense")
                heard_s, started = time.monotonic(), True
                for line in lines:
                    with contextlib.suppress(ValueError):
                        if isinstance(value := json.loads(line), dict):
                            yield value

    def _check(self, process: subprocess.Popen[bytes], silent_s: float, started: bool) -> None:
        patience_s = self.camera.config.live.hang_s if started else STARTING_S
        if silent_s > patience_s:
            raise WorkerHung(f"the process of {self.camera.name} said nothing for {patience_s:g} s")
        most = self.camera.config.limits.max_memory_bytes
        if resident_bytes(process.pid) > most:
            raise WorkerDied(f"the process of {self.camera.name} grew beyond {most >> 20} MiB")

    def _tell(self, event: str, **facts: object) -> None:
        with contextlib.suppress(Exception):  # a log that cannot be written ends no camera
            self._on_event(event, {"camera": self.camera.name, **facts})

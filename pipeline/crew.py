"""Workers that are kept: several processes, each doing one job after another. One that died or hung is
replaced; what it was at is its caller's to decide. A place that is lost as a whole, with its machine,
costs nobody anything: its order waits for whoever is there."""

from __future__ import annotations

import itertools
import os
import queue
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from veilcast.config import Limits
from veilcast.errors import WorkerDied, WorkerError
from veilcast.pipeline.generator_line import Relay, serve
from veilcast.pipeline.processes import WORKER
from veilcast.pipeline.supervise import Child, OnProgress, child, silent

Json = dict[str, Any]

STOPPED = "the job was stopped"
NOBODY = "nobody was there to do the work: no machine of the cluster had room"
RECYCLED_AFTER = 200  # jobs of one process: what native libraries leak ends with it
LOSSES = 8  # of posts by one order: then it may be the order that ends them
PATIENCE_S = 600.0  # with nobody there, after which orders are given back


class PostLost(WorkerDied):
    """Whoever was there is gone with the machine. Never leaves this module but for an order of LOSSES."""


class Crew(Protocol):
    """Whoever does jobs, here or elsewhere."""

    def submit(
        self, job: Json, limits: Limits, on_progress: OnProgress = silent, urgency: Sequence[int] = ()
    ) -> Future[Json]:
        """The answer to come; the future raises what the job raises. Lower `urgency` goes first."""
        ...

    def close(self) -> None:
        """Ends all workers and whatever they are at."""
        ...


@dataclass(order=True, slots=True)
class _Order:
    urgency: tuple[int, ...]
    number: int
    job: Json = field(compare=False)
    limits: Limits = field(compare=False)
    on_progress: OnProgress = field(compare=False)
    answer: Future[Json] = field(compare=False)
    losses: int = field(default=0, compare=False)
    begun: bool = field(default=False, compare=False)

    def begin(self) -> bool:
        """Whether anybody still waits for the answer."""
        self.begun = self.begun or self.answer.set_running_or_notify_cancel()
        return self.begun


class Post(Protocol):
    """A place at which one job after another is done."""

    def arrive(self) -> bool:
        """Whether somebody is there to take an order; waits a moment for them, no longer."""
        ...

    def perform(self, job: Json, limits: Limits, on_progress: OnProgress) -> Json:
        """Raises what the job raises, WorkerError where whoever was there is of no more use, PostLost where
        they went away. Whatever it raises, what was given up never answers a later job."""
        ...

    def leave(self) -> None:
        """Ends whoever is there, and what they are at: called from any thread."""
        ...


class PostedCrew:
    """Does jobs at posts, one thread each, the most urgent first. A context manager."""

    def __init__(self, posts: Sequence[Post], patience_s: float = PATIENCE_S) -> None:
        self._posts, self._patience_s = posts, patience_s
        self._seen_s = time.monotonic()  # when somebody was last there
        self._orders: queue.PriorityQueue[_Order] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, args=(post,), name=f"crew-{n}", daemon=True)
            for n, post in enumerate(posts)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, job: Json, limits: Limits, on_progress: OnProgress = silent, urgency: Sequence[int] = ()
    ) -> Future[Json]:
        answer: Future[Json] = Future()
        self._orders.put(_Order(tuple(urgency), next(self._numbers), job, limits, on_progress, answer))
        if self._closed.is_set():  # nobody is left to do it
            self._refuse_waiting()
        return answer

    def close(self) -> None:
        self._closed.set()
        for post in self._posts:
            post.leave()
        for thread in self._threads:
            thread.join()
        for post in self._posts:
            post.leave()
        self._refuse_waiting()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *rest: object) -> None:
        self.close()

    def _serve(self, post: Post) -> None:
        while not self._closed.is_set():
            if not post.arrive():
                if time.monotonic() - self._seen_s > self._patience_s:
                    self._refuse_waiting(NOBODY)
                continue
            self._seen_s = time.monotonic()
            try:
                order = self._orders.get(timeout=0.2)
            except queue.Empty:
                continue
            if order.begin():
                self._answer(order, post)

    def _answer(self, order: _Order, post: Post) -> None:
        try:
            order.answer.set_result(post.perform(order.job, order.limits, order.on_progress))
        except PostLost as error:
            order.losses += 1
            if order.losses < LOSSES and not self._closed.is_set():
                self._orders.put(order)
            else:
                order.answer.set_exception(WorkerDied(STOPPED if self._closed.is_set() else str(error)))
        except WorkerError as error:
            order.answer.set_exception(WorkerDied(STOPPED) if self._closed.is_set() else error)
        except BaseException as error:  # noqa: BLE001 (told to whoever waits for the answer)
            order.answer.set_exception(error)

    def _refuse_waiting(self, reason: str = STOPPED) -> None:
        while True:
            try:
                order = self._orders.get_nowait()
            except queue.Empty:
                return
            if order.begin():
                order.answer.set_exception(WorkerDied(reason))


class Workers:
    """A post of this machine: one process that makes outputs and, apart from it, one that checks them.
    `core`: what both are pinned to; None = wherever the system puts them. `faces`: answers what the first
    asks of a generator that others share (generator_line.py); None = it has its own."""

    def __init__(
        self, core: int | None = None, program: Sequence[str] = WORKER, faces: Relay | None = None
    ) -> None:
        self._core, self._program, self._faces = core, program, faces
        self._hired: dict[bool, _Hired] = {}
        self._lock = threading.Lock()
        self._left = threading.Event()

    def arrive(self) -> bool:
        return True

    def perform(self, job: Json, limits: Limits, on_progress: OnProgress) -> Json:
        checks = job["task"] == "verify"
        hired = self._worker(checks)
        if self._left.is_set():
            raise WorkerDied(STOPPED)
        try:
            return hired.child.perform({**job, "generator": hired.line}, limits, on_progress)
        finally:
            hired.done += 1
            if hired.child.owes or hired.done >= RECYCLED_AFTER:
                self._dismiss(checks)

    def leave(self) -> None:
        self._left.set()
        for hired in list(self._hired.values()):
            hired.child.process.kill()  # whoever waits for its answer hears of it and cleans up

    def close(self) -> None:
        for checks in (False, True):
            self._dismiss(checks)

    def _worker(self, checks: bool) -> _Hired:
        with self._lock:
            if checks not in self._hired:
                with ExitStack() as stack:
                    line = None if checks else self._line(stack)
                    passed = () if line is None else (line,)
                    worker = stack.enter_context(child(passed, self._program))
                    if self._core is not None:
                        os.sched_setaffinity(worker.process.pid, {self._core})
                    self._hired[checks] = _Hired(worker, stack.pop_all(), line)
            return self._hired[checks]

    def _line(self, stack: ExitStack) -> int | None:
        """The worker's end of a line to the shared generator: open here until the worker has gone."""
        if self._faces is None:
            return None
        here, there = socket.socketpair()
        stack.callback(there.close)
        threading.Thread(target=serve, args=(here, self._faces), name="faces", daemon=True).start()
        return there.fileno()

    def _dismiss(self, checks: bool) -> None:
        with self._lock:
            if (hired := self._hired.pop(checks, None)) is not None:
                hired.stack.close()


@dataclass(slots=True)
class _Hired:
    child: Child
    stack: ExitStack
    line: int | None  # a file descriptor of the child
    done: int = 0


class LocalCrew(PostedCrew):
    """`size` posts of this machine.

    Where they are no more than the processor has cores each is pinned to one: two that share two cores
    otherwise push each other out of their caches.
    """

    def __init__(self, size: int, program: Sequence[str] = WORKER) -> None:
        cores = sorted(os.sched_getaffinity(0))
        pinned: Sequence[int | None] = cores[:size] if 1 < size <= len(cores) else [None] * size
        self._workers = [Workers(core, program) for core in pinned]
        super().__init__(self._workers)

    def close(self) -> None:
        super().close()
        for workers in self._workers:
            workers.close()

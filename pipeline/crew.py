"""Workers that are kept: several processes, each doing one job after another. One that died or hung is
replaced; what it was at is its caller's to decide."""

from __future__ import annotations

import itertools
import os
import queue
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from veilcast.config import Limits
from veilcast.errors import WorkerDied, WorkerError
from veilcast.pipeline.supervise import WORKER, Child, OnProgress, child, silent

Json = dict[str, Any]

STOPPED = "the job was stopped"
RECYCLED_AFTER = 200  # jobs of one process: what native libraries leak ends with it


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


class LocalCrew:
    """`size` processes of this machine. A context manager.

    Where they are no more than the processor has cores each is pinned to one: two that share two cores
    otherwise push each other out of their caches.
    """

    def __init__(self, size: int, program: Sequence[str] = WORKER) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self._program = program
        self._orders: queue.PriorityQueue[_Order] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._closed = threading.Event()
        self._running: set[subprocess.Popen[bytes]] = set()
        pinned = cores[:size] if 1 < size <= len(cores) else [None] * size
        self._threads = [
            threading.Thread(target=self._serve, args=(core,), name=f"crew-{n}", daemon=True)
            for n, core in enumerate(pinned)
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
        for process in list(self._running):
            process.kill()
        for thread in self._threads:
            thread.join()
        self._refuse_waiting()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *rest: object) -> None:
        self.close()

    def _serve(self, core: int | None) -> None:
        """One worker after another, for as long as there is work. What checks outputs has never made any:
        it is a process apart."""
        with ExitStack() as makers, ExitStack() as checkers:
            maker, checker = _Post(makers), _Post(checkers)
            while not self._closed.is_set():
                try:
                    order = self._orders.get(timeout=0.2)
                except queue.Empty:
                    continue
                if order.answer.set_running_or_notify_cancel():
                    post = checker if order.job["task"] == "verify" else maker
                    self._answer(order, self._worker(post, core), post)

    def _worker(self, post: _Post, core: int | None) -> Child:
        """The worker of a post, a new one where there is none or it has done enough."""
        if post.worker is None or post.done == RECYCLED_AFTER:
            post.leave()
            worker = post.stack.enter_context(child(program=self._program))
            self._running.add(worker.process)
            post.stack.callback(self._running.discard, worker.process)
            if core is not None:
                os.sched_setaffinity(worker.process.pid, {core})
            post.worker = worker
        post.done += 1
        return post.worker

    def _answer(self, order: _Order, worker: Child, post: _Post) -> None:
        try:
            order.answer.set_result(worker.perform(order.job, order.limits, order.on_progress))
        except WorkerError as error:
            post.leave()
            order.answer.set_exception(WorkerDied(STOPPED) if self._closed.is_set() else error)
        except BaseException as error:  # noqa: BLE001 (told to whoever waits for the answer)
            order.answer.set_exception(error)

    def _refuse_waiting(self) -> None:
        while True:
            try:
                order = self._orders.get_nowait()
            except queue.Empty:
                return
            if order.answer.set_running_or_notify_cancel():
                order.answer.set_exception(WorkerDied(STOPPED))


class _Post:
    """The place of one worker."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.worker: Child | None = None
        self.done = 0  # jobs of this worker

    def leave(self) -> None:
        self.stack.close()
        self.worker, self.done = None, 0

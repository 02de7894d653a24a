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
        return answer

    def close(self) -> None:
        self._closed.set()
        for process in list(self._running):
            process.kill()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *rest: object) -> None:
        self.close()

    def _serve(self, core: int | None) -> None:
        """One worker after another, for as long as there is work."""
        with ExitStack() as stack:
            worker: Child | None = None
            done = 0
            while not self._closed.is_set():
                try:
                    order = self._orders.get(timeout=0.2)
                except queue.Empty:
                    continue
                if not order.answer.set_running_or_notify_cancel():
                    continue
                if worker is None or done == RECYCLED_AFTER:
                    stack.close()
                    worker, done = self._started(stack, core), 0
                done += 1
                if not self._answer(order, worker):
                    stack.close()
                    worker = None

    def _started(self, stack: ExitStack, core: int | None) -> Child:
        worker = stack.enter_context(child(program=self._program))
        self._running.add(worker.process)
        stack.callback(self._running.discard, worker.process)
        if core is not None:
            os.sched_setaffinity(worker.process.pid, {core})
        return worker

    def _answer(self, order: _Order, worker: Child) -> bool:
        """Whether the worker can go on."""
        try:
            order.answer.set_result(worker.perform(order.job, order.limits, order.on_progress))
        except WorkerError as error:
            order.answer.set_exception(WorkerDied("stopped") if self._closed.is_set() else error)
            return False
        except BaseException as error:  # noqa: BLE001 (told to whoever waits for the answer)
            order.answer.set_exception(error)
        return True

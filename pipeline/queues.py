"""Bounded hand-over between threads: decoding, covering and encoding overlap, since the native
libraries let go of the interpreter's lock while they work."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_WAIT_S = 0.1  # how often a blocked thread looks whether it should stop


class _End:
    """Marks the end of the items; carries what went wrong, if anything did."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


@contextlib.contextmanager
def ahead(items: Iterable[T], depth: int) -> Iterator[Iterator[T]]:
    """`items`, produced in a thread of their own at most `depth` ahead of whoever takes them. What the
    producer raises is raised here, in its place. The thread has ended when the block is left; whoever
    still takes items then, in another thread, gets no more."""
    waiting: queue.Queue[T | _End] = queue.Queue(depth)
    stop = threading.Event()

    def offer(item: T | _End) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                return waiting.put(item, timeout=_WAIT_S)

    def produce() -> None:
        try:
            for item in items:
                offer(item)
                if stop.is_set():
                    return
            offer(_End())
        except BaseException as error:  # noqa: BLE001 (told to the consumer, who raises it)
            offer(_End(error))

    def consume() -> Iterator[T]:
        while True:
            try:
                item = waiting.get(timeout=_WAIT_S)
            except queue.Empty:
                if stop.is_set():  # the block was left while another thread waits here: no more will come
                    return
                continue
            if not isinstance(item, _End):
                yield item
            elif item.error is not None:
                raise item.error
            else:
                return

    thread = threading.Thread(target=produce, name="ahead", daemon=True)
    thread.start()
    try:
        yield consume()
    finally:
        stop.set()
        thread.join()


class Behind(Generic[T]):
    """Calls `consume` for each item in a thread of its own, at most `depth` behind. What it raises is
    raised by the next `put` or when the block is left, so no item is lost unnoticed."""

    def __init__(self, consume: Callable[[T], None], depth: int) -> None:
        self._consume = consume
        self._waiting: queue.Queue[T | _End] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="behind", daemon=True)

    def __enter__(self) -> Behind[T]:
        self._thread.start()
        return self

    def put(self, item: T) -> None:
        self._raise()
        self._waiting.put(item)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._waiting.put(_End())
        self._thread.join()
        if kind is None:
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while not isinstance(item := self._waiting.get(), _End):
            if self._error is not None:
                continue  # keeps the producer from blocking until it looks
            try:
                self._consume(item)
            except BaseException as error:  # noqa: BLE001 (raised in the thread that puts)
                self._error = error

"""Hand-over between threads: order is kept, nothing is lost, errors and ends come through."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from veilcast.pipeline.queues import Behind, ahead


def numbers(count: int, made: list[int]) -> Iterator[int]:
    for n in range(count):
        made.append(n)
        yield n


def failing() -> Iterator[int]:
    yield 1
    raise ValueError("torn tape")


def test_items_come_in_order() -> None:
    with ahead(iter(range(100)), 4) as items:
        assert list(items) == list(range(100))


def test_the_producer_stays_within_its_depth() -> None:
    made: list[int] = []
    with ahead(numbers(1000, made), 4) as items:
        for n in items:
            assert made[-1] <= n + 4 + 2  # the queue, one in the hand of either side
            if n == 50:
                break
    assert len(made) < 60
    assert threading.active_count() <= 2 or all(t.name != "ahead" for t in threading.enumerate())


def drained(items: Iterator[int], got: list[int]) -> None:
    for n in items:
        got.append(n)


def test_what_the_producer_raises_is_raised_in_its_place() -> None:
    got: list[int] = []
    with ahead(failing(), 4) as items, pytest.raises(ValueError, match="torn tape"):
        drained(items, got)
    assert got == [1]


def test_the_consumer_gets_everything_before_the_block_ends() -> None:
    got: list[int] = []
    with Behind(got.append, 3) as out:
        for n in range(50):
            out.put(n)
    assert got == list(range(50))


def refuse(n: int) -> None:
    if n == 3:
        raise OSError("disk full")


def feed(numbers: range, then: Exception | None = None) -> None:
    with Behind(refuse, 2) as out:
        for n in numbers:
            out.put(n)
        if then is not None:
            raise then


def test_what_the_consumer_raises_reaches_the_producer() -> None:
    with pytest.raises(OSError, match="disk full"):
        feed(range(1000))


def test_an_error_on_the_last_item_is_not_lost() -> None:
    with pytest.raises(OSError, match="disk full"):
        feed(range(3, 4))


def test_an_error_of_the_producer_is_not_replaced() -> None:
    with pytest.raises(ValueError, match="mine"):
        feed(range(3, 4), then=ValueError("mine"))


def slowly(stop: threading.Event) -> Iterator[int]:
    yield 0
    stop.wait(20)


def two_threads(items: Iterator[int]) -> Iterator[int]:
    """Takes items in a thread of its own, as what paints faces does."""
    with ahead(items, 1) as later:
        yield from later


def fails_while_a_painter_waits(painted: list[Iterator[int]]) -> None:
    """The encoder fails; the decoder ends its frame, and is stopped."""
    stop = threading.Event()
    with ahead(slowly(stop), 1) as items:
        painted.append(two_threads(items))
        assert next(painted[0]) == 0
        threading.Timer(0.3, stop.set).start()
        raise RuntimeError("disk full")


def test_who_takes_items_in_another_thread_is_let_go_when_the_block_is_left_early() -> None:
    painted: list[Iterator[int]] = []
    started = time.monotonic()
    with pytest.raises(RuntimeError, match="disk full"):
        fails_while_a_painter_waits(painted)
    painted[0].close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 5

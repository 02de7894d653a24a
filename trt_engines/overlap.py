"""Two stages on two streams: the first works on item N+1 while the second works on item N.

On a GPU: detection of the next frame beside synthesis of this one. The second stage waits on the
device for the event behind the first, never on the host; at most `depth` items are under way, each
with buffers of its own, and an item's buffers are used again only behind its event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from veilcast.trt_engines.device import Device, Event, Stream

Item = TypeVar("Item")
Middle = TypeVar("Middle")
Result = TypeVar("Result")


class Overlapped(Generic[Item, Middle, Result]):
    """`first(item, slot, stream)` and `second(item, middle, slot, stream)` give work to their stream and
    return at once; `slot` (0 to depth - 1) says which set of buffers they may use. `finish(result)` is
    called when the item's work is done."""

    def __init__(
        self,
        device: Device,
        first: Callable[[Item, int, Stream], Middle],
        second: Callable[[Item, Middle, int, Stream], Result],
        finish: Callable[[Result], Any],
        depth: int = 2,
    ) -> None:
        self._first, self._second, self._finish = first, second, finish
        self._streams = (device.stream(), device.stream())
        self._depth = depth

    def run(self, items: Iterable[Item]) -> Iterator[Any]:
        """Finished results in the order of the items. An error is raised after the streams ran empty."""
        ahead, behind = self._streams
        waiting: deque[tuple[Result, Event]] = deque()
        try:
            for index, item in enumerate(items):
                slot = index % self._depth
                if len(waiting) == self._depth:
                    yield self._done(waiting)
                middle = self._first(item, slot, ahead)
                behind.wait(ahead.record())
                waiting.append((self._second(item, middle, slot, behind), behind.record()))
            while waiting:
                yield self._done(waiting)
        finally:
            for stream in self._streams:
                stream.synchronize()

    def _done(self, waiting: deque[tuple[Result, Event]]) -> Any:
        """The oldest result. The host waits for it, so work given later may write its buffers again."""
        result, event = waiting.popleft()
        event.synchronize()
        return self._finish(result)

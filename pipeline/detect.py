"""Where the faces are: looks at the frames of a stream, as its schedule asks for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from veilcast.config import Detect, Device
from veilcast.pipeline.cuts import CutFinder, small_luma
from veilcast.pipeline.detectors.candidates import Look
from veilcast.pipeline.detectors.network import (
    CENTERFACE,
    CENTERFACE_FLOAT,
    KINDS,
    YUNET,
    Kind,
    NetworkDetector,
    kind_of,
)
from veilcast.pipeline.looks import LONG_MEMORY, Looker
from veilcast.pipeline.novelty import Watch
from veilcast.pipeline.schedule import (
    WHOLE_EVERY,
    Pass,
    Schedule,
    closest_passes,
    first_passes,
    passes_between,
    still_passes,
)
from veilcast.trt_engines.engine import Engine
from veilcast.trt_engines.models import Models
from veilcast.trt_engines.open import open_engine
from veilcast.types import Face, Frame, Rgb

WORKERS = 2  # looks at a time, one thread each: faster than one look on two threads
WAITING_FRAMES = 16  # that `find_all` holds at most
# a network's place in the schedule -> what runs there: on a GPU not in the eight bits that suit a processor
RUNS: Mapping[Device, Mapping[str, Kind]] = {
    "cpu": {CENTERFACE.name: CENTERFACE, YUNET.name: YUNET},
    "cuda": {CENTERFACE.name: CENTERFACE_FLOAT, YUNET.name: YUNET},
}


class Detector(Protocol):
    """Anything that finds faces in one picture."""

    def detect(self, rgb: Rgb) -> list[Face]:
        """The faces in a picture (h, w, 3), boxes in its pixels."""
        ...


class FaceFinder:
    """The detectors and the schedule of one stream; frames come in order.

    `find` decides frame by frame, for streams; `find_all` gives the same answers for a whole file and
    looks at two frames at a time.
    """

    def __init__(
        self, networks: Mapping[str, NetworkDetector], settings: Detect, whole_every: int = WHOLE_EVERY
    ) -> None:
        self._networks, self._settings = networks, settings
        self._looker = Looker(networks, settings)
        self._schedule = Schedule(settings, whole_every)
        self._cuts, self._watch = CutFinder(), Watch()
        self._lately = deque[Future[Look]](maxlen=LONG_MEMORY)

    def anew(self) -> FaceFinder:
        """The same networks for another stream."""
        return FaceFinder(self._networks, self._settings)

    def find(self, frame: Frame) -> tuple[Face, ...] | None:
        """The faces in `frame`, boxes in displayed pixels; None = it was not looked at."""
        try:
            look = self._begun(frame, *self._passes(frame), at_once)
        except Exception:
            self._schedule.failed()
            raise
        return None if look is None else look.result().faces

    def still(self, frame: Frame) -> tuple[Face, ...]:
        """The faces in a picture that has no neighbours to be found in: the closest look there is, but its
        most costly pass only where something that could be a small face was seen without it."""
        return self._looker.look(frame, still_passes(frame.displayed_size), alone=True).faces

    def find_all(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Look | None]]:
        """Each frame in order with the look that `find` would take at it, None = none, and the last frame
        looked at as well, so that no face can appear behind the last look."""
        waiting: deque[tuple[Frame, Future[Look] | None]] = deque()
        with ThreadPoolExecutor(WORKERS, "look") as pool:
            try:
                for frame in frames:
                    if not self._lately:  # two at a time; a look would open one after the other
                        for step in first_passes(frame.displayed_size):
                            pool.submit(self._networks[step.network].ready, *step.size)
                    waiting.append((frame, self._begun(frame, *self._passes(frame), pool.submit)))
                    # the newest stays: it may be the last one, which is looked at
                    while len(waiting) > WAITING_FRAMES or _looking(waiting) > WORKERS:
                        yield _answer(*waiting.popleft())
                if waiting and waiting[-1][1] is None:
                    last = waiting.pop()[0]
                    passes = closest_passes(last.displayed_size)
                    waiting.append((last, at_once(self._looker.look, last, passes, (), pool.map)))
                while waiting:
                    yield _answer(*waiting.popleft())
            finally:
                for _, look in waiting:
                    if look is not None:
                        look.cancel()

    def _passes(self, frame: Frame) -> tuple[tuple[Pass, ...], bool]:
        """What to run on the frame, and whether that is a look between those that the clock asks for."""
        now, size = small_luma(frame), frame.displayed_size
        self._watch.follow(now)
        urgent = self._cuts.is_cut(now) or self._watch.is_foreign(now)
        passes = self._schedule.passes(frame.time, size, urgent)
        between = not passes and self._watch.is_new(now)
        if passes or between:
            self._watch.looked(now)
        return passes_between(size) if between else passes, between

    def _begun(
        self, frame: Frame, passes: Sequence[Pass], between: bool, submit: Callable[..., Future[Look]]
    ) -> Future[Look] | None:
        """A look of these passes, None = there are none. It is given to `submit`, which does one after the
        other or several at a time, the earlier ones first. One `between` others sees too little of what is
        small to say that somebody is gone, or to be remembered for it."""
        if not passes:
            return None
        # without the last one, which is not done yet: looks at a time would wait for each other
        before = tuple(self._lately)[: 1 - WORKERS]
        if between:
            return submit(partial(self._looker.look, speaks=False), frame, passes, before)
        look = submit(self._looker.look, frame, passes, before)
        self._lately.append(look)
        return look


@contextmanager
def open_networks(
    models: Models,
    device: Device = "cpu",
    open_network: Callable[..., Engine] = open_engine,
    streams: int = 1,
) -> Iterator[dict[str, NetworkDetector]]:
    """The networks of the schedule, one thread a stream. Raises ModelMissing, ModelCorrupt, EngineError, also
    where there is no GPU: nothing falls back."""
    opened = partial(open_network, device=device)
    with ExitStack() as stack:
        yield {
            place: stack.enter_context(
                NetworkDetector(kind, models.file(kind.name), streams=streams, open_network=opened)
            )
            for place, kind in RUNS[device].items()
        }


@contextmanager
def open_detector(
    settings: Detect,
    models: Models,
    device: Device = "cpu",
    open_network: Callable[..., Engine] = open_engine,
) -> Iterator[FaceFinder]:
    """The product's finder. Raises what open_networks raises."""
    with open_networks(models, device, open_network, WORKERS) as networks:
        yield FaceFinder(networks, settings)


def open_one(name_or_path: str | Path, models: Models, threads: int = 1) -> AbstractContextManager[Detector]:
    """ONE network by its role's name, or a site's own ONNX file that speaks like one of them. Raises
    ModelMissing, ModelCorrupt, EngineError."""
    if name_or_path in KINDS:
        return NetworkDetector(KINDS[str(name_or_path)], models.file(str(name_or_path)), threads=threads)
    path = Path(name_or_path)
    return NetworkDetector(kind_of(path), path, threads=threads)


def at_once(look: Callable[..., Look], *given: object) -> Future[Look]:
    """What submits a look by doing it."""
    done: Future[Look] = Future()
    done.set_result(look(*given))
    return done


def _looking(waiting: Iterable[tuple[Frame, Future[Look] | None]]) -> int:
    return sum(look is not None and not look.done() for _, look in waiting)


def _answer(frame: Frame, look: Future[Look] | None) -> tuple[Frame, Look | None]:
    return frame, None if look is None else look.result()

"""Where the faces are: the union of two networks over one picture, on a schedule over frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import cache, partial
from math import prod
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from veilcast.config import Detect, Device
from veilcast.pipeline import tiles
from veilcast.pipeline.cuts import CutFinder, small_luma
from veilcast.pipeline.detectors.candidates import Candidates, Look, joined, nothing, tempered, united
from veilcast.pipeline.detectors.network import (
    CENTERFACE,
    CENTERFACE_FLOAT,
    KINDS,
    YUNET,
    Kind,
    NetworkDetector,
    kind_of,
)
from veilcast.pipeline.novelty import Watch
from veilcast.pipeline.schedule import (
    WHOLE_EVERY,
    Pass,
    Schedule,
    closest_passes,
    in_a_crowd,
    passes_between,
    still_passes,
)
from veilcast.pipeline.transparency import Shown, ways
from veilcast.trt_engines.engine import Engine
from veilcast.trt_engines.models import Models
from veilcast.trt_engines.open import open_engine
from veilcast.types import Face, Frame, Picture, Rgb

WORKERS = 2  # looks at a time, one thread each: faster than one look on two threads
WAITING_FRAMES = 16  # that `find_all` holds at most
# of the weakest detection's score:
SHOWN = 2 / 3  # what is needed to believe that somebody may be there still
FAINT = 0.5  # where the better network has to look
MEMORY = 16  # looks at most that tell where small faces may be
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
        self._networks = networks
        self._settings = settings
        self._schedule = Schedule(settings, whole_every)
        self._cuts, self._watch = CutFinder(), Watch()
        # back to the last thorough one but one at least
        self._lately = deque[Future[Look]](maxlen=min(MEMORY, settings.thorough_every + 2))

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
        passes = still_passes(frame.displayed_size)
        quick = [_from_the_largest(shown, passes).__getitem__ for shown in ways(frame)]
        return self._look(frame, passes, shown=quick).faces

    def find_all(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Look | None]]:
        """Each frame in order with the look that `find` would take at it, None = none, and the last frame
        looked at as well, so that no face can appear behind the last look."""
        waiting: deque[tuple[Frame, Future[Look] | None]] = deque()
        with ThreadPoolExecutor(WORKERS, "look") as pool:
            try:
                for frame in frames:
                    if not self._lately:  # two at a time; a look would open one after the other
                        for step in closest_passes(frame.displayed_size):
                            pool.submit(self._networks[step.network].ready, *step.size)
                    waiting.append((frame, self._begun(frame, *self._passes(frame), pool.submit)))
                    # the newest stays: it may be the last one, which is looked at
                    while len(waiting) > WAITING_FRAMES or _looking(waiting) > WORKERS:
                        yield _answer(*waiting.popleft())
                if waiting and waiting[-1][1] is None:
                    last = waiting.pop()[0]
                    passes = closest_passes(last.displayed_size)
                    waiting.append((last, at_once(self._look, last, passes, (), None, pool.map)))
                while waiting:
                    yield _answer(*waiting.popleft())
            finally:
                for _, look in waiting:
                    if look is not None:
                        look.cancel()

    def _passes(self, frame: Frame) -> tuple[tuple[Pass, ...], bool]:
        """What to run on the frame, and whether that is a look between those that the clock asks for."""
        now, size = small_luma(frame), frame.displayed_size
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
        if between:
            return submit(
                partial(self._look, speaks=False), frame, passes, tuple(self._lately)[: 1 - WORKERS]
            )
        # without the last one, which is not done yet: looks at a time would wait for each other
        look = submit(self._look, frame, passes, tuple(self._lately)[: 1 - WORKERS])
        self._lately.append(look)
        return look

    def _look(
        self,
        frame: Frame,
        passes: Sequence[Pass],
        before: Sequence[Future[Look]] = (),
        shown: Sequence[Shown] | None = None,
        each: Callable[..., Iterator[Candidates]] = map,
        speaks: bool = True,
    ) -> Look:
        """`before`: looks that tell where to look; `shown`: the ways in which it is seen, mostly one;
        `each`: how passes over all of it are done, one after the other or, where no other look is waiting,
        side by side; `speaks`: also of what may be a face, for those who ask whether somebody is gone."""
        size, shown = frame.displayed_size, shown or [cache(way) for way in ways(frame)]
        if _is_crowd(passes, size, before[:-1]):  # without the last, which this one need not wait for yet
            passes = in_a_crowd(passes, size, self._settings.thorough_every)
        found = [said for way in shown for said in self._found(way, passes, size, before, each)]
        seen = joined([candidates for _, candidates in found])
        weak = self._settings.weak
        sure = [(name, c.take(np.flatnonzero(c.scores >= weak))) for name, c in found]
        union = united([joined([c for n, c in sure if n == name]) for name in dict(sure)])
        faces = union.faces("+".join(dict(sure)))
        return Look(tuple(faces), seen.boxes[seen.scores >= SHOWN * weak] if speaks else None, seen)

    def _found(
        self,
        shown: Shown,
        passes: Sequence[Pass],
        size: tuple[int, int],
        before: Sequence[Future[Look]],
        each: Callable[..., Iterator[Candidates]],
    ) -> list[tuple[str, Candidates]]:
        """What each pass says of a picture, beside the name of its network."""
        # the longest first, so that those that are done side by side end together
        whole = sorted((step for step in passes if not step.near), key=lambda step: -prod(step.size))
        said = dict(zip(whole, each(lambda step: self._whole(shown, step, size), whole), strict=True))
        found = [(step.network, said[step]) for step in passes if step in said]
        for step in passes:
            if step.near:
                known = [seen for _, seen in found] + [look.result().candidates for look in before]
                found.append((step.network, self._near(shown, step, size, joined(known))))
        return found

    def _whole(self, shown: Shown, step: Pass, size: tuple[int, int]) -> Candidates:
        """What a pass says of a frame of displayed `size`, in its pixels."""
        seen = self._seen(step.network, shown(step.size))
        return seen.moved(size[0] / step.size[0], size[1] / step.size[1])

    def _near(self, shown: Shown, step: Pass, size: tuple[int, int], known: Candidates) -> Candidates:
        """The same around what is `known` and small for the pass; of the whole picture on a GPU, where
        nothing is cut up."""
        scale = step.size[0] / size[0], step.size[1] / size[1]
        spots = tiles.small(known.moved(*scale).boxes)
        if not len(spots):
            return nothing()
        drawn = shown(step.size)
        if not isinstance(drawn, np.ndarray):
            return self._whole(shown, step, size)
        parts = [
            tiles.at_home(self._seen(step.network, tiles.cut(drawn, place)), place, step.size)
            for place in tiles.around(spots, step.size)
        ]
        return joined(parts).moved(1 / scale[0], 1 / scale[1])

    def _seen(self, name: str, shown: Rgb | Picture) -> Candidates:
        """What one network says, in pixels of what it is shown, scores on the common scale."""
        network = self._networks[name]
        faint = FAINT * self._settings.weak
        seen = network.candidates(shown, network.kind.own(faint))
        return tempered(replace(seen, scores=network.kind.common(seen.scores)), faint)


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


def _is_crowd(passes: Sequence[Pass], size: tuple[int, int], before: Sequence[Future[Look]]) -> bool:
    """Whether looks before saw so much that is small that the look's parts of the picture are the whole."""
    near = next((step.size for step in passes if step.near), None)
    if near is None or not before:
        return False
    known = joined([look.result().candidates for look in before])
    spots = tiles.small(known.moved(near[0] / size[0], near[1] / size[1]).boxes)
    return tiles.around(spots, near) == [(0, 0, *near)]


def _from_the_largest(way: Shown, passes: Sequence[Pass]) -> dict[tuple[int, int], Rgb | Picture]:
    """The picture at each size, in less time than each would take: smaller ones are made of the largest."""
    sizes = {p.size for p in passes}
    largest = max(sizes, key=prod)
    shown = way(largest)
    if not isinstance(shown, np.ndarray):
        return {size: way(size) for size in sizes}  # on a GPU, which has its own way
    return {s: shown if s == largest else cv2.resize(shown, s, interpolation=cv2.INTER_AREA) for s in sizes}


def at_once(look: Callable[..., Look], *given: object) -> Future[Look]:
    """What submits a look by doing it."""
    done: Future[Look] = Future()
    done.set_result(look(*given))
    return done


def _looking(waiting: Iterable[tuple[Frame, Future[Look] | None]]) -> int:
    return sum(look is not None and not look.done() for _, look in waiting)


def _answer(frame: Frame, look: Future[Look] | None) -> tuple[Frame, Look | None]:
    return frame, None if look is None else look.result()

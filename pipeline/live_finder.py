"""What looks for faces in a stream: it can be told to do less, and starts anew with each connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from veilcast.config import Detect
from veilcast.pipeline.detect import FaceFinder
from veilcast.pipeline.detectors.network import CENTERFACE, YUNET, NetworkDetector
from veilcast.pipeline.overload import Level
from veilcast.pipeline.schedule import Pass, Schedule, closest_passes, coarse, detail
from veilcast.trt_engines.models import Models
from veilcast.types import Face, Frame

Networks = Mapping[str, NetworkDetector]


class LiveFinder(FaceFinder):
    """`level` may be set between frames."""

    def __init__(self, networks: Networks, settings: Detect) -> None:
        super().__init__(networks, settings)
        self.level = Level.FULL
        seldom = settings.model_copy(update={"look_s": min(2 * settings.look_s, 0.5)})
        self._seldom = Schedule(seldom)

    def find(self, frame: Frame, urgent: bool = False) -> tuple[Face, ...] | None:
        """The faces in `frame`, boxes in displayed pixels; None = it was not looked at. The schedule is the
        finder's, cuts are seen by whoever asks: not every frame comes by here."""
        schedule = self._seldom if self.level >= Level.STEPS else self._schedule
        passes = schedule.passes(frame.time, frame.displayed_size, urgent)
        if passes and self.level >= Level.SCALES:
            passes = light_passes(frame.displayed_size)
        return self._look(frame, passes) if passes else None

    def warm(self, frame: Frame) -> None:
        """Has every network compiled for pictures like `frame`, before any has to be in time."""
        size = frame.displayed_size
        self._look(frame, tuple(dict.fromkeys((*closest_passes(size), *light_passes(size)))))


def light_passes(size: tuple[int, int]) -> tuple[Pass, ...]:
    """Both networks on large faces, the light one on those that show at the picture's own size."""
    width, height = min(size, detail(size))
    return Pass(YUNET.name, (width, height)), Pass(CENTERFACE.name, coarse(size))


@contextmanager
def open_networks(models: Models, threads: int = 1) -> Iterator[Networks]:
    """What a LiveFinder looks with. Raises ModelMissing, ModelCorrupt, EngineError."""
    with ExitStack() as stack:
        yield {
            kind.name: stack.enter_context(NetworkDetector(kind, models.file(kind.name), threads=threads))
            for kind in (CENTERFACE, YUNET)
        }

"""What looks for faces in a stream: it can be told to do less, and starts anew with each connection."""

from __future__ import annotations

from collections.abc import Mapping

from veilcast.config import Detect
from veilcast.pipeline.detect import FaceFinder, at_once
from veilcast.pipeline.detectors.network import CENTERFACE, YUNET, NetworkDetector
from veilcast.pipeline.looks import turned
from veilcast.pipeline.overload import Level
from veilcast.pipeline.schedule import MAX_ENLARGED, Pass, closest_passes, coarse, detail, passes_between
from veilcast.types import Face, Frame

HALVED_PX = 1280 * 720  # above so many pixels the lightest look sees half the size

Networks = Mapping[str, NetworkDetector]


class LiveFinder(FaceFinder):
    """`level` may be set between frames."""

    def __init__(self, networks: Networks, settings: Detect) -> None:
        # parts of pictures have many sizes, and a network is compiled for each: that would come too late here
        super().__init__(networks, settings, whole_every=1)
        self.level = Level.FULL

    def find(self, frame: Frame, urgent: bool = False, new: bool = False) -> tuple[Face, ...] | None:
        """The faces in `frame`, boxes in displayed pixels; None = it was not looked at. The schedule is the
        finder's, cuts and what is new are seen by whoever asks: not every frame comes by here."""
        passes = self._schedule.passes(frame.time, frame.displayed_size, urgent)
        between = new and not passes
        if between:
            passes = passes_between(frame.displayed_size)
        if passes and self.level >= Level.SCALES:
            lighter = lightest_passes if self.level >= Level.STEPS else light_passes
            passes = lighter(frame.displayed_size)
        look = self._begun(frame, passes, between, at_once)
        return None if look is None else look.result().faces

    def warm(self, frame: Frame) -> None:
        """Has every network compiled for pictures like `frame`, before any has to be in time."""
        for shown in (frame, turned(frame, 1)):
            size = shown.displayed_size
            steps = (*closest_passes(size), *light_passes(size), *lightest_passes(size))
            self._looker.look(shown, tuple(dict.fromkeys(steps)))


def light_passes(size: tuple[int, int]) -> tuple[Pass, ...]:
    """Both networks on large faces, the light one on those that show at the picture's own size."""
    width, height = min(size, detail(size))
    return Pass(YUNET.name, (width, height)), Pass(CENTERFACE.name, coarse(size, MAX_ENLARGED))


def lightest_passes(size: tuple[int, int]) -> tuple[Pass, ...]:
    """As `light_passes`, in half the size where the picture is large: shows faces of 24 px in full HD."""
    (light, own), (better, large) = ((step.network, step.size) for step in light_passes(size))
    scale = 2 if own[0] * own[1] > HALVED_PX else 1
    return Pass(light, (own[0] // scale, own[1] // scale)), Pass(better, (large[0] // 2, large[1] // 2))

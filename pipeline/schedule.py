"""When to look for faces, and how closely: pure rules over time and the size of the picture.

A look costs far more than a frame, and between two looks the tracker knows where a face is, so a
frame is looked at only every `look_s` seconds, and where it shows what the last look cannot have seen
(novelty.py). A look has passes: a network over the picture at one
scale. Which network sees which scale in which look was chosen by benchmarks/recall.py and speed.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, prod, sqrt

from veilcast.config import Detect
from veilcast.pipeline.detectors.network import CENTERFACE, YUNET

DETAIL_PX = 1920 * 1088  # pixels of the picture in which faces of 12 px are found
COARSE = 2  # how many times smaller each side of the one is in which faces may be large
SLACK_S = Fraction(2, 1000)  # containers that count in milliseconds round the times of frames
USUAL_RATE, FIRST_S = (
    25,
    1.0,
)  # frames a second, which a stream is believed to have had so long before it began
ENLARGED = 1.5  # at most, in a video: neighbouring frames show what one of them hides
MAX_ENLARGED = 2.0  # where a look has to do alone; more than this shows a network nothing new
WHOLE_EVERY = 4  # how many thorough looks one sees the whole picture in detail, and not only parts of it
LIGHT_EVERY = 2  # the same of quick looks
TURNS = (1, 3, 2)  # quarters by which one look after the other turns the picture
CLOSE_EVERY = 11  # how many looks one sees what is small in the turned picture, each time turned otherwise
SMALL_SHARE = 0.5  # of DETAIL_PX: a picture that is looked at in fewer pixels is small


@dataclass(frozen=True, slots=True)
class Pass:
    """One network over the picture at one size (width, height). `near`: only around what was small in this
    look and the last ones before it. `turns`: quarters clockwise by which the picture, and its size, are
    turned, to see whether somebody lies there."""

    network: str
    size: tuple[int, int]
    near: bool = False
    turns: int = 0

    def turned(self, quarters: int) -> Pass:
        """The same pass over a picture that is turned for all of the look."""
        return replace(self, size=turned(self.size, quarters))


class Schedule:
    """Tells for each frame, in order, what to do with it. Its state is the time of the last look, and how
    fast frames come: the clock of some cameras counts bursts of them as a moment.
    `whole_every`: see WHOLE_EVERY; 1 = no look sees parts only."""

    def __init__(self, settings: Detect, whole_every: int = WHOLE_EVERY) -> None:
        self._settings = settings
        self._whole_every = whole_every
        self._last: Fraction | None = None
        self._looks = 0
        self._start: Fraction | None = None
        self._frames = self._since = 0  # all of them, and those since the last look

    def passes(self, time: Fraction, size: tuple[int, int], urgent: bool) -> tuple[Pass, ...]:
        """What to run on the frame at `time`, whose displayed size is `size`; empty = do not look.
        `urgent`: look whatever the time is, as closely as can be."""
        self._frames, self._since = self._frames + 1, self._since + 1
        if not (urgent or self._is_due(time) or self._since >= self._most(time)):
            return ()
        self._since = 0
        begins, self._last = self._last is None, time
        self._looks = 0 if urgent or begins else self._looks + 1
        if begins:
            return first_passes(size)
        if urgent:
            return closest_passes(size)
        turns, close = TURNS[self._looks % len(TURNS)], self._looks % CLOSE_EVERY == 0
        return *self._upright(size), lying_pass(size, turns, close=close)

    def _upright(self, size: tuple[int, int]) -> tuple[Pass, ...]:
        number, rest = divmod(self._looks, thorough_every(size, self._settings.thorough_every))
        if rest:
            return quick_passes(size, near=(self._looks - number) % min(LIGHT_EVERY, self._whole_every) != 0)
        return thorough_passes(size, near=number % self._whole_every != 0)

    def failed(self) -> None:
        """The look that was asked for came to nothing: the next frame is looked at as the first one is."""
        self._last = None

    def _is_due(self, time: Fraction) -> bool:
        # a clock that jumps back is no reason to wait until it has caught up
        passed = None if self._last is None else time - self._last
        return passed is None or passed < 0 or passed >= Fraction(self._settings.look_s) - SLACK_S

    def _most(self, time: Fraction) -> int:
        """Frames from one look to the next at the rate at which they came so far."""
        self._start = time if self._start is None else self._start
        passed_s = max(float(time - self._start), 0.0) + FIRST_S
        rate = (self._frames - 1 + FIRST_S * USUAL_RATE) / passed_s
        return max(1, ceil(self._settings.look_s * rate))


def thorough_every(size: tuple[int, int], most: int) -> int:
    """Every how many looks is a thorough one: `most`, and fewer where the picture is small, as are its faces
    then, and the better network costs less."""
    width, height = detail(size)
    return min(most, ceil(most * sqrt(width * height / DETAIL_PX)))


def thorough_passes(size: tuple[int, int], near: bool = False) -> tuple[Pass, ...]:
    """The better network on small faces: the light one has seen the frames before. Both on large ones."""
    return *large_passes(size), Pass(CENTERFACE.name, detail(size), near)


def large_passes(size: tuple[int, int], enlarged: float = ENLARGED) -> tuple[Pass, ...]:
    """Both networks on large faces: what is out of focus or in the dark is often seen by one alone."""
    small = coarse(size, enlarged)
    return Pass(CENTERFACE.name, small), Pass(YUNET.name, small)


def in_a_crowd(passes: Sequence[Pass], size: tuple[int, int], most: int) -> tuple[Pass, ...]:
    """The same look where what is small is all over the picture: parts of it would be the whole. In a small
    picture the better network, which sees it in detail then, finds nothing more in the coarse one, and the
    quick looks, where there are any, have both. `most`: see `thorough_every`."""
    whole = tuple(replace(step, near=False) for step in passes)
    detailed = Pass(CENTERFACE.name, detail(size))
    large = prod(detailed.size) > SMALL_SHARE * DETAIL_PX
    if detailed not in whole or large or thorough_every(size, most) == 1:
        return whole
    return tuple(step for step in whole if step.network != CENTERFACE.name or step == detailed)


def closest_passes(size: tuple[int, int]) -> tuple[Pass, ...]:
    """All of both: for a frame that has no other look near it on one side."""
    lying = (lying_pass(size, turns) for turns in TURNS)
    return tuple(dict.fromkeys((*thorough_passes(size), *quick_passes(size), *lying)))


def first_passes(size: tuple[int, int]) -> tuple[Pass, ...]:
    """The same, and more closely for who lies: a camera may hang upside down."""
    return *closest_passes(size), *(lying_pass(size, turns, close=True) for turns in TURNS)


def still_passes(size: tuple[int, int]) -> tuple[Pass, ...]:
    """All of both for a picture that is alone; what costs most only near what the rest takes for small."""
    costly = Pass(CENTERFACE.name, detail(size, MAX_ENLARGED), near=True)
    lying = (lying_pass(size, turns) for turns in TURNS)
    return *quick_passes(size, MAX_ENLARGED), costly, *lying


def lying_pass(size: tuple[int, int], turns: int, close: bool = False) -> Pass:
    """Whether there could be faces in the turned picture: a glance, which costs little and sees large ones;
    where it is `close`, small ones too."""
    seen = detail(size) if close else coarse(size, 1)
    return Pass(YUNET.name, turned(seen, turns), turns=turns)


def turned(size: tuple[int, int], quarters: int) -> tuple[int, int]:
    """Width and height of a picture that is turned."""
    return size[::-1] if quarters % 2 else size


def passes_between(size: tuple[int, int]) -> tuple[Pass, ...]:
    """For what is large enough to be seen as new, besides what the time asks for."""
    return quick_passes(size, near=True)


def quick_passes(size: tuple[int, int], enlarged: float = ENLARGED, near: bool = False) -> tuple[Pass, ...]:
    """The light network on small faces, at a third of the cost; both on large ones."""
    return Pass(YUNET.name, detail(size, enlarged), near), *large_passes(size, enlarged)


def detail(size: tuple[int, int], enlarged: float = ENLARGED) -> tuple[int, int]:
    """The size at which small faces are looked for; `enlarged`: how many times the picture's at most."""
    width, height = size
    scale = min(enlarged, (DETAIL_PX / (width * height)) ** 0.5)
    # a little smaller is as good, and the picture itself needs no scaling
    scale = 1.0 if 1.0 <= scale < 1.1 else scale
    return max(1, round(width * scale)), max(1, round(height * scale))


def coarse(size: tuple[int, int], enlarged: float = ENLARGED) -> tuple[int, int]:
    """The size at which large faces are looked for."""
    width, height = detail(size, enlarged)
    return max(1, width // COARSE), max(1, height // COARSE)

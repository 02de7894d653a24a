"""When looks that see nothing end a cover, and when they do not."""

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction

import numpy as np
import pytest

from veilcast.config import Tracking
from veilcast.trackers.absence import shows
from veilcast.trackers.base import Observation
from veilcast.trackers.smoothing import smooth
from veilcast.types import Box, Boxes, Face, Points

SIZE = (640, 360)
RATE = 25
EVERY = 4  # frames from look to look
NOTHING: Boxes = np.empty((0, 4), np.float32)
LIT = np.random.default_rng(0).integers(40, 160, (18, 32)).astype(np.uint8)
WHITE = np.full((18, 32), 255, np.uint8)


def box(x: float, side: float = 40) -> Box:
    return Box(x - side / 2, 180 - side / 2, x + side / 2, 180 + side / 2)


def faint(x: float, side: float = 40) -> Boxes:
    return np.array([[x - side / 2, 180 - side / 2, x + side / 2, 180 + side / 2]], np.float32)


def covered(
    seen: Sequence[int],
    shown: Mapping[int, Boxes | None] | Boxes | None = NOTHING,
    faintly: Sequence[int] = (),
    speed: float = 0,
    astray: Mapping[int, float] = {},
    cut: int | None = None,
    white: Collection[int] = (),
    five: Points | None = None,
) -> list[int]:
    """The frames of 120 in which a face is covered that looks see in the frames `seen`, in those of `faintly`
    hardly, at x = 100 + speed * frame or where it is `astray`. shown: what every look, or one look each,
    could take for a face. white: frames of a flash, in which there is nothing to be seen. five: the face's
    landmarks."""
    frames = []
    for n in range(120):
        if n % EVERY and n != cut:
            frames.append(Observation(n, Fraction(n, RATE), None, cells=WHITE if n in white else LIT))
            continue
        face = Face(box(astray.get(n, 100 + speed * n)), 0.25 if n in faintly else 0.9, five)
        told = shown.get(n, NOTHING) if isinstance(shown, Mapping) else shown
        cells = WHITE if n in white else LIT
        frames.append(Observation(n, Fraction(n, RATE), (face,) if n in seen else (), n == cut, told, cells))
    return [n for n, tracks in enumerate(smooth(frames, Tracking(), SIZE, strong=0.33)) if tracks]


def test_cover_reaches_from_a_detection_to_the_looks_beside_it_that_see_nothing_and_no_farther() -> None:
    assert covered(range(40, 61, EVERY)) == list(range(37, 64))


def test_looks_into_a_flash_say_nothing_of_the_frames_around_it() -> None:
    """At a press call every second look may see nothing but white."""
    flashes = [48, 52, 60]
    seen = [n for n in range(40, 77, EVERY) if n not in flashes]
    around = set(range(37, 76)) - set(flashes)
    assert set(covered(seen, white=flashes)) >= around
    assert not set(covered(seen)) >= around


@pytest.mark.parametrize("quarters", range(4))
def test_who_lies_is_not_gone_where_looks_see_those_alone_who_stand(quarters: int) -> None:
    """Every third look turns the picture so that they are seen."""
    upright = np.array([[0.3, 0.3], [0.7, 0.3], [0.5, 0.5], [0.3, 0.8], [0.7, 0.8]])
    turn = np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), quarters)
    out = covered(range(40, 89, 3 * EVERY), five=((upright - 0.5) @ turn.T).astype(np.float32))
    assert (set(out) >= set(range(40, 89))) == (quarters > 0)


def test_a_look_that_nobody_speaks_for_ends_nothing() -> None:
    lead, lag = Tracking().lead_s * RATE, (Tracking().lag_s + Tracking().hold_s) * RATE
    assert covered(range(40, 61, EVERY), None) == list(range(40 - int(lead), 60 + int(lag) + 1))
    assert covered(range(40, 61, EVERY), {64: None, 68: None})[-1] == 71, "up to the next that speaks"


def test_one_look_that_sees_nothing_may_have_missed_a_face() -> None:
    assert covered([*range(20, 41, EVERY), *range(48, 69, EVERY)]) == list(range(17, 72))


@pytest.mark.parametrize("speed", [0, 3])
def test_two_looks_running_that_see_nothing_open_a_gap_between_them(speed: float) -> None:
    out = covered([*range(20, 41, EVERY), *range(56, 77, EVERY)], speed=speed)
    assert out == [*range(17, 44), *range(53, 80)]


@pytest.mark.parametrize("speed", [0, 3])
def test_something_faint_where_a_face_should_be_keeps_it_covered(speed: float) -> None:
    along = {n: faint(104 + speed * n, 50) for n in range(0, 120, EVERY)}
    seen, around = [*range(40, 61, EVERY), *range(80, 93, EVERY)], set(range(32, 100))
    assert around <= set(covered(seen, along, speed=speed))
    assert not around <= set(covered(seen, speed=speed))


@pytest.mark.parametrize("other", [faint(160), faint(100, 200), faint(100, 8)])
def test_something_faint_elsewhere_or_of_another_size_is_not_that_face(other: Boxes) -> None:
    assert covered(range(40, 61, EVERY), other) == list(range(37, 64))


def test_what_is_seen_again_faintly_by_one_look_of_two_is_covered_on_both_sides_of_it() -> None:
    out = covered(range(20, 41, EVERY), {48: faint(100)})
    assert out == list(range(17, 52)), "the lag ends before the next two that see nothing"


def test_the_faintest_detection_holds_a_quarter_as_far() -> None:
    assert covered(range(40, 61, EVERY), faintly=[60])[-1] == 61
    assert covered(range(40, 61, EVERY), {68: faint(100)}, faintly=[60])[-1] > 63


def test_a_scene_that_ends_after_one_look_that_saw_nothing_ends_covered() -> None:
    assert covered(range(40, 61, EVERY), cut=67)[-1] == 66


def test_beyond_a_look_that_sees_nothing_a_track_goes_back_only_to_what_lies_near() -> None:
    later = range(44, 61, EVERY)
    assert covered([36, *later], faintly=[36])[0] == 35
    assert covered([36, *later], faintly=[36], astray={36: 136})[0] == 41
    assert covered([36, *later], {40: faint(110)}, faintly=[36], astray={36: 136})[0] < 36


def test_boxes_count_by_their_centre() -> None:
    assert shows(faint(118), box(100))
    assert not shows(faint(122), box(100))
    assert not shows(NOTHING, box(100))

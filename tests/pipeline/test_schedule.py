"""When frames are looked at, and how closely."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import pairwise

import pytest

from veilcast.config import Detect
from veilcast.pipeline.detectors.network import CENTERFACE
from veilcast.pipeline.schedule import (
    DETAIL_PX,
    MAX_ENLARGED,
    Pass,
    Schedule,
    closest_passes,
    coarse,
    detail,
    first_passes,
    in_a_crowd,
    quick_passes,
    thorough_every,
    thorough_passes,
)

Passes = Callable[..., tuple[Pass, ...]]
SIZE = (1920, 1080)
SETTINGS = Detect(look_s=0.2, thorough_every=3)


def upright(passes: Iterable[Pass]) -> tuple[Pass, ...]:
    return tuple(step for step in passes if not step.turns)


def looks(rate: int, seconds: int = 2, urgent: frozenset[int] = frozenset()) -> list[int]:
    schedule = Schedule(SETTINGS)
    return [n for n in range(rate * seconds) if schedule.passes(Fraction(n, rate), SIZE, urgent=n in urgent)]


@pytest.mark.parametrize("rate", [10, 25, 30, 60])
def test_looks_are_as_dense_in_time_at_every_frame_rate(rate: int) -> None:
    times = [n / rate for n in looks(rate, seconds=12)]
    assert times[0] == 0
    gaps = [b - a for a, b in pairwise(times)]
    assert max(gaps) < 0.2 + 1 / rate
    settled = [b - a for a, b in pairwise(times) if a > 9]  # until then they may be denser where frames are
    assert min(settled) >= 0.2 - 0.002 - 1.01 / rate
    assert rate > 30 or min(gaps) >= 0.2 - 0.002 - 1e-9


def test_frames_that_come_in_bursts_are_looked_at_as_often_as_others() -> None:
    """Eight frames two milliseconds apart, then a gap: the clock alone would look at one of them."""
    schedule = Schedule(SETTINGS)
    times = [Fraction(8 * burst, 25) + Fraction(n, 500) for burst in range(12) for n in range(8)]
    seen = [n for n, time in enumerate(times) if schedule.passes(time, SIZE, urgent=False)]
    assert max(b - a for a, b in pairwise(seen)) <= 7  # 5 are a fifth of a second of 25 frames


def test_slow_footage_is_looked_at_frame_by_frame() -> None:
    assert looks(4) == list(range(8))


def test_the_first_frame_after_a_cut_is_looked_at_closely() -> None:
    schedule = Schedule(SETTINGS)
    schedule.passes(Fraction(0), SIZE, urgent=False)
    after = schedule.passes(Fraction(1, 25), SIZE, urgent=True)
    assert after == closest_passes(SIZE)
    assert set(after) > set(thorough_passes(SIZE))
    assert schedule.passes(Fraction(2, 25), SIZE, urgent=False) == ()


def test_every_third_look_is_thorough_and_every_fourth_of_those_sees_the_whole_picture() -> None:
    schedule = Schedule(SETTINGS)
    every = [schedule.passes(Fraction(n, 5), SIZE, urgent=False) for n in range(28)]
    assert every[0] == first_passes(SIZE)
    whole, parts = thorough_passes(SIZE), thorough_passes(SIZE, near=True)
    thorough = {n: upright(passes) for n, passes in enumerate(every) if upright(passes) in (whole, parts)}
    assert list(thorough) == [3, 6, 9, 12, 15, 18, 21, 24, 27]
    assert [n for n, passes in thorough.items() if passes == whole] == [12, 24]


@pytest.mark.parametrize("size", [SIZE, (640, 360)])
def test_every_second_quick_look_sees_the_whole_picture(size: tuple[int, int]) -> None:
    schedule = Schedule(SETTINGS)
    every = [schedule.passes(Fraction(n, 5), size, urgent=False) for n in range(28)]
    whole, parts = quick_passes(size), quick_passes(size, near=True)
    quick = [passes == whole for passes in map(upright, every) if passes in (whole, parts)]
    assert quick == [n % 2 == 1 for n in range(len(quick))]
    assert len(quick) == 28 - 1 - 27 // thorough_every(size, SETTINGS.thorough_every)


def test_a_schedule_that_knows_no_parts_sees_the_whole_picture_each_time() -> None:
    schedule = Schedule(SETTINGS, whole_every=1)
    every = [schedule.passes(Fraction(n, 5), SIZE, urgent=False) for n in range(28)]
    assert not any(step.near for passes in every for step in passes)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1920, 1080), 3), ((3840, 2160), 3), ((1280, 720), 3), ((640, 360), 2), ((320, 240), 1)],
)
def test_small_pictures_are_looked_at_thoroughly_more_often(size: tuple[int, int], expected: int) -> None:
    assert thorough_every(size, 3) == expected
    assert thorough_every(size, 1) == 1


def test_every_look_sees_small_and_large_faces() -> None:
    schedule = Schedule(SETTINGS)
    for n in range(4):
        sizes = {p.size for p in upright(schedule.passes(Fraction(n), SIZE, urgent=False))}
        assert sizes == {detail(SIZE), coarse(SIZE)}


def test_each_look_turns_the_picture_once_and_three_of_them_in_all_ways() -> None:
    schedule = Schedule(SETTINGS)
    first, *later = (schedule.passes(Fraction(n, 5), SIZE, urgent=False) for n in range(10))
    assert {step.turns for step in first} == {0, 1, 2, 3}
    turns = [[step.turns for step in passes if step.turns] for passes in later]
    assert [len(each) for each in turns] == [1] * 9
    assert all(sorted(turns[n : n + 3]) == [[1], [2], [3]] for n in range(7))
    sideways = next(step for step in first if step.turns == 1)
    assert sideways.size == (540, 960)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1920, 1080), (1920, 1080)),
        ((1080, 1920), (1080, 1920)),
        ((640, 360), (960, 540)),  # half as large again: faces of 12 px become 18
        ((3840, 2160), (1928, 1084)),
    ],
)
def test_small_pictures_are_enlarged_and_huge_ones_reduced(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert detail(size) == pytest.approx(expected, abs=2)
    assert detail(size)[0] * detail(size)[1] <= DETAIL_PX * 1.01


def test_a_picture_alone_is_enlarged_more() -> None:
    assert detail((640, 360), MAX_ENLARGED) == (1280, 720)
    assert detail(SIZE, MAX_ENLARGED) == detail(SIZE)


def test_large_faces_are_looked_for_in_half_the_detail() -> None:
    assert coarse((1920, 1080)) == (960, 540)
    assert coarse((640, 360)) == (480, 270)
    assert coarse((1, 1)) == (1, 1)


@pytest.mark.parametrize("passes", [quick_passes, thorough_passes])
@pytest.mark.parametrize("size", [SIZE, (640, 360)])
def test_in_a_crowd_no_look_keeps_to_parts(passes: Passes, size: tuple[int, int]) -> None:
    whole = passes(size)
    if passes is thorough_passes and size != SIZE:
        whole = tuple(p for p in whole if p != Pass(CENTERFACE.name, coarse(size)))
    assert in_a_crowd(passes(size, near=True), size, most=3) == whole


@pytest.mark.parametrize(("size", "most"), [((640, 360), 1), ((320, 240), 3)])
def test_in_a_crowd_large_faces_are_looked_for_by_both_where_no_look_is_quick(
    size: tuple[int, int], most: int
) -> None:
    assert in_a_crowd(thorough_passes(size, near=True), size, most) == thorough_passes(size)


def test_time_that_runs_backward_does_not_blind_the_finder() -> None:
    schedule = Schedule(SETTINGS)
    schedule.passes(Fraction(1000), SIZE, urgent=False)
    seen = [bool(schedule.passes(Fraction(n, 25), SIZE, urgent=False)) for n in range(25)]
    assert sum(seen) >= 4

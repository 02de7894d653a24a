"""Whoever is in the picture between two looks that the clock asks for is looked at all the same."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import cv2
import numpy as np
import pytest
from tests.pipeline.test_detect import GREY, both

from veilcast.config import Detect
from veilcast.pipeline.cuts import small_luma
from veilcast.pipeline.novelty import NEW, Watch, novelty
from veilcast.types import Frame

WHITE = np.full((360, 640), 255, np.uint8)
# walls of large soft patches, darker than what the networks of these tests take for a face
WALLS = [
    cv2.resize(np.random.default_rng(n).uniform(20, 110, (9, 16)), (640, 360), interpolation=cv2.INTER_CUBIC)
    for n in range(4)
]


def shown(index: int, wall: int = 0, x: int | None = None, pan: int = 0) -> Frame:
    plane = np.roll(WALLS[wall], pan, axis=1).astype(np.uint8)
    if x is not None:
        plane[120:216, x : x + 80] = 220
    return Frame(index, index, Fraction(1, 25), (plane,), GREY)


def looked_at(frames: Iterable[Frame]) -> list[int]:
    looks = both(Detect(look_s=0.4)).find_all(frames)
    return [frame.index for frame, look in looks if look is not None]


def test_who_is_there_for_three_frames_is_looked_at() -> None:
    film = [shown(n, x=300 if n in (13, 14, 15) else None) for n in range(31)]
    assert looked_at(film) == [0, 10, 13, 16, 20, 30]


def test_every_shot_of_a_rapid_montage_is_looked_at() -> None:
    assert looked_at(shown(n, wall=n % 4) for n in range(20)) == list(range(20))


def test_a_camera_that_shakes_is_looked_through_more_often_than_one_that_stands_or_turns_slowly() -> None:
    rng = np.random.default_rng(5)
    shaken = looked_at(shown(n, x=300 + int(rng.normal(0, 60))) for n in range(41))
    assert looked_at(shown(n) for n in range(41)) == [0, 10, 20, 30, 40]
    assert looked_at(shown(n, pan=n) for n in range(41)) == [0, 10, 20, 30, 40]
    assert len(shaken) > 25


def test_a_flash_shows_nothing_and_who_looked_into_it_looks_again() -> None:
    film = [shown(n) for n in range(31)]
    for n in (5, 10, 20, 21, 22):
        film[n] = Frame(n, n, Fraction(1, 25), (WHITE,), GREY)
    assert looked_at(film) == [0, 10, 11, 20, 23, 30]


def test_what_moves_a_little_is_nothing_new() -> None:
    before, moved = small_luma(shown(0)), small_luma(shown(1, pan=30))
    assert novelty(moved, before) < NEW <= novelty(small_luma(shown(1, x=300)), before)
    assert novelty(moved, before) < 0.6 * float(np.abs(moved - before).max())


@pytest.mark.parametrize("x", [0, 560])
def test_who_comes_in_at_the_border_is_new(x: int) -> None:
    watch = Watch()
    watch.looked(small_luma(shown(0)))
    assert watch.is_new(small_luma(shown(1, x=x)))


def test_a_picture_of_another_shape_is_foreign() -> None:
    watch = Watch()
    assert not watch.is_foreign(small_luma(shown(0)))
    watch.looked(small_luma(shown(0)).T)
    assert watch.is_foreign(small_luma(shown(1)))
    assert watch.is_new(small_luma(shown(1)))

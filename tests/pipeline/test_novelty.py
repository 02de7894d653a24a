"""Whoever is in the picture between two looks that the clock asks for is looked at all the same."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import pi, sin

import cv2
import numpy as np
import pytest
from tests.pipeline.test_detect import GREY, both

from veilcast.config import Config, Detect, Tracking
from veilcast.pipeline.cuts import GRID, CutFinder, Small, small_luma
from veilcast.pipeline.motion import flow, speed
from veilcast.pipeline.motion import shown as shows
from veilcast.pipeline.novelty import NEW, Watch, novelty
from veilcast.pipeline.stages import observed
from veilcast.trackers.assignment import hull
from veilcast.trackers.smoothing import smooth
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
    slow = [0, 4, 10, 20, 30, 40]  # only after the first look nobody knows how fast
    assert looked_at(shown(n, pan=n) for n in range(41)) == slow
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


def swung(index: int, amplitude: float = 60) -> int:
    """Pixels by which a camera points elsewhere that is swung to and fro in 20 frames."""
    return round(amplitude * sin(2 * pi * index / 20))


def zoomed(index: int, factor: float) -> Frame:
    """A camera that zooms in to `factor` and out again in 20 frames."""
    scale = 1 + (factor - 1) * (0.5 - 0.5 * np.cos(2 * np.pi * index / 20))
    matrix = np.array([[scale, 0, 320 * (1 - scale)], [0, scale, 180 * (1 - scale)]])
    plane = cv2.warpAffine(WALLS[0].astype(np.uint8), matrix, (640, 360))
    return Frame(index, index, Fraction(1, 25), (plane,), GREY)


def test_a_camera_that_is_swung_or_zoomed_is_looked_through_all_the_time() -> None:
    assert len(looked_at(shown(n, pan=swung(n)) for n in range(41))) > 20
    assert len(looked_at(zoomed(n, 2.0) for n in range(41))) > 20


def test_a_motion_that_goes_on_evenly_is_foreseen() -> None:
    assert looked_at(shown(n, pan=2 * n) for n in range(41)) == [0, 2, 10, 20, 30, 40]
    assert len(looked_at(shown(n, pan=8 * n) for n in range(41))) > 10  # far, whatever the tracker believes


def test_noise_is_no_motion() -> None:
    rng = np.random.default_rng(6)
    film = [shown(n) for n in range(41)]
    for n, frame in enumerate(film):
        noisy = np.clip(frame.planes[0] + rng.normal(0, 8, (360, 640)), 0, 255).astype(np.uint8)
        film[n] = Frame(n, n, Fraction(1, 25), (noisy,), GREY)
    assert looked_at(film) == [0, 10, 20, 30, 40]


def speed_of(now: Small, before: Small) -> float:
    return speed(flow(now, before), shows(now))


@pytest.mark.parametrize("pan", [-10, 4, 10, 16])
def test_motion_is_that_of_the_picture(pan: int) -> None:
    cells = pan / (640 / GRID[0])
    now, before = small_luma(shown(1, pan=pan)), small_luma(shown(0))
    assert speed_of(now, before) == pytest.approx(abs(cells), rel=0.35)
    x, y = np.median(flow(now, before)[shows(now)], axis=0)
    assert x == pytest.approx(cells, rel=0.35)
    assert abs(y) < 0.1 * abs(cells)


def test_a_camera_that_turns_round_is_looked_after_though_it_is_as_fast_as_before() -> None:
    watch, film = Watch(), [small_luma(shown(n, pan=5 * n)) for n in (0, 1, 2, 3, 2)]
    for small in film[:3]:
        watch.follow(small)
    watch.looked(film[2])
    watch.follow(film[3])
    assert not watch.is_new(film[3])
    watch.looked(film[3])
    watch.follow(film[4])
    assert watch.is_new(film[4])


def test_light_that_changes_is_no_motion() -> None:
    dark = Frame(1, 1, Fraction(1, 25), ((WALLS[0] - 15).astype(np.uint8),), GREY)
    assert speed_of(small_luma(dark), small_luma(shown(0))) < 0.05


def test_a_picture_that_becomes_its_negative_moves_nowhere() -> None:
    now = small_luma(shown(0))
    assert np.isfinite(flow(np.float32(1) - now, now)).all()


def test_a_person_who_moves_is_no_motion_of_the_camera() -> None:
    assert speed_of(small_luma(shown(1, x=340)), small_luma(shown(0, x=300))) < 0.05


def test_a_look_that_is_answered_late_speaks_of_the_frame_that_was_looked_at() -> None:
    watch, small = Watch(), [small_luma(shown(n, pan=6 * n)) for n in range(9)]
    watch.follow(small[0])
    watch.looked(small[0])
    for n in range(1, 4):
        watch.follow(small[n])
    watch.looked(small[1])  # its answer comes with the fourth frame
    assert not watch.is_new(small[3])
    for n in range(4, 8):
        watch.follow(small[n])
    assert watch.is_new(small[7])


def test_faces_before_a_camera_that_is_swung_are_covered_in_every_frame() -> None:
    film = [shown(n, x=240 + swung(n), pan=swung(n)) for n in range(60)]
    observations = [seen for _, seen in observed(both(Detect()).find_all(film), CutFinder(), Config())]
    for n, tracks in enumerate(smooth(observations, Tracking(), (640, 360), Detect().thresh)):
        cover, left = hull([track.box for track in tracks]), 240 + swung(n)
        assert cover.x0 <= left + 16
        assert cover.x1 >= left + 80 - 16

"""Coverage on pictures whose truth is known by construction."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from veilcast.evaluation.coverage import (
    Sighting,
    changed,
    counted,
    coverage,
    false_cover,
    linked,
    luma,
    ncc,
    shown,
    together,
)
from veilcast.types import Box

Array = NDArray[Any]

FACE = Box(30, 20, 90, 100)


def textured(seed: int = 0, size: tuple[int, int] = (128, 128)) -> Array:
    """A picture with detail at the scale of a face's features."""
    noise = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.asarray((128 + 40 * smooth / smooth.std()).clip(0, 255), np.float32)


def solid(picture: Array, box: Box) -> Array:
    out = picture.copy()
    out[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = 128
    return out


def test_an_untouched_face_is_exposed_and_a_covered_one_is_not() -> None:
    picture = textured()
    assert shown(picture, picture, FACE) == pytest.approx(1)
    assert shown(picture, solid(picture, FACE), FACE) == 0
    assert abs(shown(picture, textured(1), FACE)) < 0.5


def test_exposure_survives_brightness_contrast_and_coding_noise() -> None:
    picture = textured()
    noise = np.random.default_rng(2).normal(scale=6, size=picture.shape).astype(np.float32)
    assert shown(picture, 0.6 * picture + 30 + noise, FACE) > 0.9


def test_a_cover_beside_the_face_leaves_it_exposed() -> None:
    picture = textured()
    assert shown(picture, solid(picture, Box(0, 0, 25, 128)), FACE) > 0.9


def test_correlation_has_its_textbook_values() -> None:
    a = np.tile([1.0, -1.0, 3.0, -3.0], 100)
    b = np.tile([1.0, -1.0, -3.0, 3.0], 100)
    assert ncc(a, 2 * a + 5) == pytest.approx(1)
    assert ncc(a, -a) == pytest.approx(-1)
    assert ncc(a, b) == pytest.approx((1 + 1 - 9 - 9) / 20)


def test_a_flat_original_shown_again_counts_as_exposed() -> None:
    flat = np.full((128, 128), 90, np.float32)
    assert shown(flat, flat, FACE) == 1
    assert shown(flat, np.full_like(flat, 20), FACE) == 0
    assert shown(flat, textured(), FACE) == 0


def clip(correlations: list[float], box: Box = FACE) -> list[list[Sighting]]:
    return [[Sighting(t, box, c)] for t, c in enumerate(correlations)]


def test_one_leaked_frame_among_a_hundred_is_found() -> None:
    found = coverage(clip([0.1] * 40 + [0.99] + [0.1] * 59))
    assert (found.faces, found.exposed, found.longest_run) == (100, 1, 1)
    assert (found.identities, found.identities_exposed) == (1, 1)
    assert found.covered_share == pytest.approx(0.99)


def test_the_longest_run_is_of_consecutive_frames_of_one_face() -> None:
    values = [0.0] * 20
    for t in (2, 3, 4, 8, 9, 10, 11, 15):
        values[t] = 1.0
    assert coverage(clip(values)).longest_run == 4


def test_two_faces_that_leak_in_turn_do_not_make_one_long_run() -> None:
    other = FACE.scaled(1)
    other = Box(other.x0 + 200, other.y0, other.x1 + 200, other.y1)
    frames = [[Sighting(t, FACE, float(t < 5)), Sighting(t, other, float(t >= 5))] for t in range(10)]
    found = coverage(frames)
    assert (found.exposed, found.longest_run, found.identities_exposed) == (10, 5, 2)


def test_a_detection_that_no_neighbouring_frame_confirms_is_not_a_face() -> None:
    frames = clip([1.0, 1.0, 1.0])
    frames[1] = [Sighting(1, Box(300, 300, 340, 340), 1.0)]
    assert counted(frames) == [[False], [False], [False]]
    assert coverage(frames).faces == 0
    assert coverage(frames[1:2], still=True).faces == 1


def test_a_moving_face_keeps_its_track_and_a_jump_starts_a_new_one() -> None:
    boxes = [Box(x, 0, x + 50, 60) for x in (0, 10, 20, 200, 210)]
    assert linked([[Sighting(t, b, 0)] for t, b in enumerate(boxes)]) == [[0], [0], [0], [1], [1]]


def test_clips_add_up() -> None:
    total = together([coverage(clip([1.0] * 3)), coverage(clip([0.0] * 5))])
    assert (total.faces, total.exposed, total.longest_run, total.identities) == (8, 3, 3, 2)


def test_cover_far_from_any_face_is_false_cover() -> None:
    picture = textured(size=(160, 320))
    box = Box(10, 10, 70, 80)
    right = solid(picture, box)
    wrong = solid(right, Box(240, 80, 320, 160))
    assert false_cover(changed(picture, right), [box], 320, 160) == 0
    share = 80 * 80 / (160 * 320)
    assert false_cover(changed(picture, wrong), [box], 320, 160) == pytest.approx(share, rel=0.25)


def test_coding_noise_is_no_change() -> None:
    picture = textured()
    noise = np.random.default_rng(3).normal(scale=5, size=picture.shape).astype(np.float32)
    assert not changed(picture, picture + noise).any()


def test_luma_is_bt601() -> None:
    assert luma(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8))[0] == pytest.approx(
        [0.299 * 255, 0.587 * 255, 0.114 * 255], abs=1
    )

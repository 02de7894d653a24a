"""Steadiness of sequences that move by a known amount."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from veilcast.evaluation.temporal import (
    adjacent_cosine,
    flashes,
    flow,
    jitter,
    light,
    pairwise_cosine,
    tg_id,
    tl_id,
    tlpips,
    visible,
    warping_error,
)

Array = NDArray[Any]


def textured(shift: int = 0, seed: int = 0) -> Array:
    noise = np.random.default_rng(seed).normal(size=(160, 200, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    picture = (128 + 35 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)
    return np.asarray(picture[16:144, 32 - shift : 160 - shift], np.uint8).copy()


def test_identity_that_stands_still_scores_one_and_a_flickering_one_less() -> None:
    still = np.tile(np.eye(4)[0], (10, 1))
    flicker = np.eye(4)[np.arange(10) % 2]
    assert adjacent_cosine(still) == pytest.approx(1)
    assert adjacent_cosine(flicker) == 0
    assert pairwise_cosine(flicker) == pytest.approx(2 * 5 * 4 / (10 * 9))
    assert tl_id(still, still) == tg_id(still, still) == pytest.approx(1)
    assert tl_id(flicker, still) == 0
    assert tl_id(still[:1], still[:1]) is None


def test_frames_that_are_not_neighbours_are_not_compared_as_such() -> None:
    track = np.eye(4)[[0, 0, 1, 1]]
    assert adjacent_cosine(track) == pytest.approx(2 / 3)
    assert adjacent_cosine(track, np.array([0, 1, 6, 7])) == pytest.approx(1)
    assert adjacent_cosine(track, np.array([0, 2, 4, 6])) is None


def test_slow_drift_is_steady_locally_but_not_globally() -> None:
    angle = np.linspace(0, np.pi / 2, 50)
    drift = np.stack([np.cos(angle), np.sin(angle)], 1)
    still = np.tile([1.0, 0], (50, 1))
    assert tl_id(drift, still) > 0.99  # type: ignore[operator]
    assert tg_id(drift, still) < 0.9  # type: ignore[operator]


def test_tlpips_is_zero_where_output_moves_as_the_source_does() -> None:
    steps = np.array([0.1, 0.2, 0.15])
    assert tlpips(steps, steps) == 0
    assert tlpips(steps + 0.05, steps) == pytest.approx(0.05)
    assert tlpips(np.empty(0), np.empty(0)) is None


def test_a_flash_is_what_the_source_does_not_do() -> None:
    dusk = np.full(200, -1.0)
    assert flashes(dusk, dusk) == (0, 0)
    once = dusk.copy()
    once[[20, 40, 60]] += 12
    mean, most = flashes(once, dusk)
    assert mean == pytest.approx(0.18)
    assert most == pytest.approx(12)
    assert flashes(np.empty(0), np.empty(0)) == (None, None)


def test_light_is_measured_in_the_middle_of_a_face() -> None:
    face = np.full((40, 40, 3), 90, np.uint8)
    face[:10] = 255
    assert light(face) == pytest.approx(90)


def test_flow_finds_a_known_shift() -> None:
    field = flow(textured(0), textured(5))
    assert np.median(field[..., 0]) == pytest.approx(5, abs=0.2)
    assert np.median(field[..., 1]) == pytest.approx(0, abs=0.1)


def test_what_moves_with_the_source_has_no_warping_error_and_what_stays_behind_has() -> None:
    forward, backward = flow(textured(0), textured(5)), flow(textured(5), textured(0))
    seen = visible(forward, backward)
    assert 0.8 < seen.mean() < 1
    following = warping_error(textured(0, 1), textured(5, 1), forward, seen)
    stuck = warping_error(textured(0, 1), textured(0, 1), forward, seen)
    assert following < 0.05 * stuck  # type: ignore[operator]


def test_warping_error_of_a_change_of_brightness_is_its_square() -> None:
    still = np.zeros((32, 32, 2), np.float32)
    a = np.full((32, 32, 3), 100, np.uint8)
    b = np.full((32, 32, 3), 151, np.uint8)  # a fifth of the range, in three channels
    assert warping_error(a, b, still, np.ones((32, 32), bool)) == pytest.approx(3 * 0.04)
    assert warping_error(a, b, still, np.zeros((32, 32), bool)) is None


def test_steady_movement_does_not_jitter() -> None:
    points = np.random.default_rng(0).normal(size=(1, 5, 2)) + np.arange(10)[:, None, None] * [[[2.0, -1.0]]]
    assert jitter(points, 10) == pytest.approx(0, abs=1e-9)
    points[::2, :, 0] += 1  # there and back again: second difference of 2
    assert jitter(points, 10) == pytest.approx(0.2)
    assert jitter(points[:2], 10) is None

"""Realness and harm to the surroundings, on pictures with closed-form answers."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from veilcast.evaluation.quality import (
    detectability,
    frechet_distance,
    outside_difference,
    seam_energy,
    sharpness,
)
from veilcast.types import Box

Array = NDArray[Any]

FACE = Box(80, 80, 176, 176)


def noise(sigma: float, seed: int = 0) -> Array:
    picture = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(256, 256)), (0, 0), sigma)
    return np.asarray((128 + 30 * picture / picture.std()), np.float32)


@pytest.mark.parametrize("n", [30, 4000])  # fewer and more than the features
def test_frechet_distance_of_shifted_and_scaled_gaussians(n: int) -> None:
    a = np.random.default_rng(0).normal(size=(n, 40))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6 * n)
    assert frechet_distance(a, a + 0.5) == pytest.approx(40 * 0.25, rel=1e-3)
    # same shape, twice as wide about its own mean: tr(C) (2 - 1)^2
    wide = a.mean(0) + 2 * (a - a.mean(0))
    assert frechet_distance(a, wide) == pytest.approx(np.trace(np.cov(a, rowvar=False)), rel=1e-3)


def test_a_blur_of_known_sigma_costs_its_known_share_of_sharpness() -> None:
    # the mean squared gradient of white noise blurred by s is proportional to 1 / s^4
    start, extra = 2.0, 2.0
    picture = noise(start)
    blurred = picture.copy()
    blurred[76:180, 76:180] = cv2.GaussianBlur(picture, (0, 0), extra)[76:180, 76:180]
    expected = start**2 / (start**2 + extra**2)
    before, after = sharpness(picture, FACE), sharpness(blurred, FACE)
    assert before == pytest.approx(1, rel=0.15)
    assert after / before == pytest.approx(expected, rel=0.1)  # type: ignore[operator]


def test_sharpness_needs_surroundings() -> None:
    assert sharpness(np.full((256, 256), 90, np.float32), FACE) is None
    assert sharpness(noise(2), Box(400, 400, 420, 420)) is None


def test_a_hard_edge_is_a_seam_and_a_feathered_one_is_less() -> None:
    picture = noise(6)
    mask = np.zeros((256, 256), np.float32)
    mask[90:170, 90:170] = 1
    soft = cv2.GaussianBlur(mask, (0, 0), 5)
    hard = seam_energy(picture, picture + 60 * mask, FACE)
    feathered = seam_energy(picture, picture + 60 * soft, FACE)
    assert hard > 2 * feathered > 1  # type: ignore[operator]
    assert seam_energy(picture, picture, FACE) is None


def test_nothing_differs_outside_an_exact_cover() -> None:
    picture = noise(2)
    covered = picture.copy()
    covered[88:168, 88:168] = 16
    assert outside_difference(picture, covered) == 0
    assert outside_difference(picture, covered + 2) == pytest.approx(2, abs=0.05)


def test_a_classifier_tells_marked_faces_and_guesses_on_equal_ones() -> None:
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(40), 5)
    real, fresh = rng.normal(size=(200, 300)), rng.normal(size=(200, 300))
    marked = fresh.copy()
    marked[:, :10] += 1.5
    assert detectability(real, marked, people) > 0.95  # type: ignore[operator]
    assert detectability(real, fresh, people) == pytest.approx(0.5, abs=0.1)
    assert detectability(real, marked, np.zeros(200, int)) is None


def test_the_classifier_is_tested_on_people_it_has_not_seen() -> None:
    # features that only name the person must not help
    rng = np.random.default_rng(1)
    people = np.repeat(np.arange(20), 10)
    own = rng.normal(size=(20, 200))
    real = own[people] + 0.01 * rng.normal(size=(200, 200))
    made = rng.normal(size=(20, 200))[people] + 0.01 * rng.normal(size=(200, 200))
    assert detectability(real, made, people) == pytest.approx(0.5, abs=0.2)

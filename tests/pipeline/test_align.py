"""Faces land on their template, whatever their place, size and turn in the picture."""

from __future__ import annotations

import numpy as np
import pytest

from veilcast.pipeline.align import (
    TEMPLATE_112,
    apply,
    compose,
    crop,
    inverse,
    scale_of,
    similarity,
)
from veilcast.types import Affine


def placed(angle: float, scale: float, x: float, y: float) -> Affine:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, x], [s, c, y]])


@pytest.mark.parametrize("angle", [-2.5, -0.3, 0.0, 1.0, 3.1])
@pytest.mark.parametrize("scale", [0.2, 1.0, 7.0])
def test_a_turned_scaled_and_shifted_face_is_put_back_exactly(angle: float, scale: float) -> None:
    there = placed(angle, scale, 300.0, -40.0)
    assert similarity(apply(there, TEMPLATE_112), TEMPLATE_112) == pytest.approx(inverse(there), abs=1e-9)


def test_the_fit_never_mirrors_a_face() -> None:
    mirrored = TEMPLATE_112 * [-1, 1]
    assert np.linalg.det(similarity(mirrored, TEMPLATE_112)[:, :2]) > 0


def test_no_similarity_fits_noisy_points_better() -> None:
    rng = np.random.default_rng(3)
    seen = apply(placed(0.2, 2.0, 50, 60), TEMPLATE_112) + rng.normal(0, 3, (5, 2))
    best = similarity(seen, TEMPLATE_112)

    def error(affine: Affine) -> float:
        return float(((apply(affine, seen) - TEMPLATE_112) ** 2).sum())

    for _ in range(50):
        other = compose(placed(rng.normal(0, 0.02), 1 + rng.normal(0, 0.02), *rng.normal(0, 0.5, 2)), best)
        assert error(best) <= error(other)


@pytest.mark.parametrize("points", [np.full((5, 2), 7.0), np.full((5, 2), np.nan), np.full((5, 2), np.inf)])
def test_points_that_place_nothing_are_refused(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        similarity(points, TEMPLATE_112)


def test_compose_and_scale() -> None:
    a, b = placed(0.3, 2, 1, 2), placed(-0.8, 0.5, 4, -3)
    points = np.array([[1.0, 2.0], [5.0, -1.0]])
    assert apply(compose(b, a), points) == pytest.approx(apply(b, apply(a, points)))
    assert scale_of(compose(b, a)) == pytest.approx(1.0)


def test_a_crop_shows_what_its_affine_says() -> None:
    picture = np.zeros((90, 120, 3), np.uint8)
    picture[30:60, 40:80] = (250, 120, 10)
    patch = crop(picture, np.array([[1.0, 0, -40], [0, 1, -30]]), 30)
    assert (patch == (250, 120, 10)).all()


def test_a_large_face_is_averaged_down_rather_than_skipped_through() -> None:
    picture = np.zeros((512, 512, 3), np.uint8)
    picture[::8] = 255  # stripes that skipping would keep or lose
    patch = crop(picture, np.array([[1 / 8, 0, 0], [0, 1 / 8, 0]]), 64)
    assert abs(patch[4:-4, 4:-4].astype(int) - 32).max() <= 1

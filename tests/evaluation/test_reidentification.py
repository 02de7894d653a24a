"""Verification and identification on embeddings whose answers are known."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from veilcast.evaluation import attacks
from veilcast.evaluation.reidentification import (
    accept_rate,
    clopper_pearson,
    det_curve,
    impostor_scores,
    pair_scores,
    rank_rate,
    ranks,
    threshold_at_far,
    unit,
)

Array = NDArray[Any]


def people(n: int, dimensions: int = 64, seed: int = 0) -> Array:
    return unit(np.random.default_rng(seed).normal(size=(n, dimensions)))


def noisy(vectors: Array, scale: float, seed: int = 1) -> Array:
    return vectors + scale * np.random.default_rng(seed).normal(size=vectors.shape)


def test_bounds_are_clopper_and_pearsons() -> None:
    assert clopper_pearson(0, 100) == pytest.approx((0, 1 - 0.025 ** (1 / 100)))
    assert clopper_pearson(100, 100) == pytest.approx((0.025 ** (1 / 100), 1))
    assert clopper_pearson(10, 100) == pytest.approx((0.0490, 0.1762), abs=1e-4)  # published tables
    assert clopper_pearson(0, 0) == (0, 1)


def test_the_threshold_lets_at_most_one_impostor_in_a_thousand_pass() -> None:
    scores = np.random.default_rng(0).normal(size=10_000)
    threshold = threshold_at_far(scores, 1e-3)
    assert (scores >= threshold).sum() == 10
    assert (scores >= np.nextafter(threshold, -np.inf)).sum() == 11


def test_too_few_impostors_set_no_threshold() -> None:
    with pytest.raises(ValueError, match="at least 1000"):
        threshold_at_far(np.zeros(999), 1e-3)


def test_the_same_pictures_match_and_shuffled_ones_do_not() -> None:
    faces = people(300)
    impostors = impostor_scores(faces, faces, np.arange(300))
    assert len(impostors) == 300 * 299
    threshold = threshold_at_far(impostors)
    assert accept_rate(pair_scores(faces, noisy(faces, 0.05)), threshold) == 1
    assert (accept_rate(pair_scores(faces, np.roll(faces, 1, 0)), threshold) or 0) < 0.02
    assert accept_rate(np.empty(0), threshold) is None


def test_a_face_that_yields_no_embedding_matches_nobody() -> None:
    assert pair_scores(np.zeros((1, 8)), np.zeros((1, 8)))[0] == 0


def test_the_det_curve_of_perfect_and_of_useless_scores() -> None:
    low, high = np.linspace(0, 0.4, 2000), np.linspace(0.6, 1, 2000)
    assert all(frr == 0 for _, frr in det_curve(high, low))
    useless = det_curve(np.linspace(0, 1, 2000), np.linspace(0, 1, 2000))
    assert all(far + frr == pytest.approx(1, abs=0.01) for far, frr in useless)


def test_rank_is_the_place_of_the_own_person_not_of_the_own_picture() -> None:
    gallery = np.array([[1.0, 0], [0.9, 0.436], [0, 1.0]])
    probe = np.array([[1.0, 0.1]])
    own = np.array([[True, False, False]])
    assert ranks(probe, ["anna"], gallery, ["anna", "anna", "bert"])[0] == 1
    assert ranks(probe, ["bert"], gallery, ["anna", "anna", "bert"])[0] == 2
    assert ranks(probe, ["anna"], gallery, ["anna", "bert", "bert"], own)[0] == 0  # no other picture of her
    assert ranks(probe, ["carl"], gallery, ["anna", "anna", "bert"])[0] == 0


def test_rank_rates_of_a_known_list() -> None:
    places = np.array([1, 1, 3, 6, 0])
    assert rank_rate(places, 1) == pytest.approx(2 / 4)
    assert rank_rate(places, 5) == pytest.approx(3 / 4)
    assert rank_rate(np.zeros(3, int), 1) is None


def test_negation_finds_faces_that_were_pushed_away_from_their_source() -> None:
    faces = people(200) + 3 * people(1, seed=9)  # a narrow cone, as real recognisers have
    mirrored = noisy(2 * faces.mean(0) - faces, 0.02)
    fresh = people(200, seed=5) + 3 * people(1, seed=9)
    who = np.arange(200)
    assert (attacks.negation(mirrored, faces, who) or 0) > 0.9
    assert (attacks.negation(fresh, faces, who) or 0) < 0.05


def test_a_parrot_learns_a_fixed_rotation_but_not_fresh_identities() -> None:
    faces = people(400, 32)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(32, 32)))[0]
    who = np.arange(400)
    assert attacks.calibrated_tar(faces @ turn, faces, who) < 0.05  # type: ignore[operator]
    assert (attacks.parrot(faces @ turn, faces, who) or 0) > 0.9
    assert (attacks.parrot(people(400, 32, seed=7), faces, who) or 0) < 0.05


def test_too_few_people_answer_nothing() -> None:
    assert attacks.parrot(people(10), people(10), np.arange(10)) is None
    assert attacks.negation(people(10), people(10), np.arange(10)) is None


def test_linkage_separates_scopes() -> None:
    one, two = people(1)[0], people(1, seed=4)[0]
    tracks = np.stack([one, one, two, two])
    found = attacks.linkage(
        tracks, np.array([0, 0, 0, 1]), np.array([0, 1, 2, 3]), np.array([0, 0, 1, 1]), threshold=0.9
    )
    assert found["clips_of_one_scope_share"] == 1
    assert found["clips_of_two_scopes_share"] == 0
    assert found["strangers_share"] == pytest.approx(1 / 3)
    assert found["tracks_of_one_clip_share"] is None

"""A sampled identity loses what it shares with real people, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilcast.diffusion.oim import basis, centred, orthogonal, unit

DIMENSIONS = 128


def people(count: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, DIMENSIONS)))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_the_result_is_orthogonal_to_everyone_and_has_unit_norm(count: int, seed: int) -> None:
    real = people(count, seed)
    mapped = orthogonal(people(1, seed + 1)[0], basis(real))
    assert np.abs(real @ mapped).max(initial=0) < 1e-12
    assert np.linalg.norm(mapped) == pytest.approx(1)


def test_without_anyone_to_avoid_the_identity_stays() -> None:
    person = people(1)[0]
    assert orthogonal(person, basis(people(0))) == pytest.approx(person)


def test_it_is_the_nearest_of_all_orthogonal_identities() -> None:
    real, person = people(4), people(1, 9)[0]
    mapped = orthogonal(person, basis(real))
    for other in people(200, 5):
        assert person @ orthogonal(other, basis(real)) <= person @ mapped + 1e-12


def test_the_same_person_twice_counts_once() -> None:
    real = people(3)
    twice = np.concatenate([real, real[:1], real[1:2] * 5])
    assert basis(twice).shape == (DIMENSIONS, 3)


def test_of_a_crowd_the_first_are_avoided() -> None:
    crowd = people(60)
    mapped = orthogonal(people(1, 3)[0], basis(crowd))
    assert np.abs(crowd[:32] @ mapped).max() < 1e-12
    assert np.abs(crowd[32:] @ mapped).max() > 1e-3


def test_whoever_is_one_of_those_to_avoid_has_nothing_left() -> None:
    real = people(3)
    with pytest.raises(ValueError, match="nothing of this identity is left"):
        orthogonal(real[0] + real[1], basis(real))


@pytest.mark.parametrize(
    "bad", [np.zeros(DIMENSIONS), np.full(DIMENSIONS, np.nan), np.full(DIMENSIONS, np.inf)]
)
def test_an_embedding_without_direction_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="must be finite and not zero"):
        centred(bad, np.zeros(DIMENSIONS))


def test_centring_opens_the_narrow_cone_of_the_recogniser() -> None:
    cone = np.zeros(DIMENSIONS)
    cone[0] = 1.0
    raw = unit(cone + 0.4 * people(50))
    close, open_ = raw @ raw.T, centred(raw * 3.7, raw.mean(0)) @ centred(raw, raw.mean(0)).T
    others = ~np.eye(50, dtype=bool)
    assert close[others].mean() > 0.8
    assert abs(open_[others].mean()) < 0.05

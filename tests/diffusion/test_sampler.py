"""Samplers and schedules on distributions whose answer is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from veilcast.diffusion.precond import weights
from veilcast.diffusion.sampler import consistency, euler
from veilcast.diffusion.schedule import checked, mix, times

MEAN, STD = 3.0, 0.5


def ideal(x: np.ndarray, t: float) -> np.ndarray:
    """E[h | x_t = x] for h ~ N(MEAN, STD^2): the best denoiser there is."""
    gain = (1 - t) * STD**2 / ((1 - t) ** 2 * STD**2 + t**2)
    return np.asarray(MEAN + gain * (x - (1 - t) * MEAN))


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=20000)


def test_many_euler_steps_reach_the_data_distribution() -> None:
    found = euler(ideal, noise(), list(times(200)))
    assert found.mean() == pytest.approx(MEAN, abs=0.02)
    assert found.std() == pytest.approx(STD, abs=0.02)


def test_one_step_gives_the_mean_which_is_why_distillation_is_needed() -> None:
    assert euler(ideal, noise(), [1.0]) == pytest.approx(np.full(20000, MEAN))


def test_noise_that_is_the_same_gives_the_same_sample() -> None:
    steps = list(times(4, shift=2.0))
    assert np.array_equal(euler(ideal, noise(1), steps), euler(ideal, noise(1), steps))
    assert not np.array_equal(euler(ideal, noise(1), steps), euler(ideal, noise(2), steps))


def test_consistency_sampling_takes_new_noise_at_every_step() -> None:
    target = noise(7)
    first_guess = 0.5 * target

    def model(x: np.ndarray, t: float) -> np.ndarray:
        return first_guess if t == 1 else np.asarray((x - t * noise(2)) / (1 - t) * 2)

    assert consistency(model, [noise(1), noise(2)], [1.0, 0.4]) == pytest.approx(target)


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0])
def test_every_schedule_starts_at_pure_noise(steps: int, shift: float) -> None:
    found = times(steps, shift)
    assert found[0] == 1.0
    assert len(checked(found)) == steps


def test_a_shift_spends_steps_on_high_noise() -> None:
    assert (times(5, 3.0)[1:] > times(5)[1:]).all()


@pytest.mark.parametrize(
    "bad", [[], [0.9, 0.5], [1.0, 1.0], [1.0, 0.0], [1.0, float("nan")], [[1.0]], [1.0, 0.2, 0.4]]
)
def test_a_schedule_that_would_start_from_the_source_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="must fall from 1"):
        checked(bad)


@pytest.mark.parametrize(("steps", "shift"), [(0, 1.0), (-1, 1.0), (2, 0.0), (2, float("nan"))])
def test_schedules_without_steps_are_refused(steps: int, shift: float) -> None:
    with pytest.raises(ValueError, match="needs steps"):
        times(steps, shift)


@pytest.mark.parametrize("std", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("t", [0.05, 0.3, 0.7, 1.0])
def test_preconditioning_gives_the_network_unit_variance_both_ways(std: float, t: float) -> None:
    rng = np.random.default_rng(1)
    clean = std * rng.normal(size=100_000)
    x = mix(clean, rng.normal(size=100_000), np.float64(t))
    w = weights(np.asarray(t), std)
    assert (w.scale * x).std() == pytest.approx(1, rel=0.02)
    assert ((clean - w.skip * x) / w.out).std() == pytest.approx(1, rel=0.02)


def test_at_the_ends_of_the_flow_it_is_all_network_or_all_input() -> None:
    assert weights(1.0, 2.0) == pytest.approx((0.0, 2.0, 1.0))
    assert weights(0.0, 2.0)[:2] == pytest.approx((1.0, 0.0))

"""What a rendering loses of its command is asked for on top."""

from __future__ import annotations

import numpy as np
import pytest

from veilcast.training.response import BLENDSHAPES, MOST, gains


def answered(slope: float, noise: float = 0.0) -> float:
    """The gain of a blendshape that is shown `slope` times as strongly as it is asked for."""
    rng = np.random.default_rng(0)
    asked = rng.random((4000, BLENDSHAPES))
    shown = 0.1 + slope * asked + noise * rng.standard_normal(asked.shape)
    return float(gains(asked, shown)[0])


@pytest.mark.parametrize(
    ("slope", "gain"), [(1.0, 1.0), (0.5, 2.0), (0.8, 1.25), (1.4, 1.0), (0.1, MOST), (-0.5, 1.0)]
)
def test_half_an_answer_is_asked_for_twice_within_bounds(slope: float, gain: float) -> None:
    assert answered(slope) == pytest.approx(gain, rel=1e-4)


def test_what_scatters_about_the_answer_does_not_change_the_gain() -> None:
    assert answered(0.5, noise=0.2) == pytest.approx(2.0, rel=0.05)


def test_a_blendshape_that_never_moves_is_asked_for_as_it_is() -> None:
    asked = np.full((100, BLENDSHAPES), 0.3)
    assert (gains(asked, asked + np.random.default_rng(0).standard_normal(asked.shape)) == 1).all()

"""Pose, gaze and expression of meshes that were moved by a known amount."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from veilcast.evaluation.utility import (
    blendshape_distance,
    gaze,
    gaze_error,
    interocular,
    landmark_error,
    pose_error_degrees,
)

Array = NDArray[Any]


def mesh(seed: int = 0) -> Array:
    points = np.random.default_rng(seed).normal(scale=30, size=(478, 3))
    points[33], points[133], points[362], points[263] = (-50, 0, 0), (-20, 0, 0), (20, 0, 0), (50, 0, 0)
    points[468], points[473] = (-35, 0, 0), (35, 0, 0)
    return points


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("degrees", [0, 5, 30])
def test_a_known_turn_of_the_head_is_measured(axis: str, degrees: float) -> None:
    face = mesh()
    turned = 1.3 * face @ Rotation.from_euler(axis, degrees, degrees=True).as_matrix().T + [4, -2, 9]
    assert pose_error_degrees(face, turned) == pytest.approx(degrees, abs=1e-4)


def test_an_open_mouth_is_no_turn_of_the_head() -> None:
    face = mesh()
    speaking = face.copy()
    speaking[[13, 14, 17, 152]] += (0, 20, 0)
    assert pose_error_degrees(face, speaking) == pytest.approx(0, abs=1e-4)
    assert landmark_error(face, speaking) > 0


def test_gaze_is_in_eye_widths_and_turns_with_the_head() -> None:
    face = mesh()
    assert gaze(face) == pytest.approx(np.zeros((2, 2)), abs=1e-9)
    aside = face.copy()
    aside[[468, 473], 0] += 6  # a fifth of an eye 30 wide
    assert gaze_error(face, aside) == pytest.approx(0.2)
    tilt = Rotation.from_euler("z", 25, degrees=True).as_matrix().T
    assert gaze_error(face @ tilt, aside @ tilt) == pytest.approx(0.2)
    assert gaze_error(face, face @ tilt) == pytest.approx(0, abs=1e-9)


def test_landmarks_shifted_by_a_tenth_of_the_eye_distance() -> None:
    face = mesh()
    assert interocular(face) == 100
    assert landmark_error(face, face + np.array([10, 0, 0])) == pytest.approx(0.1)


def test_blendshapes_differ_by_their_mean() -> None:
    smile = np.zeros(52)
    smile[:13] = 0.4
    assert blendshape_distance(np.zeros(52), smile) == pytest.approx(0.1)

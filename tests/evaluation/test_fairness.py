"""Groups are what their definitions say."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from veilcast.evaluation.fairness import age_band, grouped, ita_degrees, k_anonymity, tone

Array = NDArray[Any]

POINTS = np.array([[60, 60], [100, 60], [80, 80], [65, 100], [95, 100]], np.float32)


def skin(lightness: float, b: float) -> Array:
    lab = np.tile(np.array([lightness, 12, b], np.float32), (160, 160, 1))
    return np.asarray((cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255).round(), np.uint8)


@pytest.mark.parametrize(
    ("lightness", "b", "degrees", "name"),
    [(70, 20, 45.0, "light"), (50, 20, 0.0, "brown"), (30, 10, -63.4, "dark"), (60, 20, 26.6, "tan")],
)
def test_skin_tone_is_the_typology_angle_of_the_cheeks(
    lightness: float, b: float, degrees: float, name: str
) -> None:
    face = skin(lightness, b)
    face[:55] = 0  # hair
    face[104:] = 255  # collar
    angle = ita_degrees(face, POINTS)
    assert angle == pytest.approx(degrees, abs=2)
    assert tone(angle) == name


def test_bands_hold_every_age() -> None:
    assert [age_band(y) for y in (0, 29.9, 30, 59, 60, 101)] == [
        "under 30",
        "under 30",
        "30 to 44",
        "45 to 59",
        "60 and over",
        "60 and over",
    ]


def test_k_is_the_size_of_the_smallest_group_of_people_not_of_pictures() -> None:
    people = ["a", "a", "a", "b", "c", "c", "c", "d"]
    bands = ["x", "x", "y", "x", "z", "z", "x", "z"]
    assert k_anonymity(people, bands) == 2  # a and b look x most often, c and d z
    assert k_anonymity([*people, "e"], [*bands, "y"]) == 1
    assert k_anonymity([], []) is None


def test_items_without_a_group_are_left_out() -> None:
    assert grouped([1, 2, 3, 4], lambda n: None if n == 4 else "odd" if n % 2 else "even") == {
        "even": [2],
        "odd": [1, 3],
    }

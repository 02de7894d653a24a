"""What of a source's colours its renderings follow."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from veilcast.pipeline import tone
from veilcast.pipeline.tone import calmed, lit_inside, spread_of, tone_of
from veilcast.types import Rgb

SIDE = 128
CORE = cv2.ellipse(np.zeros((SIDE, SIDE), np.float32), (64, 66), (36, 46), 0, 0, 360, 1.0, -1)
NOBODY = np.zeros((SIDE, SIDE), np.float32)


def face(blotch: float, lightness: int = 150) -> Rgb:
    """Skin of one luma with eyes, and a red that comes and goes across it."""
    wave = np.sin(np.linspace(0, 3 * np.pi, SIDE))[None, :, None] * np.ones((SIDE, 1, 1))
    drawn = np.array((lightness + 30, lightness, lightness - 20), float) + blotch * wave * (1.0, -0.509, 0.0)
    for x in (50, 78):
        cv2.circle(drawn, (x, 56), 4, (40, 40, 40), -1)
    rgb: Rgb = np.clip(np.rint(drawn), 0, 255).astype(np.uint8)
    return rgb


def luma(rgb: Rgb) -> np.ndarray:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), float)


def test_a_blotched_face_gets_the_spread_of_its_source_and_keeps_its_drawing() -> None:
    source, drawn = face(6), face(30)
    result = calmed(drawn, CORE, spread_of(source, CORE))
    assert spread_of(drawn, CORE)[0] > 3 * spread_of(source, CORE)[0]
    assert spread_of(result, CORE)[0] == pytest.approx(spread_of(source, CORE)[0], rel=0.4)
    assert np.abs(luma(result) - luma(drawn)).max() <= 2


def test_a_calm_face_stays_as_it_is() -> None:
    drawn = face(6)
    assert np.abs(calmed(drawn, CORE, spread_of(face(30), CORE)).astype(int) - drawn).max() <= 2


def test_over_a_picture_without_colour_no_colour_is_left() -> None:
    grey = cv2.cvtColor(cv2.cvtColor(face(6), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    result = calmed(face(30), CORE, spread_of(grey, CORE))
    assert spread_of(result, CORE).max() < 0.15 * spread_of(face(30), CORE).max()


@pytest.mark.parametrize("lighter", [0.8, 1.25])
def test_a_face_becomes_so_much_lighter_on_average_and_not_at_its_rim(lighter: float) -> None:
    drawn = face(6)
    result = lit_inside(drawn, CORE, np.full(3, lighter))
    assert tone_of(result, CORE, NOBODY) == pytest.approx(lighter * tone_of(drawn, CORE, NOBODY), rel=0.03)
    away = cv2.erode(1 - CORE, np.ones((5, 5), np.uint8)) > 0
    assert np.array_equal(result[away], drawn[away])


def test_neither_needs_a_core() -> None:
    drawn = face(6)
    assert np.array_equal(lit_inside(drawn, NOBODY, np.full(3, 1.2)), drawn)
    assert np.abs(calmed(drawn, NOBODY, spread_of(drawn, NOBODY)).astype(int) - drawn).max() <= 2
    assert tone.times(tone_of(drawn, NOBODY, NOBODY), tone_of(drawn, CORE, NOBODY)).min() > 0

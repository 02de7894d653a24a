"""What of a source's colours its renderings follow."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from veilcast.pipeline.tone import Spread, Tone, spread_of, tone_of, toned
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


def calmed(rgb: Rgb, spread: Spread) -> Rgb:
    return toned(rgb, CORE, NOBODY, tone_of(rgb, CORE, NOBODY), spread)


def luma(rgb: Rgb) -> np.ndarray:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), float)


def test_a_blotched_face_gets_the_spread_of_its_source_and_keeps_its_drawing() -> None:
    source, drawn = face(6), face(30)
    result = calmed(drawn, spread_of(source, CORE))
    assert spread_of(drawn, CORE)[1] > 3 * spread_of(source, CORE)[1]
    assert spread_of(result, CORE)[1] < 1.6 * spread_of(source, CORE)[1]
    assert np.abs(luma(result) - luma(drawn)).max() <= 2


def test_a_calm_face_stays_as_it_is() -> None:
    drawn = face(6)
    assert np.abs(calmed(drawn, spread_of(face(30), CORE)).astype(int) - drawn).max() <= 2


def lit_from_one_side(contrast: float) -> Rgb:
    """Half of a face in shade."""
    light = 1 + contrast * np.linspace(-1, 1, SIDE)[None, :, None]
    rgb: Rgb = np.clip(np.rint(face(6) * light), 0, 255).astype(np.uint8)
    return rgb


def test_shadows_that_the_source_has_not_are_filled_and_others_stay() -> None:
    even, contrasty = lit_from_one_side(0.05), lit_from_one_side(0.6)
    result = calmed(contrasty, spread_of(even, CORE))
    assert spread_of(result, CORE)[0] < 0.5 * spread_of(contrasty, CORE)[0]
    kept = calmed(contrasty, spread_of(contrasty, CORE))
    assert spread_of(kept, CORE)[0] == pytest.approx(spread_of(contrasty, CORE)[0], rel=0.02)


def test_over_a_picture_without_colour_no_colour_is_left() -> None:
    grey = cv2.cvtColor(cv2.cvtColor(face(6), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    result = calmed(face(30), spread_of(grey, CORE))
    assert spread_of(result, CORE)[1:].max() < 0.15 * spread_of(face(30), CORE)[1:].max()


@pytest.mark.parametrize("lighter", [0.8, 1.25])
def test_a_face_gets_the_tone_of_its_source_and_not_at_its_rim(lighter: float) -> None:
    drawn = face(6)
    wanted: Tone = lighter * tone_of(drawn, CORE, NOBODY)
    result = toned(drawn, CORE, NOBODY, wanted, spread_of(drawn, CORE))
    assert tone_of(result, CORE, NOBODY) == pytest.approx(wanted, rel=0.03)
    away = cv2.erode(1 - CORE, np.ones((9, 9), np.uint8)) > 0
    assert np.abs(result[away].astype(int) - drawn[away]).max() <= 1


def test_hair_and_people_beside_do_not_count() -> None:
    hairy, someone = face(6), NOBODY.copy()
    hairy[:26], someone[80:] = 10, 1
    plain = tone_of(face(6), CORE, NOBODY)
    assert tone_of(hairy, CORE, NOBODY) == pytest.approx(plain, abs=2)
    hairy[80:] = 255
    assert tone_of(hairy, CORE, someone) == pytest.approx(plain, abs=6)


def test_where_nothing_is_replaced_nothing_changes() -> None:
    drawn = face(6)
    result = toned(drawn, NOBODY, NOBODY, tone_of(drawn, NOBODY, NOBODY), spread_of(drawn, NOBODY))
    assert np.abs(result.astype(int) - drawn).max() <= 1

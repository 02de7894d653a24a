"""What becomes of a face that a decoder drew."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from veilcast.pipeline import finish
from veilcast.pipeline.finish import coded, sharpened, steepness, unwoven
from veilcast.types import Rgb

SIDE = 256
CORE = np.zeros((SIDE, SIDE), np.float32)
CORE[40:216, 56:200] = 1


def grain(blur: float, contrast: float = 40) -> Rgb:
    """Grey noise of one fineness."""
    noise = cv2.GaussianBlur(np.random.default_rng(4).normal(size=(SIDE, SIDE)), (0, 0), blur)
    grey = np.clip(120 + contrast * noise / noise.std(), 0, 255).astype(np.uint8)
    rgb: Rgb = cv2.merge([grey, grey, grey])
    return rgb


@pytest.mark.parametrize(("source_blur", "face_blur"), [(1.5, 2.2), (3.0, 1.5)])
def test_a_face_becomes_about_as_sharp_as_the_one_it_replaces(source_blur: float, face_blur: float) -> None:
    steep, face = steepness(grain(source_blur), CORE), grain(face_blur)

    def off(rgb: Rgb) -> float:
        return abs(float(np.log(steepness(rgb, CORE) / steep)))

    assert off(sharpened(face, CORE, steep)) < 0.6 * off(face)


def test_edges_get_no_halos() -> None:
    face = np.full((SIDE, SIDE, 3), 80, np.uint8)
    face[:, SIDE // 2 :] = 170
    soft: Rgb = cv2.GaussianBlur(face, (0, 0), 2.0)
    sharp = sharpened(soft, CORE, 4 * steepness(soft, CORE))
    assert steepness(sharp, CORE) > 1.1 * steepness(soft, CORE)
    assert sharp.min() >= 80 - finish._BEYOND - 1
    assert sharp.max() <= 170 + finish._BEYOND + 1


def test_the_rim_meets_its_surroundings_as_it_was() -> None:
    face = grain(3.0)
    changed = np.abs(sharpened(face, CORE, steepness(grain(1.5), CORE)).astype(int) - face).max(2)
    assert changed[CORE == 0].max() <= 1
    assert changed[40:216, [56, 199]].max() <= 2
    assert changed[100:156, 100:156].max() > 5


def test_of_the_hidden_face_its_sharpness_alone_is_read() -> None:
    source = grain(2.0)
    turned = np.ascontiguousarray(source[::-1, ::-1])
    assert steepness(255 - source, CORE) == pytest.approx(steepness(source, CORE), rel=0.01)
    assert steepness(turned, np.ascontiguousarray(CORE[::-1, ::-1])) == pytest.approx(
        steepness(source, CORE), rel=0.01
    )
    assert steepness(source, np.zeros_like(CORE)) == 0


def test_what_lies_outside_the_face_does_not_count() -> None:
    source = grain(2.0)
    beside = source.copy()
    beside[CORE == 0] = 255 * (np.indices((SIDE, SIDE)).sum(0) % 2)[CORE == 0, None]
    assert steepness(beside, CORE) == pytest.approx(steepness(source, CORE), rel=0.01)


def test_a_flat_source_or_a_flat_face_changes_no_contrast() -> None:
    flat, face = np.full((SIDE, SIDE, 3), 90, np.uint8), grain(3.0)
    assert np.array_equal(sharpened(flat, CORE, steepness(face, CORE)), flat)
    kept = sharpened(face, CORE, steepness(flat, CORE))
    assert np.abs(kept.astype(float) - face).mean() < 2


def test_a_weave_of_diagonals_goes_and_lines_stay() -> None:
    wave = np.sin(np.arange(SIDE) * np.pi / 2)
    face = np.full((SIDE, SIDE, 3), (190, 140, 120), np.uint8)

    def left(pattern: np.ndarray) -> float:
        drawn = np.rint(face + 12 * pattern[..., None]).astype(np.uint8)
        return float((unwoven(drawn).astype(float) - unwoven(face)).std() / (12 * pattern).std())

    assert left(np.outer(wave, wave)) < 0.6
    assert left(np.outer(wave, np.ones(SIDE))) > 0.7


def edges(rgb: Rgb) -> float:
    """How much larger steps of luma are where blocks of a coder meet than elsewhere."""
    steps = np.abs(np.diff(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(float), axis=1)).mean(0)
    meets = np.arange(1, SIDE) % finish._BLOCK == 0
    return float(steps[meets].mean() / steps[~meets].mean())


def test_a_coder_s_traces_show_half_of_its_edges_between_blocks() -> None:
    skin = grain(12.0, 12)
    assert edges(skin) == pytest.approx(1, abs=0.1)
    assert edges(coded(skin)) - 1 < 0.6 * (edges(finish._through_coder(skin)) - 1)


def test_coloured_specks_go_and_colours_stay() -> None:
    face = np.full((SIDE, SIDE, 3), (190, 140, 120), np.uint8)
    specked = face.copy()
    specked[::8, ::8] = (230, 120, 160)

    def chroma(rgb: Rgb) -> np.ndarray:
        return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)[..., 1:], float)

    clean = coded(specked)
    assert chroma(clean).std((0, 1)).max() < 0.2 * chroma(specked).std((0, 1)).max()
    assert np.abs(clean.astype(float).mean((0, 1)) - specked.mean((0, 1))).max() < 3  # a step of the coder's

"""Light may be shared with the source, a face may not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tests.pipeline.synthetic_world import mesh, texture

from veilcast.diffusion import patch
from veilcast.evaluation import coverage
from veilcast.pipeline import likeness
from veilcast.pipeline.likeness import EXPOSED, Lens, Likeness, compare, filled, relit
from veilcast.types import Rgb

SIDE = 128
CORE = patch.mask(mesh(SIDE), SIDE)


def lit(person: int) -> Rgb:
    """A person half in the dark, as by a window."""
    light = np.clip(np.linspace(1.7, 0.2, SIDE), 0, 1.4)[None, :, None]
    soft = 127 + 0.19 * (texture(person, SIDE).astype(float) - 127)
    return np.asarray(np.clip(np.rint(soft * light), 0, 255).astype(np.uint8))


def like(source: Rgb) -> likeness.Like:
    known = Lens(CORE)(source)
    return lambda rgb: compare(Lens(CORE)(rgb), known)


def test_other_people_in_one_light_are_told_apart_by_their_detail() -> None:
    found = compare(Lens(CORE)(lit(1)), Lens(CORE)(lit(2)))
    assert found.luma > EXPOSED
    assert found.detail < 0.5


def test_another_face_in_the_sources_light_may_be_shown_once_its_shadows_are_filled() -> None:
    seen = like(lit(1))
    assert seen(lit(2)).shown
    assert not seen(relit(lit(2), CORE, seen)).shown


@pytest.mark.parametrize("change", ["none", "darker", "noisy", "blurred"])
def test_the_source_itself_is_not_made_showable_by_light(change: str) -> None:
    own = lit(1).astype(float)
    new = {
        "none": own,
        "darker": own * 0.7,
        "noisy": own + np.random.default_rng(0).normal(0, 4, own.shape),
        "blurred": cv2.GaussianBlur(own, (0, 0), 1.0),
    }[change]
    copy = np.clip(np.rint(new), 0, 255).astype(np.uint8)
    assert like(lit(1))(relit(copy, CORE, like(lit(1)))).shown


def test_without_its_look_at_detail_the_source_would_be_relit_and_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(likeness, "COPIED", 1.1)
    with pytest.raises(AssertionError):
        test_the_source_itself_is_not_made_showable_by_light("none")


def test_the_source_whose_shadows_somebody_else_filled_counts_as_shown() -> None:
    assert like(lit(1))(filled(lit(1), CORE, 0.8)).shown


def test_a_face_unlike_its_source_keeps_its_light() -> None:
    seen = like(texture(1, SIDE))
    assert seen(texture(2, SIDE)).luma < 0.8
    assert np.array_equal(relit(texture(2, SIDE), CORE, seen), texture(2, SIDE))


def test_light_is_filled_steadily_and_never_at_the_rim() -> None:
    face = lit(2)
    amounts = [float(np.abs(filled(face, CORE, a).astype(int) - face).mean()) for a in (0.0, 0.2, 0.4, 0.8)]
    assert amounts[0] == 0
    assert amounts == sorted(amounts)
    assert np.array_equal(filled(face, CORE, 0.8)[CORE == 0], face[CORE == 0])
    rim = (CORE > 0) & (cv2.erode(CORE, np.ones((3, 3))) == 0)
    assert np.abs(filled(face, CORE, 0.8).astype(int) - face)[rim].max() <= 12


@pytest.mark.parametrize(
    "found", [Likeness(float("nan"), 0.0), Likeness(0.0, float("nan")), Likeness(0.95, 0.1)]
)
def test_what_is_no_number_counts_as_shown(found: Likeness) -> None:
    assert found.shown


def test_the_background_beside_a_turned_head_does_not_count_as_the_face() -> None:
    beside = np.s_[:, 70:]
    turned = CORE.copy()
    turned[beside] = 0
    wall = [np.full_like(lit(1), 20), np.full_like(lit(1), 20)]
    for picture, person in zip(wall, (1, 2), strict=True):
        picture[:, :70] = 90 + texture(person, SIDE)[:, :70] // 5
        picture[beside] = 255
    one, other = wall
    assert compare(Lens(CORE)(one), Lens(CORE)(other)).shown
    assert not compare(Lens(turned)(one), Lens(turned)(other)).shown
    assert compare(Lens(turned)(one), Lens(turned)(one)).shown


def test_where_nothing_is_hidden_nothing_can_be_said() -> None:
    nowhere = np.zeros_like(CORE)
    assert compare(Lens(nowhere)(lit(1)), Lens(nowhere)(lit(2))).shown


def test_what_evaluation_would_call_the_same_face_counts_as_shown() -> None:
    """Beside the patch's own inner face, the middle of the tracked box is compared."""
    oval = np.zeros_like(CORE)
    oval[10:30, 40:90] = 1
    one, other = lit(1), lit(2).copy()
    other[4:36, 34:96] = one[4:36, 34:96]
    assert not compare(Lens(CORE)(texture(1, SIDE)), Lens(CORE)(texture(2, SIDE))).shown
    assert compare(Lens(CORE, oval)(one), Lens(CORE, oval)(other)).luma > EXPOSED


def test_the_middle_of_a_box_is_what_evaluation_takes() -> None:
    assert likeness.OVAL == coverage.INNER
    assert EXPOSED == coverage.EXPOSED_ABOVE


def test_a_close_up_is_as_like_its_source_as_the_same_face_in_fewer_pixels() -> None:
    a, b = lit(1), np.asarray(lit(1) * 0.6 + lit(2) * 0.4, np.uint8)
    large = [cv2.resize(face, (256, 256), interpolation=cv2.INTER_CUBIC) for face in (a, b)]
    core = cv2.resize(CORE, (256, 256), interpolation=cv2.INTER_NEAREST)
    small = compare(Lens(CORE)(a), Lens(CORE)(b))
    found = compare(Lens(core)(large[0]), Lens(core)(large[1]))
    assert found.luma == pytest.approx(small.luma, abs=0.02)
    assert found.detail == pytest.approx(small.detail, abs=0.05)

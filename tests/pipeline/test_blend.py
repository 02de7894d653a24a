"""A synthetic face is hidden under its mask whole, fades outwards only and fits its surroundings."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from tests.pipeline.synthetic_world import SIZE, frame, mesh, points_in, texture, track

from veilcast.diffusion import patch
from veilcast.pipeline import blend, likeness
from veilcast.pipeline.align import similarity
from veilcast.pipeline.blend import Synthetic
from veilcast.pipeline.cover import Refused
from veilcast.pipeline.likeness import Mask
from veilcast.pipeline.pixels import crop_to_rgb
from veilcast.pipeline.views import veil
from veilcast.types import Box, Frame, Rgb, Track, TrackState

SIDE = 128
CORE = patch.mask(mesh(SIDE), SIDE)
NOBODY = np.zeros_like(CORE)


def smooth(seed: int, side: int = SIDE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(
        cv2.resize(rng.uniform(60, 190, (9, 9, 3)), (side, side), interpolation=cv2.INTER_CUBIC)
    )


def picture(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def synthetic(person: int = 50) -> Synthetic:
    where = track(1)
    assert where.landmarks is not None
    to_patch = similarity(where.landmarks, patch.TEMPLATE * SIDE)
    return Synthetic(1, where.box, texture(person, SIDE), to_patch, blend.feathered(CORE))


# the mask


def test_the_mask_is_whole_over_the_face_and_fades_outside_it_only() -> None:
    mask = blend.feathered(CORE)
    assert (mask[CORE == 1] == 1).all()
    outside = (mask > 0) & (CORE == 0)
    assert outside.any()
    assert (mask[outside] < 1).all()
    far = cv2.distanceTransform((CORE < 0.5).astype(np.uint8), cv2.DIST_L2, 5) > 1.1 * blend.FEATHER * SIDE
    assert (mask[far] == 0).all()


def test_the_mask_covers_from_above_the_brows_to_under_the_chin() -> None:
    points = mesh(SIDE)
    inside = np.floor(points[:, :2]).astype(int)
    assert CORE[inside[:, 1], inside[:, 0]].all()
    assert np.flatnonzero(CORE.any(1))[0] < points[10, 1] - 3
    assert np.flatnonzero(CORE.any(1))[-1] > points[152, 1]


# colours


def fitted(face: Rgb, context: Rgb, others: Mask = NOBODY) -> tuple[Rgb, Mask]:
    """The face in its colours, and its mask."""
    return blend.fitted(face, context, CORE, others), blend.feathered(CORE)


def test_a_face_in_the_wrong_light_takes_the_light_of_its_surroundings() -> None:
    context = smooth(1)
    tinted = np.add(context, [12, -8, 15])
    matched, mask = fitted(picture(tinted), picture(context))
    assert np.abs(matched.astype(float) - context)[mask > 0].mean() < 2
    assert np.abs(tinted - context).mean() > 10


def test_light_from_one_side_is_followed() -> None:
    context = np.full((SIDE, SIDE, 3), 120.0)
    slope = np.linspace(-18, 18, SIDE)[None, :, None]
    matched, mask = fitted(picture(context + slope), picture(context))
    left = matched[:, : SIDE // 2][mask[:, : SIDE // 2] > 0].mean()
    right = matched[:, SIDE // 2 :][mask[:, SIDE // 2 :] > 0].mean()
    assert abs(left - right) < 9  # of 18 between the halves' means


def test_a_wall_of_another_colour_than_the_generator_thinks_leaves_the_skin_as_it_is() -> None:
    skin, wall, thought = (190, 140, 120), (40, 110, 250), (90, 110, 200)
    head = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(head, (SIDE // 2, SIDE // 2), (SIDE // 3, SIDE // 2), 0, 0, 360, 1, -1)
    context, face = (
        np.where(head[..., None] > 0, skin, behind).astype(np.uint8) for behind in (wall, thought)
    )
    matched, mask = fitted(face, context)
    of_skin = (head > 0) & (CORE > 0)
    assert np.abs(matched[of_skin].astype(float) - skin).mean() < 6
    behind = (head == 0) & (mask > 0)

    def off(rgb: np.ndarray) -> float:
        return float(np.abs(rgb[behind].astype(float) - wall).mean())

    assert off(matched) < off(face) - 10


def test_nothing_of_the_hidden_face_or_of_other_faces_is_read() -> None:
    context, face = picture(smooth(1)), picture(smooth(2))
    others = np.zeros((SIDE, SIDE), np.float32)
    others[:, :30] = 1
    plain, _ = fitted(face, context, others)
    changed = context.copy()
    changed[(CORE > 0) | (others > 0)] = 255
    assert np.array_equal(plain, fitted(face, changed, others)[0])


def test_without_surroundings_the_face_stays_as_it_is() -> None:
    face = picture(smooth(2))
    matched, _ = fitted(face, picture(smooth(1)), np.ones_like(CORE))
    assert np.array_equal(matched, face)


# into the frame


def test_a_pasted_face_is_what_the_frame_shows() -> None:
    shown = frame(0, [track(1)])
    blend.paste(shown, synthetic())
    seen = crop_to_rgb(shown, synthetic().to_patch, SIDE)
    assert likeness.compare(likeness.Lens(CORE)(seen), likeness.Lens(CORE)(texture(50, SIDE))).luma > 0.95


def test_the_source_itself_is_refused_and_nothing_is_written() -> None:
    shown = frame(0, [track(1)])
    before = [plane.copy() for plane in shown.planes]
    own = replace(synthetic(), rgb=crop_to_rgb(shown, synthetic().to_patch, SIDE))
    with pytest.raises(Refused, match="too much like"):
        blend.paste(shown, own)
    assert all(np.array_equal(plane, old) for plane, old in zip(shown.planes, before, strict=True))


@pytest.mark.parametrize("change", ["brighter", "paler", "blurred", "noisy"])
def test_the_source_in_another_light_is_refused(change: str) -> None:
    shown = frame(0, [track(1)])
    own = crop_to_rgb(shown, synthetic().to_patch, SIDE).astype(float)
    new = {
        "brighter": own + 30,
        "paler": 0.4 * own + 90,
        "blurred": cv2.GaussianBlur(own, (0, 0), 2.0),
        "noisy": own + np.random.default_rng(0).normal(0, 10, own.shape),
    }[change]
    with pytest.raises(Refused, match="too much like"):
        blend.paste(shown, replace(synthetic(), rgb=picture(new)))


def holed() -> np.ndarray:
    mask = blend.feathered(CORE)
    mask[60:64, 60:64] = 0.5
    return mask


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"mask": np.zeros((SIDE, SIDE), np.float32)}, "under the mask"),
        ({"mask": holed()}, "under the mask"),
        ({"box": track(2).box}, "under the mask"),
        ({"box": track(1).box.scaled(2.0)}, "under the mask"),
        ({"to_patch": np.full((2, 3), np.nan)}, "no place"),
        ({"rgb": texture(5, 64)}, "wrong size"),
        ({"rgb": texture(5, SIDE).astype(np.float32)}, "wrong size"),
    ],
)
def test_a_face_that_would_not_hide_the_track_is_refused(bad: dict[str, object], reason: str) -> None:
    shown = frame(0, [track(1)])
    with pytest.raises(Refused, match=reason):
        blend.paste(shown, replace(synthetic(), **bad))  # type: ignore[arg-type]


def test_a_flat_face_says_nothing_and_is_refused() -> None:
    with pytest.raises(Refused, match="too much like"):
        blend.paste(frame(0, [track(1)]), replace(synthetic(), rgb=np.full((SIDE, SIDE, 3), 99, np.uint8)))


# the last look broken on purpose: each is noticed


@pytest.mark.parametrize("change", ["brighter", "paler", "blurred", "noisy"])
def test_without_its_comparison_the_source_would_be_shown(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likeness, "EXPOSED", 1.1)
    monkeypatch.setattr(likeness, "COPIED", 1.1)
    with pytest.raises(pytest.fail.Exception):
        test_the_source_in_another_light_is_refused(change)


def test_without_its_look_at_the_mask_a_hole_would_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blend, "_hides", lambda face: True)
    with pytest.raises(pytest.fail.Exception):
        test_a_face_that_would_not_hide_the_track_is_refused({"mask": holed()}, "under the mask")


# veils beside faces


def overlapping() -> tuple[Frame, Track, list[np.ndarray], list[np.ndarray]]:
    """A face that was put in, a track on its brow, and the planes of the frame before and after that."""
    one = track(1)
    seen = frame(0, [one])
    before = [plane.copy() for plane in seen.planes]
    blend.paste(seen, synthetic())
    box = one.box
    brow = Box(box.x0 - 5, box.y0 - 0.5 * box.height, box.x1 + 5, box.y0 + 0.6 * box.height)
    other = Track(2, brow, points_in(brow), TrackState.CONFIRMED, 0, 0.9)
    return seen, other, before, [plane.copy() for plane in seen.planes]


def within(box: Box, scale: float) -> np.ndarray:
    """The ellipse in a box, True in the frame's samples."""
    return blend.ellipse(box.scaled(scale), np.eye(3)[:2], SIZE) > 0


def test_a_veil_leaves_out_the_face_that_was_put_in_and_nothing_else() -> None:
    seen, other, before, put_in = overlapping()
    face = synthetic().box
    kept, hidden = within(face, 0.55 * blend.FACE_IN_BOX), within(other.box, blend.FACE_IN_BOX)
    assert (kept & hidden).sum() > 500
    blend.paste_veil(seen, veil(frame(0, [track(1)]), other), [face])
    for now, old, original in zip(seen.planes, put_in, before, strict=True):
        assert np.array_equal(now[kept], old[kept])
        bare = hidden & ~within(face, blend.FACE_IN_BOX)
        assert (now[bare] != old[bare]).mean() > 0.9
        source = hidden & within(face, 0.9)
        assert (now[source] == original[source]).mean() < 0.05
    whole = frame(0, [track(1)])
    blend.paste_veil(whole, veil(whole, other))
    edge = within(other.box, blend.FACE_IN_BOX) & ~within(face, 1.02 * blend.FACE_IN_BOX)
    for now, alone in zip(seen.planes, whole.planes, strict=True):
        assert np.array_equal(now[edge], alone[edge])

"""A rendering is carried only where the face changes little, and then lands where the face is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tests.pipeline.synthetic_world import mesh

from veilcast.diffusion.patch import OVAL
from veilcast.pipeline.warp import MAX_AGE, Pose, carry, may_carry

SIDE = 128
UPRIGHT = np.array([1, 0, 0, 0, 1, 0], np.float32)


def pose(
    index: int = 0,
    points: np.ndarray | None = None,
    rotation: np.ndarray = UPRIGHT,
    side: int = SIDE,
    tone: tuple[float, float, float] = (150, 120, 100),
) -> Pose:
    return Pose(index, side, mesh(side) if points is None else points, rotation, np.array(tone))


def moved(indices: list[int], dx: float, dy: float) -> np.ndarray:
    points = mesh(SIDE)
    points[indices, :2] += (dx, dy)
    return points


def turned(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    return np.array([np.cos(angle), 0, -np.sin(angle), 0, 1, 0], np.float32)


def test_a_face_that_stays_is_carried() -> None:
    assert may_carry(pose(0), pose(3))
    assert may_carry(pose(0), pose(3, moved(list(range(478)), 1.5, -1.0), turned(3)))


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (pose(3, moved([14], 0, 4)), "the mouth opens"),
        (pose(3, moved([291], 5, 0)), "the mouth widens"),
        (pose(3, moved([145], 0, -2)), "the left eye closes"),
        (pose(3, moved([374], 0, -2)), "the right eye closes"),
        (pose(3, rotation=turned(12)), "the head turns"),
        (pose(3, moved([152], 0, 11)), "the chin moves far"),
        (pose(MAX_AGE + 1), "it is old"),
        (pose(-1), "it is of a later frame"),
        (pose(3, side=256), "the close-up begins"),
    ],
)
def test_a_face_that_changes_is_rendered_anew(now: Pose, why: str) -> None:
    assert not may_carry(pose(0), now), why


def dotted(points: np.ndarray) -> np.ndarray:
    picture = np.zeros((SIDE, SIDE, 3), np.float32)
    for x, y in points[[1, 61, 291, 33, 263], :2]:
        cv2.circle(picture, (round(x * 16 - 8), round(y * 16 - 8)), 3 * 16, (255, 255, 255), -1, shift=4)
    return picture.astype(np.uint8)


def test_every_part_of_the_face_moves_with_its_landmarks() -> None:
    rendered, now = pose(), pose(2)
    now.mesh[:, 0] += 3 * np.sin(now.mesh[:, 1] / 40)
    now.mesh[:, 1] += 2
    there = carry(dotted(rendered.mesh), rendered, now)
    wanted, stayed = dotted(now.mesh), dotted(rendered.mesh)

    def off(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.abs(a.astype(float) - b).mean())

    assert off(there, wanted) < 0.35 * off(stayed, wanted)


def test_nothing_moves_where_the_mesh_does_not() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
    assert np.array_equal(carry(picture, pose(), pose(4)), picture)


def test_it_is_deterministic_and_leaves_the_cache_alone() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
    kept, now = picture.copy(), pose(4, moved(list(range(100)), 2, 1))
    assert np.array_equal(carry(picture, pose(), now), carry(picture, pose(), now))
    assert np.array_equal(picture, kept)


def test_a_mesh_partly_outside_the_patch_is_carried_all_the_same() -> None:
    points = moved(list(range(478)), -40, 0)
    warped = carry(np.full((SIDE, SIDE, 3), 9, np.uint8), pose(0, points), pose(1, points))
    assert (warped == 9).all()


def test_what_folds_over_at_the_edge_of_a_turning_head_stays_behind() -> None:
    rendered, now = pose(), pose(2)
    edge = [n for n in OVAL if now.mesh[n, 0] < 0.3 * SIDE]
    now.mesh[edge, 0] += 9  # past points that lie further in
    ramp = np.broadcast_to(np.arange(SIDE, dtype=np.uint8)[:, None], (SIDE, SIDE, 3))
    there = carry(np.ascontiguousarray(ramp), rendered, now)
    steps = np.diff(there[..., 0].astype(int), axis=1)
    assert -steps[steps < -1].sum() < 30  # next to nothing is shown the wrong way round: 88 levels otherwise


def test_a_carried_face_follows_the_light_but_not_into_the_dark() -> None:
    face = np.full((SIDE, SIDE, 3), (160, 130, 90), np.uint8)
    dusk = carry(face, pose(tone=(150, 120, 100)), pose(4, tone=(125, 95, 85)))
    np.testing.assert_allclose(dusk[SIDE // 2, SIDE // 2], (135, 105, 77), atol=2)
    hidden = carry(face, pose(tone=(150, 120, 100)), pose(4, tone=(5, 5, 5)))
    np.testing.assert_allclose(hidden[SIDE // 2, SIDE // 2], np.divide((160, 130, 90), 1.5), atol=1)

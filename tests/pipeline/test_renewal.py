"""A face from one rendering to the next."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tests.pipeline.synthetic_world import mesh

from veilcast.arrays import UInt8
from veilcast.diffusion import patch
from veilcast.pipeline import renewal, warp
from veilcast.pipeline.renewal import FRAMES, Appearance, renewed

SIDE = 128
CORE = patch.mask(mesh(SIDE), SIDE)
CHEEK, LIPS, LEFT_EYE = 205, 14, 159


def pose(index: int, turn: float = 0.0) -> warp.Pose:
    rotation = np.array([np.cos(turn), 0, -np.sin(turn), 0, 1, 0], np.float32)
    return warp.Pose(index, SIDE, mesh(SIDE), rotation, np.full(3, 120.0))


def grey(level: int) -> UInt8[np.ndarray, "s s 3"]:
    return np.full((SIDE, SIDE, 3), level, np.uint8)


def at(rgb: np.ndarray, landmark: int) -> int:
    x, y = np.rint(mesh(SIDE)[landmark, :2]).astype(int)
    return int(rgb[y, x, 0])


def test_what_a_face_looked_like_before_goes_little_by_little() -> None:
    new = renewed(Appearance(pose(3), grey(100)), pose(10), grey(150), CORE)
    cheek = [at(new.shown(10 + step), CHEEK) for step in range(FRAMES + 2)]
    assert 100 < cheek[0] < 112
    assert max(np.abs(np.diff(cheek))) < 10
    assert cheek[-2:] == [150, 150]


def test_mouth_eyes_and_rim_are_the_new_rendering_s_at_once() -> None:
    new = renewed(Appearance(pose(3), grey(100)), pose(10), grey(150), CORE).shown(10)
    assert at(new, LIPS) == at(new, LEFT_EYE) == 150
    assert (new[cv2.erode(1 - CORE, np.ones((5, 5), np.uint8)) > 0] == 150).all()


def test_a_face_that_is_renewed_again_meanwhile_does_not_jump_back() -> None:
    first = renewed(Appearance(pose(3), grey(100)), pose(10), grey(150), CORE)
    second = renewed(first, pose(12), grey(150), CORE)
    assert at(first.shown(11), CHEEK) < at(second.shown(12), CHEEK) < 150


@pytest.mark.parametrize(
    "before",
    [None, Appearance(pose(3, turn=0.9), grey(100)), Appearance(pose(-90), grey(100))],
    ids=["the first", "another side", "long ago"],
)
def test_where_there_is_nothing_to_come_from_a_face_is_new_at_once(before: Appearance | None) -> None:
    assert np.array_equal(renewed(before, pose(10), grey(150), CORE).shown(10), grey(150))


def test_in_a_frame_before_its_own_a_rendering_stands_alone() -> None:
    new = renewed(Appearance(pose(3), grey(100)), pose(10), grey(150), CORE)
    assert np.array_equal(new.shown(8), grey(150))


def test_all_at_once_a_face_would_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "FRAMES", 0)
    with pytest.raises(AssertionError):
        test_what_a_face_looked_like_before_goes_little_by_little()

"""A persona does not come and go with every doubt of the mesh network."""

from __future__ import annotations

import numpy as np
import pytest
from tests.pipeline.synthetic_world import mesh

from veilcast.pipeline.attention import MIN_FACE_PX, Attention
from veilcast.pipeline.landmarks import Mesh, size_px

POINTS = mesh(200.0)
UNIT_PX = size_px(mesh(1.0))


def seen(presence: float, points: np.ndarray = POINTS) -> Mesh:
    return Mesh(points, presence)


def drawn(*presences: float) -> list[bool]:
    attention = Attention()
    return [attention.see(seen(presence)) for presence in presences]


def turned(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    flat = POINTS * [1, 1, 0]
    return np.asarray(flat @ turn.T)


def test_a_face_is_drawn_from_its_first_frame_on() -> None:
    assert drawn(0.6, 0.9) == [True, True]
    assert drawn(0.4, 0.9) == [False, True]


def test_a_moment_of_doubt_does_not_end_a_persona() -> None:
    assert drawn(0.9, 0.35, 0.9) == [True, True, True]
    assert drawn(0.9, 0.25, 0.35) == [True, False, False], "what is not drawn needs more than that to begin"


def test_a_face_behind_a_hand_is_missed_in_that_frame_alone() -> None:
    assert drawn(0.9, 0.0, 0.9) == [True, False, True]


def test_a_head_that_is_hardly_seen_does_not_flicker() -> None:
    assert drawn(0.9, *[0.0, 0.8] * 20).count(True) == 2
    assert drawn(*[0.0] * 6, *[0.9] * 5) == [False] * 9 + [True] * 2


def test_who_shows_no_face_is_looked_at_now_and_then_and_at_once_when_there_is_one() -> None:
    attention = Attention()
    looks = []
    for index in range(16):
        if attention.due(index):
            looks.append(index)
            attention.see(seen(0.0))
    assert looks == [0, 1, 2, 4, 8, 12]
    attention.see(seen(0.9))
    assert [attention.due(index) for index in range(17, 20)] == [True] * 3


@pytest.mark.parametrize(("before", "now", "shown"), [(0, 66, False), (60, 66, True), (60, 75, False)])
def test_a_head_that_turns_away_is_followed_a_little_further(before: int, now: int, shown: bool) -> None:
    attention = Attention()
    assert attention.see(seen(1.0, turned(before)))
    attention = attention if before else Attention()
    assert attention.see(seen(1.0, turned(now))) is shown


def test_a_small_face_is_followed_a_little_further_away() -> None:
    near, far = (mesh(times * MIN_FACE_PX / UNIT_PX) for times in (1.02, 0.95))
    assert not Attention().see(seen(1.0, far))
    attention = Attention()
    assert attention.see(seen(1.0, near))
    assert attention.see(seen(1.0, far))


def test_without_a_mesh_there_is_nothing_to_draw() -> None:
    attention = Attention()
    assert not attention.see(None)
    assert not attention.see(seen(float("nan")))

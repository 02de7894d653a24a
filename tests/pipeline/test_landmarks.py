"""Meshes come back in the picture's coordinates, and a filter holds them steady without lag."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.pipeline.synthetic_world import FakeEngine, find_mesh, frame, mesh, track

from veilcast.diffusion import patch
from veilcast.pipeline.landmarks import MeshFinder, OneEuro, five_points, mouth_and_lids, size_px, yaw
from veilcast.pipeline.views import Life


def test_a_mesh_lies_where_the_five_points_are() -> None:
    tracks = [track(1), track(2)]
    points = [five_points(face) for face in tracks]
    (found,) = MeshFinder(FakeEngine(find_mesh)).find([(frame(0, tracks), points)])
    for five, seen in zip(points, found, strict=True):
        assert seen is not None
        assert seen.presence == 1
        assert patch.five(seen.points) == pytest.approx(five, abs=0.01)


def test_a_track_without_points_is_looked_for_in_its_box() -> None:
    box = track(1).box
    five = five_points(replace(track(1), landmarks=None))
    assert (five > [box.x0, box.y0]).all()
    assert (five < [box.x1, box.y1]).all()
    assert five[0, 0] < five[1, 0]


def test_points_that_place_nothing_give_no_mesh_and_do_not_shift_the_others() -> None:
    good = five_points(track(2))
    nowhere = np.full((5, 2), np.nan, np.float32)
    shown = frame(0, [track(2)])
    ((first, second),) = MeshFinder(FakeEngine(find_mesh)).find([(shown, [nowhere, good])])
    assert first is None
    assert second is not None
    assert patch.five(second.points) == pytest.approx(good, abs=0.01)


def test_an_answer_that_is_not_finite_is_no_mesh() -> None:
    def broken(rgb: np.ndarray) -> dict[str, np.ndarray]:
        outputs = find_mesh(rgb)
        outputs["mesh"][0, 7] = np.nan
        return outputs

    assert MeshFinder(FakeEngine(broken)).find([(frame(0, []), [five_points(track(1))])]) == [[None]]


# steadiness


def filtered(path: np.ndarray, rate: float = 25.0, size: float = 100.0) -> np.ndarray:
    steady = OneEuro()
    return np.stack([steady(n / rate, np.array([[x, 0.0]]), size)[0] for n, x in enumerate(path)])[:, 0]


def test_jitter_of_a_still_face_is_halved() -> None:
    jitter = np.random.default_rng(0).normal(0, 0.5, 400)
    assert filtered(jitter)[50:].std() < 0.5 * jitter.std()


def test_a_moving_face_is_followed_without_much_lag() -> None:
    path = np.concatenate([np.zeros(25), np.arange(50) * 4.0])  # one face size a second
    lag = path - filtered(path)
    assert lag[-1] < 4.0  # less than a frame's way


def test_what_counts_is_the_size_of_the_face() -> None:
    path = np.cumsum(np.random.default_rng(1).normal(size=100))
    assert 10 * filtered(path) == pytest.approx(filtered(10 * path, size=1000.0))


def test_after_a_gap_it_starts_anew() -> None:
    steady = OneEuro()
    steady(0.0, np.zeros((1, 2)), 100)
    assert steady(2.0, np.full((1, 2), 50.0), 100) == pytest.approx(np.full((1, 2), 50.0))
    assert steady(1.0, np.full((1, 2), 7.0), 100) == pytest.approx(np.full((1, 2), 7.0))


# measures


@pytest.mark.parametrize("degrees", [0, 30, 70])
def test_yaw_is_how_far_the_head_is_turned(degrees: float) -> None:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    points = mesh(200.0)
    points[:, 2] = 0
    assert np.degrees(yaw(points @ turn.T)) == pytest.approx(degrees, abs=1)


def test_openings_do_not_depend_on_distance() -> None:
    assert mouth_and_lids(mesh(100.0)) == pytest.approx(mouth_and_lids(mesh(400.0)), rel=1e-5)
    assert size_px(mesh(400.0)) == pytest.approx(4 * size_px(mesh(100.0)))


def test_a_blink_of_three_frames_is_seen_although_the_face_stands_still() -> None:
    """At 25 frames a second; lids move by a thirtieth of the face, its place by a hundredth of that."""
    rng = np.random.default_rng(0)
    open_, shut = 0.04, 0.007
    lids = np.array([open_] * 25 + [shut] * 3 + [open_] * 22)
    life = Life()
    followed, steady = [], []
    for n, lid in enumerate(lids):
        points = np.array([[0.0, 0.0], [0.0, lid]]) + 0.0003 * rng.standard_normal((2, 2))
        followed.append(life.manner(n / 25, points, 1.0)[1, 1])
        steady.append(life.place(n / 25, points, 1.0)[0, 0])
    assert min(followed) < shut + 0.15 * (open_ - shut)
    assert np.std(steady[10:]) < 0.0002

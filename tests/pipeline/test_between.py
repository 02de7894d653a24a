"""Where a mesh is looked for, and where its neighbours say enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from tests.pipeline.synthetic_world import frame, mesh, track

from veilcast.pipeline import between
from veilcast.pipeline.landmarks import Mesh
from veilcast.types import Frame, Points

SIZE_PX = 100.0
Face = Callable[[int], Mesh | None]  # what a look at a frame finds


class Looks:
    """Stands for a MeshFinder: finds `face` in every frame, and remembers where it was asked."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self.asked: list[int] = []

    def find(self, scenes: Sequence[tuple[Frame, Sequence[Points]]]) -> list[list[Mesh | None]]:
        self.asked += [seen.index for seen, faces in scenes for _ in faces]
        return [[self._face(seen.index) for _ in faces] for seen, faces in scenes]


def found(face: Face, frames: int = 8, ticks: int = 1) -> tuple[list[Mesh | None], list[int]]:
    """The meshes of one track, and the frames that were looked at. `ticks`: of 1/25 s between frames."""
    shown = track(1)
    scenes = [(replace(frame(n, [shown]), pts=n * ticks), (shown,)) for n in range(frames)]
    looks = Looks(face)
    return [row[0] for row in between.meshes(looks, scenes)], sorted(looks.asked)  # type: ignore[arg-type]


def moving(index: int) -> Mesh:
    return Mesh(np.add(mesh(SIZE_PX), (2.0 * index, 0, 0)), 1.0)


def talking(index: int) -> Mesh:
    points = mesh(SIZE_PX)
    points[14, 1] += 2.0 * index
    return Mesh(points, 1.0)


def test_a_face_that_hardly_changes_is_looked_at_in_every_second_frame() -> None:
    meshes, asked = found(moving)
    assert asked == [0, 1, 3, 5, 7]
    for index, seen in enumerate(meshes):
        assert seen is not None
        np.testing.assert_allclose(seen.points, moving(index).points)


@pytest.mark.parametrize(
    "face",
    [
        talking,
        lambda index: Mesh(np.add(mesh(SIZE_PX), (12.0 * index, 0, 0)), 1.0),
        lambda index: None if index % 4 == 1 else moving(index),
        lambda index: Mesh(moving(index).points, 0.4 if index % 4 == 1 else 1.0),
    ],
    ids=["a mouth that opens", "a face that moves fast", "no face beside", "hardly a face beside"],
)
def test_every_frame_is_looked_at_where_neighbours_do_not_say_enough(face: Face) -> None:
    meshes, asked = found(face)
    assert asked == list(range(8))
    for index, seen in enumerate(meshes):
        expected = face(index)
        if expected is None:
            assert seen is None
        else:
            np.testing.assert_array_equal(getattr(seen, "points", None), expected.points)


def test_frames_that_are_far_apart_are_all_looked_at() -> None:
    assert found(moving, ticks=2)[1] == list(range(8))


def test_a_face_of_one_frame_is_looked_at() -> None:
    assert found(moving, frames=1)[1] == [0]
    assert found(moving, frames=2)[1] == [0, 1]

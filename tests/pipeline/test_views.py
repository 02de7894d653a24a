"""Which faces are drawn as close-ups, and what those without a persona get."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.pipeline.synthetic_world import FakeEngine, find_mesh, frame, mesh, track

from veilcast.diffusion import patch
from veilcast.pipeline import blend
from veilcast.pipeline.generator_model import CLOSEUP_PX, PATCH_PX
from veilcast.pipeline.landmarks import MeshFinder
from veilcast.pipeline.views import (
    _OTHERS,
    MOVING_CLOSEUP_PX,
    STILL_CLOSEUP_PX,
    Viewer,
    _ellipses,
    veil,
    windows,
)
from veilcast.types import Box


def viewer(closeup_px: float, sides: tuple[int, ...] = (PATCH_PX, CLOSEUP_PX)) -> Viewer:
    meshes = MeshFinder(FakeEngine(find_mesh))
    return Viewer(meshes, lambda m: np.zeros((len(m), 52), np.float32), mesh(1.0), sides, closeup_px)


def face(spans_px: float) -> np.ndarray:
    """Landmarks whose patch has so many pixels of the picture a side."""
    unit = PATCH_PX / float(np.hypot(*patch.to_patch(mesh(100.0), PATCH_PX)[0, :2]))
    return mesh(100.0 * spans_px / unit)


@pytest.mark.parametrize(
    ("closeup_px", "before", "spans_px", "side"),
    [
        (MOVING_CLOSEUP_PX, PATCH_PX, 190, PATCH_PX),
        (MOVING_CLOSEUP_PX, PATCH_PX, 210, CLOSEUP_PX),
        (MOVING_CLOSEUP_PX, CLOSEUP_PX, 170, CLOSEUP_PX),
        (MOVING_CLOSEUP_PX, CLOSEUP_PX, 160, PATCH_PX),
        (STILL_CLOSEUP_PX, PATCH_PX, 120, PATCH_PX),
        (STILL_CLOSEUP_PX, PATCH_PX, 140, CLOSEUP_PX),
    ],
)
def test_a_face_of_many_pixels_is_a_close_up_and_does_not_flicker_between_the_two(
    closeup_px: float, before: int, spans_px: float, side: int
) -> None:
    assert viewer(closeup_px)._side(face(spans_px), before) == side


def test_a_model_without_a_close_up_head_draws_patches_alone() -> None:
    assert viewer(STILL_CLOSEUP_PX, (PATCH_PX,))._side(face(900), PATCH_PX) == PATCH_PX


@pytest.mark.parametrize("size", [0.1, 0.3, 0.5, 0.8, 1.0])
def test_a_veil_lies_over_the_whole_face_and_shows_a_few_colours_of_it(size: float) -> None:
    shown = track(1, size=size)
    seen = frame(0, [shown])
    before = np.stack(seen.planes, -1)
    blend.paste_veil(seen, veil(seen, shown))
    after = np.stack(seen.planes, -1).astype(np.float32)
    box, (x, y) = shown.box, shown.box.centre
    inner = np.s_[round(y - 0.3 * box.height) : round(y + 0.3 * box.height),
                  round(x - 0.3 * box.width) : round(x + 0.3 * box.width)]  # fmt: skip
    steps = np.abs(np.diff(after[inner], axis=0)).max()
    assert steps < 0.4 * np.abs(np.diff(before[inner].astype(np.float32), axis=0)).max() + 3
    corner = np.s_[: max(0, round(y - box.height)), :]
    assert np.array_equal(after[corner], before[corner])


@pytest.mark.parametrize(("side", "sizes"), [(320, [4, 8, 16, 12]), (2160, [4, 8, 8, 8, 8, 4])])
def test_few_frames_are_taken_together_at_first_and_never_many_large_ones(
    side: int, sizes: list[int]
) -> None:
    plane = np.broadcast_to(np.uint8(0), (side, side))
    stream = [(replace(frame(n, []), planes=(plane,) * 3, damaged=n == 5), (track(1),)) for n in range(40)]
    taken = list(windows(stream))
    assert [len(window) for window in taken] == sizes
    assert [seen.index for window in taken for seen, _ in window] == list(range(40))
    assert [seen.index for window in taken for seen, tracks in window if not tracks] == [5]


def test_other_faces_are_hidden_in_a_patch_as_far_as_they_reach_into_it() -> None:
    to_patch = np.array([[2.0, 0, -100], [0, 2, -60]])
    rng = np.random.default_rng(3)
    corners = rng.uniform(-50, 250, (60, 2))
    boxes = [
        Box(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, rng.uniform(5, 60, (60, 2)), strict=True)
    ]
    every = np.max([blend.ellipse(box.scaled(_OTHERS), to_patch, 128) for box in boxes], axis=0)
    assert np.array_equal(_ellipses(boxes, to_patch, 128), every)
    assert every.any()
    assert not _ellipses([], to_patch, 128).any()

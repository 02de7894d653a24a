"""Which faces are drawn as close-ups."""

from __future__ import annotations

import numpy as np
import pytest
from tests.pipeline.synthetic_world import FakeEngine, find_mesh, mesh

from veilcast.diffusion import patch
from veilcast.pipeline.generator_model import CLOSEUP_PX, PATCH_PX
from veilcast.pipeline.landmarks import MeshFinder
from veilcast.pipeline.views import MOVING_CLOSEUP_PX, STILL_CLOSEUP_PX, Viewer


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

"""Batches: who is in them, what a mirror does, and that held-out people are never trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.training import toy

from veilcast.diffusion import patch
from veilcast.training import sets
from veilcast.training.data import Faces, mirror, rare


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Faces:
    folder = tmp_path_factory.mktemp("set")
    toy.cache(folder / "cache")
    return sets.from_cache(folder / "cache", latents=False)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_no_batch_ever_holds_a_held_out_person(faces: Faces) -> None:
    entries = toy.people()
    drawn = {int(r) for step in range(50) for r in faces.draw(16, generator(step))[0]}
    assert any(entry.held_out for entry in entries)
    assert not any(entries[row].held_out for row in drawn)


def test_identity_can_come_from_another_picture_of_the_same_person(faces: Faces) -> None:
    batch = faces.batch(faces.train, generator())
    rows = faces.train
    assert (batch.other_rows != rows).all()
    assert torch.equal(batch.other_rows // 2, rows // 2)


def test_what_is_hidden_does_not_reach_the_veiled_picture(faces: Faces) -> None:
    """Only 4 x 4 averages of the face may pass: scrambling it within a cell changes nothing."""
    batch = faces.batch(faces.train[:4], generator())
    before = batch.veiled
    hidden = batch.hidden.expand_as(batch.rgb) > 0
    cells = batch.rgb.unfold(2, 32, 32).unfold(3, 32, 32)  # views of each 32 x 32 cell
    inside = hidden.unfold(2, 32, 32).unfold(3, 32, 32)
    for n, c, i, j in np.ndindex(*cells.shape[:4]):
        some = cells[n, c, i, j][inside[n, c, i, j]]
        cells[n, c, i, j][inside[n, c, i, j]] = some[torch.randperm(len(some), generator=generator())]
    torch.testing.assert_close(batch.veiled, before, atol=1e-4, rtol=0)
    assert not torch.equal(batch.rgb[:, :, 40:90, 40:90], before[:, :3, 40:90, 40:90])


def test_a_mirrored_batch_has_the_geometry_of_the_mirrored_mesh(faces: Faces) -> None:
    """The pose of a mesh reflected in the patch is the mirrored pose, where the average mesh is symmetric."""
    rng = np.random.default_rng(1)
    average = toy.mesh(rng) / toy.SIDE - 0.5
    turned = average @ np.array([[0.94, 0, 0.34], [0, 1, 0], [-0.34, 0, 0.94]]).T
    flip = np.array([-1.0, 1, 1])
    shapes = rng.random(52)
    one = patch.geometry((turned + 0.5) * 128, average, shapes, 128)
    two = patch.geometry((turned * flip + 0.5) * 128, average * flip, shapes, 128)
    batch = faces.batch(faces.train[:1], generator())
    batch.geometry = torch.from_numpy(one)[None]
    np.testing.assert_allclose(mirror(batch).geometry[0, 52:], two[52:], atol=1e-5)


def test_mirroring_twice_is_nothing(faces: Faces) -> None:
    batch = faces.batch(faces.train[:4], generator())
    twice = mirror(mirror(batch))
    for name in ("rgb", "hidden", "geometry", "five"):
        torch.testing.assert_close(getattr(twice, name), getattr(batch, name))


def test_a_batch_depends_on_its_generator_alone(faces: Faces) -> None:
    one, two = (faces.batch(faces.draw(8, generator(5))[0], generator(6)) for _ in range(2))
    assert torch.equal(one.rgb, two.rgb)
    assert torch.equal(one.other, two.other)


def test_a_share_of_a_batch_can_be_of_rare_expressions_alone(faces: Faces) -> None:
    """Shut eyes are one picture in forty: on film they come every few seconds."""
    shut = faces.train[:3]
    lively = replace(faces, lively=shut)

    def share(wanted: float) -> float:
        rows = lively.draw(2000, generator(), wanted)[0]
        return float(torch.isin(rows, shut).float().mean())

    common = len(shut) / len(faces.train)
    assert share(0.0) == pytest.approx(common, abs=0.05)
    assert share(0.5) == pytest.approx(0.5 + common / 2, abs=0.05)
    assert torch.equal(lively.draw(16, generator())[0], faces.draw(16, generator())[0])


def test_shut_eyes_an_open_mouth_and_raised_brows_are_rare_expressions() -> None:
    geometry = np.zeros((5, patch.GEOMETRY), np.float32)
    geometry[1, [9, 10]] = 0.6  # both eyes
    geometry[2, 9] = 0.9  # a wink is in no need of more
    geometry[3, 25] = 0.3
    geometry[4, 3] = 0.6
    assert rare(geometry).tolist() == [False, True, False, True, True]

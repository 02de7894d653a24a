"""What the few-step phase calls a copy is what run time refuses as one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.training import toy

from veilcast.pipeline.likeness import EXPOSED, Lens, compare
from veilcast.training.distill import LIKE, copied


def patches(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [toy.picture(rng) for _ in range(6)]


HIDDEN = np.zeros((128, 128), np.float32)
HIDDEN[30:110, 40:80] = 1  # a turned head: half of the inner face is background


def tensor(pictures: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_a_copy_is_measured_as_run_time_measures_it() -> None:
    made, source = patches(1), patches(2)
    likeness = [compare(Lens(HIDDEN)(a), Lens(HIDDEN)(b)).luma for a, b in zip(made, source, strict=True)]
    expected = np.mean(np.maximum(np.array(likeness) - LIKE, 0))
    assert expected > 0
    assert float(
        copied(tensor(made), tensor(source), torch.from_numpy(HIDDEN)[None, None].repeat(6, 1, 1, 1))
    ) == pytest.approx(expected, abs=0.03)


def test_the_loss_begins_before_run_time_refuses() -> None:
    assert LIKE < EXPOSED
    same = tensor(patches(1))
    everywhere = torch.ones_like(same[:, :1])
    assert float(copied(same, same, everywhere)) == pytest.approx(1 - LIKE, abs=1e-3)
    assert float(copied(same, -same, everywhere)) == 0

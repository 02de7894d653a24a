"""Rendering with the denoiser: guidance away from nobody."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from veilcast.training.diffusion import guided, render


class Told(nn.Module):
    """Predicts the first number of who it is told to draw, or -1 for nobody."""

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        veiled: Tensor,
        geometry: Tensor,
        who: Tensor,
        masked: Tensor | None = None,
    ) -> Tensor:
        value = who[:, 0] if masked is None else torch.where(masked, -torch.ones(len(x)), who[:, 0])
        return value[:, None, None, None].expand_as(x)


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize(("guidance", "drawn"), [(1.0, 3.0), (2.0, 7.0), (0.0, -1.0)])
def test_guidance_goes_from_nobody_through_the_person_and_beyond(
    steps: int, guidance: float, drawn: float
) -> None:
    batch = cast(Any, SimpleNamespace(veiled=torch.zeros(2, 4, 8, 8), geometry=torch.zeros(2, 61)))
    who, noise = torch.full((2, 128), 3.0), torch.randn(2, 4, 2, 2)
    clean = render(Told(), batch, who, noise, steps, guidance)
    torch.testing.assert_close(clean, torch.full_like(noise, drawn))


def test_projected_guidance_adds_nothing_along_the_prediction() -> None:
    generator = torch.Generator().manual_seed(1)
    real, alone = (torch.randn(3, 4, 2, 2, generator=generator) for _ in range(2))
    added = guided(real, alone, 3.0, parallel=0.0) - real
    torch.testing.assert_close((added * real).sum((1, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    plain = guided(real, alone, 3.0) - real
    across = (
        plain - real * ((plain * real).sum((1, 2, 3)) / real.square().sum((1, 2, 3)))[:, None, None, None]
    )
    torch.testing.assert_close(added, across, atol=1e-5, rtol=0)

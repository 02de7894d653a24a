"""The decoder's training windows."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from veilcast.training.autoencoder import disturbed, windows


def pair(side: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents whose pixels are the same numbers, eight times as large."""
    latents = torch.arange(float(side * side)).view(1, 1, side, side)
    return latents, functional.interpolate(latents, scale_factor=8, mode="nearest")


@pytest.mark.parametrize("seed", range(8))
def test_a_window_shows_the_pixels_of_its_own_latents(seed: int) -> None:
    latents, rgb = windows(*pair(), 10, torch.Generator().manual_seed(seed))
    assert latents.shape[-2:] == (10, 10)
    assert torch.equal(rgb, functional.interpolate(latents, scale_factor=8, mode="nearest"))


def test_windows_reach_every_border() -> None:
    generator = torch.Generator().manual_seed(0)
    seen = torch.cat([windows(*pair(), 10, generator)[0].flatten() for _ in range(200)])
    assert {0.0, 15.0, 240.0, 255.0} <= set(seen.tolist())


@pytest.mark.parametrize("cells", [0, 16, 40])
def test_without_a_smaller_window_the_whole_patch_is_seen(cells: int) -> None:
    latents, rgb = windows(*pair(), cells, torch.Generator())
    assert latents.shape[-1] == 16
    assert rgb.shape[-1] == 128


def test_latents_of_the_close_up_head_are_disturbed_by_as_much_as_is_allowed() -> None:
    clean = torch.zeros(400, 4, 8, 8)
    noise = disturbed(clean, 0.3, torch.Generator().manual_seed(1)).flatten(1).std(1)
    assert float(noise.max()) < 0.36
    assert float(noise.min()) < 0.02
    assert float(noise.mean()) == pytest.approx(0.15, abs=0.02)
    assert torch.equal(disturbed(clean, 0.0, torch.Generator().manual_seed(1)), clean)

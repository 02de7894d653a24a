"""Distribution matching: what one step draws has the density of what the denoiser draws in many.

Yin et al. 2024, "One-step Diffusion with Distribution Matching Distillation" (equations 3, 7 and 8), without
its regression and with an adversary (Yin et al. 2024, DMD2). A regression to one picture of each condition
draws the mean of all that would fit: no beard, no glasses, smooth skin.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from veilcast.diffusion.schedule import mix
from veilcast.training import graphs
from veilcast.training.data import normal
from veilcast.training.diffusion import CAP, guided

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from veilcast.training.data import Batch

LEVELS = (0.02, 0.98)  # of noise, at which the two densities are compared


class Matching:
    """`real`: the frozen denoiser. `drawn`: a copy of it that learns, beside the few-step network, to denoise
    what that network draws; its parameters are the caller's to step."""

    def __init__(self, real: nn.Module, guidance: float, parallel: float = 1.0) -> None:
        """`parallel`: share of the guidance along the prediction itself that is kept (`guided`)."""
        self.real, self.guidance, self.parallel = real, guidance, parallel
        self.drawn = copy.deepcopy(real).train().requires_grad_(True)
        self._last: tuple[Tensor, Batch, Tensor, torch.Generator] | None = None
        self._scores: Callable[..., tuple[Tensor, ...]] | None = None
        self._denoise: Callable[..., Tensor] | None = None

    def saw(self, guess: Tensor, batch: Batch, who: Tensor, generator: torch.Generator) -> None:
        """What `own_loss` is of."""
        self._last = guess.detach(), batch, who, generator

    def loss(self, guess: Tensor, batch: Batch, who: Tensor, generator: torch.Generator) -> Tensor:
        """Of clean latents `guess` (n, c, a, a): its gradient is the difference of the two scores over the
        distance from the real one (equation 8), one sample weighing as much as another."""
        noisy, t = self._noised(guess.detach(), generator, LEVELS)
        told = noisy, t, batch.veiled, batch.geometry, who
        self._scores = self._scores or graphs.asked(self._both, *told)
        real, drawn = self._scores(*told)
        with torch.no_grad():
            apart = (guess - real).abs().mean((1, 2, 3), keepdim=True).clamp(min=1e-3)
            target = guess - (drawn - real) / apart
        return functional.mse_loss(guess, target) / 2

    def _both(
        self, noisy: Tensor, t: Tensor, veiled: Tensor, geometry: Tensor, who: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Clean latents as the denoiser, guided, and as `drawn` see them."""
        told = noisy, t, veiled, geometry, who
        real = self.real(*told).float()
        if self.guidance != 1:
            nobody = torch.ones(len(t), dtype=torch.bool, device=t.device)
            alone = self.real(*told, masked=nobody).float()
            real = guided(real, alone, self.guidance, self.parallel)
        return real, self.drawn(*told).float()

    def own_loss(self) -> Tensor:
        """The flow loss of `drawn`."""
        assert self._last is not None
        clean, batch, who, generator = self._last
        noisy, t = self._noised(clean, generator, (0.0, 1.0))
        told = noisy, t, batch.veiled, batch.geometry, who
        self._denoise = self._denoise or graphs.taught(self.drawn, *told)
        found = self._denoise(*told).float()
        weight = (1 / t).clamp(max=CAP)[:, None, None, None]
        loss: Tensor = (weight * (found - clean) ** 2).mean()
        return loss

    @staticmethod
    def _noised(
        clean: Tensor, generator: torch.Generator, levels: tuple[float, float]
    ) -> tuple[Tensor, Tensor]:
        low, high = levels
        t = (low + (high - low) * torch.rand(len(clean), generator=generator)).to(clean.device)
        noise = normal(clean.shape, generator, clean.device)
        return mix(clean, noise, t[:, None, None, None]), t

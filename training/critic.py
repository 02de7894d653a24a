"""The adversary of the decoder and few-step phases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from veilcast.training.perceptual import WIDTHS, Lpips

if TYPE_CHECKING:
    from torch import Tensor

    from veilcast.arrays import Float

TAPS = (1, 3, 6)


class Critic(nn.Module):
    """Real or made, patch by patch: one branch on pixels (Isola et al. 2017), one on each of three frozen
    perceptual features (Sauer et al. 2021, Projected GANs)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
            layers += [spectral_norm(nn.Conv2d(before, after, 4, 2, 1)), nn.LeakyReLU(0.2)]
        self.pixels = nn.Sequential(*layers, spectral_norm(nn.Conv2d(4 * width, 1, 3, padding=1)))
        self.heads = nn.ModuleList(
            nn.Sequential(
                spectral_norm(nn.Conv2d(WIDTHS[tap], 2 * width, 3, padding=1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(2 * width, 1, 3, padding=1)),
            )
            for tap in TAPS
        )

    def forward(self, rgb: Float[Tensor, "n 3 s s"], lpips: Lpips) -> list[Tensor]:
        features = lpips.features(rgb)
        # each at unit mean square, so that a head of norm 1 gives scores of about 1
        even = [_even(features[tap]) for tap in TAPS]
        return [self.pixels(rgb), *(head(x) for head, x in zip(self.heads, even, strict=True))]


def _even(x: Tensor) -> Tensor:
    return x / (x.pow(2).mean(1, keepdim=True) + 1e-6).sqrt()


def critic_loss(critic: nn.Module, lpips: Lpips, real: Tensor, made: Tensor) -> Tensor:
    """Hinge loss (Lim and Ye 2017)."""
    pairs = zip(critic(real, lpips), critic(made.detach(), lpips), strict=True)
    return torch.stack(
        [functional.relu(1 - r.float()).mean() + functional.relu(1 + m.float()).mean() for r, m in pairs]
    ).mean()


def maker_loss(critic: nn.Module, lpips: Lpips, made: Tensor) -> Tensor:
    return torch.stack([-score.float().mean() for score in critic(made, lpips)]).mean()

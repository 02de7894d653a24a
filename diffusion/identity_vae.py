"""The Identity VAE: the space that personas are drawn from.

It learns the recogniser's *centred* space: unit embeddings of one recogniser share most of a common
mean (dlib: a mean of length .913), so e -> norm(e - mean) is where people differ. ID²Face's abstract names an
Identity VAE; its form here is a reconstruction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from veilcast.diffusion.conditioning import IDENTITY

if TYPE_CHECKING:
    from torch import Tensor

    from veilcast.arrays import Float

LATENT = 64
COARSE = 3  # age/100, gender (0 female, 1 male), ITA/100
_CENTRE, _SCALE = (0.35, 0.5, 0.4), (6.0, 2.0, 4.0)


def centre(embeddings: Float[Tensor, "n 128"], mean: Float[Tensor, " 128"]) -> Float[Tensor, "n 128"]:
    """Raw embeddings to centred unit vectors."""
    return functional.normalize(functional.normalize(embeddings, dim=1) - mean, dim=1)


class IdentityVae(nn.Module):
    """mu, log variance = q(c, coarse); z = mu + sigma xi; c^ = norm(p(z, coarse))."""

    def __init__(self, latent: int = LATENT, width: int = 384) -> None:
        super().__init__()
        self.latent = latent
        self.encode = _mlp(IDENTITY + COARSE, width, 2 * latent)
        self.draw = Draw(latent, width)

    def forward(
        self,
        identity: Float[Tensor, "n 128"],
        coarse: Float[Tensor, "n 3"],
        xi: Float[Tensor, "n z"],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rebuilt centred vectors (n, 128), mu and log variance (n, z)."""
        joined = torch.cat([identity * IDENTITY**0.5, spread(coarse)], 1)
        mu, log_variance = self.encode(joined).chunk(2, 1)
        log_variance = log_variance.clamp(-10, 4)
        return self.draw(mu + torch.exp(log_variance / 2) * xi, coarse), mu, log_variance


class Draw(nn.Module):
    """p: a standard normal vector and coarse attributes -> a centred unit identity vector. All that run
    time needs of the VAE."""

    def __init__(self, latent: int = LATENT, width: int = 384) -> None:
        super().__init__()
        self.latent = latent
        self.net = _mlp(latent + COARSE, width, IDENTITY)

    def forward(self, z: Float[Tensor, "n z"], coarse: Float[Tensor, "n 3"]) -> Float[Tensor, "n 128"]:
        out: Tensor = self.net(torch.cat([z, spread(coarse)], 1))
        return out / out.pow(2).sum(1, keepdim=True).add(1e-8).sqrt()


def spread(coarse: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Age, gender and tone at about unit variance."""
    return (coarse - coarse.new_tensor(_CENTRE)) * coarse.new_tensor(_SCALE)


def gathered(values: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """The inverse of `spread`."""
    return values / values.new_tensor(_SCALE) + values.new_tensor(_CENTRE)


def _mlp(c_in: int, width: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(c_in, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, c_out)
    )

"""Phase of the Identity VAE, and how personas are drawn from it in training."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from veilcast.diffusion.identity_vae import Draw, IdentityVae
    from veilcast.training.tools import Tools

BETA, DRAWN = 0.015, 2.0  # weights of the KL term and of the distance between drawn and real people
BETA_STEPS = 2000  # over which the KL term is warmed up


class IdentityPhase:
    """L = 1 - cos + beta KL + the energy distance of drawn people from real ones of the same coarse
    attributes (reconstruction). The KL term is per dimension, so that beta does not depend on the latent's
    size; the energy distance sees to it that personas are as different from each other as people are."""

    name = "identity"

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.critic: nn.Module | None = None
        self.trained = nn.ModuleDict({"identity": tools.new("identity")})

    def losses(self, generator: torch.Generator, size: int, step: int) -> dict[str, Tensor]:
        faces = self.tools.faces
        rows, _ = faces.draw(size, generator)
        who, coarse = faces.identities(rows), faces._get("coarse", rows).float()
        net = cast("IdentityVae", self.trained["identity"])
        xi = torch.randn(size, net.latent, generator=generator).to(who.device)
        rebuilt, mu, log_variance = net(who, coarse, xi)
        warm = min(1.0, step / BETA_STEPS)
        return {
            "cosine": 1 - (rebuilt * who).sum(1).mean(),
            "kl": warm * BETA * divergence(mu, log_variance),
            "drawn": DRAWN * energy_distance(personas(net.draw, coarse, generator).float(), who),
        }

    def critic_loss(self) -> Tensor:
        raise NotImplementedError("the Identity VAE has no adversary")

    def sheet(self, averaged: nn.ModuleDict) -> np.ndarray | None:
        return None

    def measure(self, averaged: nn.ModuleDict) -> dict[str, float]:
        """Rebuilt cosine on unseen people; mean and deviation of the cosine between different people, real
        and drawn; the share of drawn pairs as close as the closest thousandth of real ones."""
        faces = self.tools.faces
        rows = faces.valid[:2000]
        who, coarse = faces.identities(rows), faces._get("coarse", rows).float()
        net = cast("IdentityVae", averaged["identity"])
        rebuilt, mu, log_variance = net(who, coarse, torch.zeros(len(rows), net.latent, device=who.device))
        generator = torch.Generator().manual_seed(3)
        drawn = personas(net.draw, coarse, generator)
        real, made = _pairs(who), _pairs(drawn.float())
        close = real.kthvalue(max(1, int(0.999 * len(real)))).values
        return {
            "cosine": float((rebuilt.float() * who).sum(1).mean()),
            "kl_per_dimension": float(divergence(mu.float(), log_variance.float())),
            "real_mean": float(real.mean()),
            "real_std": float(real.std()),
            "drawn_mean": float(made.mean()),
            "drawn_std": float(made.std()),
            "drawn_close": float((made > close).float().mean()),
        }


def divergence(mu: Tensor, log_variance: Tensor) -> Tensor:
    """KL from the standard normal, nats a dimension (Kingma and Welling 2014, appendix B)."""
    return 0.5 * (mu**2 + log_variance.exp() - 1 - log_variance).mean()


def energy_distance(a: Tensor, b: Tensor) -> Tensor:
    """2 E|a - b| - E|a - a'| - E|b - b'| (Szekely and Rizzo 2013, equation 5): 0 where both rows are drawn
    from one distribution."""

    def apart(x: Tensor, y: Tensor) -> Tensor:
        # unit vectors: |x - y|² = 2 - 2 cos
        return (2 - 2 * x @ y.T).clamp_min(1e-6).sqrt()

    count = len(a)
    same = (apart(a, a).sum() + apart(b, b).sum()) / (count * (count - 1))
    return 2 * apart(a, b).mean() - same


def _pairs(vectors: Tensor) -> Tensor:
    """Cosines of rows half the set apart: different people, since the set is shuffled."""
    return torch.cat([(vectors * vectors.roll(k, 0)).sum(1) for k in (501, 733, 977)])


def personas(draw: Draw, coarse: Tensor, generator: torch.Generator) -> Tensor:
    """A random person for each row of coarse attributes."""
    z = torch.randn(len(coarse), draw.latent, generator=generator).to(coarse.device)
    vectors: Tensor = draw(z, coarse)
    return vectors


def orthogonal(vectors: Tensor, source: Tensor) -> Tensor:
    """Orthogonal Identity Mapping for one source each: the source's component is taken out of the centred
    vector (run time does the same against several, veilcast.diffusion.oim)."""
    rest = vectors - (vectors * source).sum(1, keepdim=True) * source
    return functional.normalize(rest, dim=1)

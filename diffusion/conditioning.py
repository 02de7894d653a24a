"""What the generator is told: who (identity tokens), how (attribute tokens), where (the veiled picture)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from veilcast.diffusion.patch import COLOURS, GEOMETRY, SPREAD

if TYPE_CHECKING:
    from torch import Tensor

    from veilcast.arrays import Bool, Float

IDENTITY = 128  # centred unit vector of the recogniser
IDENTITY_TOKENS, ATTRIBUTE_TOKENS = 4, 8


class IdentityTokens(nn.Module):
    """A centred identity vector as tokens; the learned null where identity is masked (reconstruction of
    "identity-masked learning": p = .15 in training)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.null = nn.Parameter(torch.zeros(IDENTITY))
        self.net = nn.Sequential(
            nn.Linear(IDENTITY, 2 * width), nn.SiLU(), nn.Linear(2 * width, IDENTITY_TOKENS * width)
        )

    def forward(
        self, identity: Float[Tensor, "n 128"], masked: Bool[Tensor, " n"] | None = None
    ) -> Float[Tensor, "n 4 w"]:
        if masked is not None:
            identity = torch.where(masked[:, None], self.null.to(identity.dtype), identity)
        # a unit vector's entries are about 1/sqrt(128); the network wants them about 1
        tokens: Tensor = self.net(identity * IDENTITY**0.5).unflatten(1, (IDENTITY_TOKENS, -1))
        return tokens


class AttributeTokens(nn.Module):
    """Pose and expression (patch.geometry) as tokens. They come from a mesh without face shape; no pixel
    under the mask reaches them."""

    spread: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(GEOMETRY, 2 * width), nn.SiLU(), nn.Linear(2 * width, ATTRIBUTE_TOKENS * width)
        )
        # entries of about 1: a small one would be learnt last, and lips and eyelids are small ones
        self.register_buffer("spread", torch.from_numpy(SPREAD), persistent=False)

    def forward(self, geometry: Float[Tensor, "n 61"]) -> Float[Tensor, "n 8 w"]:
        tokens: Tensor = self.net(geometry / self.spread).unflatten(1, (ATTRIBUTE_TOKENS, -1))
        return tokens


class Surroundings(nn.Module):
    """The veiled picture (rgb and mask, 8 pixels a latent cell) as features on the latent grid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(64, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, 2, 1),
            nn.SiLU(),
        )

    def forward(self, veiled: Float[Tensor, "n 4 s s"]) -> Float[Tensor, "n w a a"]:
        features: Tensor = self.net(veiled)
        return features


def veil(rgb: Float[Tensor, "n 3 s s"], hidden: Float[Tensor, "n 1 s s"]) -> Float[Tensor, "n 4 s s"]:
    """Pictures in [-1, 1] as `patch.veiled` has them at run time."""
    means = functional.adaptive_avg_pool2d(rgb, COLOURS)
    smooth = functional.interpolate(means, rgb.shape[2:], mode="bilinear", align_corners=False)
    return torch.cat([rgb * (1 - hidden) + smooth * hidden, hidden], 1)


class Reconstructor(nn.Module):
    """R of the bidirectional latent alignment: a coarse latent from tokens of identity and attributes
    that come from two pictures of one person (method: reconstruction; used in training alone)."""

    CELLS = 4

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        tokens = (IDENTITY_TOKENS + ATTRIBUTE_TOKENS) * width
        self.net = nn.Sequential(
            nn.Linear(tokens, 512), nn.SiLU(), nn.Linear(512, latent * self.CELLS * self.CELLS)
        )

    def forward(
        self, identity: Float[Tensor, "n i w"], attributes: Float[Tensor, "n a w"]
    ) -> Float[Tensor, "n c 4 4"]:
        flat: Tensor = self.net(torch.cat([identity, attributes], 1).flatten(1))
        return flat.view(len(flat), -1, self.CELLS, self.CELLS)

"""Small networks that read faces, distilled from larger ones: attributes and identity of a patch, and
expression from a mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from veilcast.diffusion.blocks import Residual, conv, norm
from veilcast.diffusion.identity_vae import COARSE, gathered
from veilcast.diffusion.patch import GEOMETRY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from veilcast.arrays import Float


CELLS = 4  # a side: pose and gaze need places


class Reader(nn.Module):
    """A patch (n, 3, s, s) in [-1, 1] -> features. Its heads: coarse attributes (run time), pose and
    expression, and an identity vector (losses: a second recogniser, trained on the identities of the
    training data)."""

    def __init__(self, widths: Sequence[int] = (32, 64, 128, 192), identity: int = 128) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.PixelUnshuffle(2), conv(12, widths[0])]
        for before, width in zip((widths[0], *widths), widths, strict=False):
            layers += [conv(before, width, stride=2), Residual(width, width)]
        self.trunk = nn.Sequential(*layers, norm(widths[-1]), nn.SiLU())
        cells = CELLS * CELLS * widths[-1]
        self.coarse = nn.Linear(widths[-1], COARSE)
        self.geometry = nn.Linear(cells, GEOMETRY)
        self.identity = nn.Linear(cells, identity)

    def forward(self, rgb: Float[Tensor, "n 3 s s"]) -> tuple[Tensor, Tensor, Tensor]:
        """Coarse (n, 3) as `identity_vae.spread` has it, geometry (n, 61), unit identity (n, 128)."""
        h = self.trunk(rgb)
        flat = functional.adaptive_avg_pool2d(h, CELLS).flatten(1)
        return (
            self.coarse(h.mean((2, 3))),
            self.geometry(flat),
            functional.normalize(self.identity(flat), dim=1),
        )


class CoarseReader(nn.Module):
    """The part of a Reader that runs in the product: age/100, gender, ITA/100."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.trunk, self.coarse = reader.trunk, reader.coarse

    def forward(self, rgb: Float[Tensor, "n 3 s s"]) -> Float[Tensor, "n 3"]:
        return gathered(self.coarse(self.trunk(rgb).mean((2, 3))))


class Expression(nn.Module):
    """Mesh (n, 478, 2) in units of the patch -> 52 blendshapes (n, 52)."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(478 * 2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 52)
        )

    def forward(self, landmarks: Float[Tensor, "n 478 2"]) -> Float[Tensor, "n 52"]:
        centred = (landmarks - 0.5).flatten(1) * 6
        return torch.sigmoid(self.net(centred))

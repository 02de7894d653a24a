"""The autoencoder that ours learns from: TAEF2 of the TAESD family (MIT), 32 channels, f8. Read from the
safetensors file that the user gives; never part of the product."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from veilcast.diffusion.weights import read_tensors
from veilcast.errors import ModelCorrupt
from veilcast.training.networks import fill

if TYPE_CHECKING:
    from torch import Tensor

LATENT = 32


class _Residual(nn.Module):
    def __init__(self, width: int, pooled: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.conv = nn.Sequential(*layers[:-1])
        self.pool = _gate(width) if pooled else None

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


def _gate(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, 4 * width, 1, bias=False),
        nn.GroupNorm(4, 4 * width),
        nn.ReLU(),
        nn.Conv2d(4 * width, width, 1, bias=False),
    )


def _residuals(width: int, count: int, pooled: bool = False) -> list[nn.Module]:
    return [_Residual(width, pooled) for _ in range(count)]


class TeacherEncoder(nn.Sequential):
    """(n, 3, h, w) in [0, 1] -> (n, 32, h/8, w/8)."""

    def __init__(self, width: int = 64) -> None:
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), *_residuals(width, 1)]
        for level in range(3):
            layers.append(nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False))
            layers += _residuals(width, 3, pooled=level == 2)
        super().__init__(*layers, nn.Conv2d(width, LATENT, 3, padding=1))


def load_encoder(path: Path) -> TeacherEncoder:
    """The frozen encoder. Raises ModelCorrupt where the file holds something else."""
    net = TeacherEncoder()
    try:
        fill(net, read_tensors(path))
    except RuntimeError:
        raise ModelCorrupt(f"{path} does not hold the teacher's encoder (TAEF2)") from None
    return net.eval().requires_grad_(False)

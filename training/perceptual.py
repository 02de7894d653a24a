"""LPIPS v0.1 on SqueezeNet 1.1 (Zhang et al. 2018) in torch, from a safetensors file that the user gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from veilcast.arrays import Float

TAPS = ((0,), (1, 4), (7, 10), (13,), (16,), (19,), (22,))  # layers of each compared feature; 0 = the stem
POOLED = (1, 2, 3)
WIDTHS = (64, 128, 256, 384, 384, 512, 512)


class Lpips(nn.Module):
    """Frozen features and their distance. Pictures in [-1, 1]."""

    shift: Tensor
    scale: Tensor

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        for name, value in tensors.items():
            tensor = torch.from_numpy(np.array(value, np.float32))
            self.register_buffer(name.replace(".", "_"), tensor, persistent=False)
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1), persistent=False)

    def features(self, rgb: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        x, found = (rgb - self.shift) / self.scale, []
        for tap, layers in enumerate(TAPS):
            if tap in POOLED:
                x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
            for layer in layers:
                x = self._fire(x, layer) if layer else self._conv(x, 0, stride=2)
            found.append(x)
        return found

    def forward(self, a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]) -> Float[Tensor, " n"]:
        with torch.no_grad():
            target = self.features(b)
        parts = [
            functional.conv2d((_unit(x) - _unit(y)) ** 2, self.get_buffer(f"lin{tap}_weight")).mean((1, 2, 3))
            for tap, (x, y) in enumerate(zip(self.features(a), target, strict=True))
        ]
        return torch.stack(parts).sum(0)

    def _conv(self, x: Tensor, layer: int, pad: int = 0, stride: int = 1) -> Tensor:
        weight, bias = self.get_buffer(f"conv{layer}_weight"), self.get_buffer(f"conv{layer}_bias")
        return functional.relu(functional.conv2d(x, weight, bias, stride, pad))

    def _fire(self, x: Tensor, layer: int) -> Tensor:
        x = self._conv(x, layer)
        return torch.cat([self._conv(x, layer + 2), self._conv(x, layer + 1, pad=1)], 1)


def _unit(x: Tensor) -> Tensor:
    return x / (x.pow(2).sum(1, keepdim=True) + 1e-8).sqrt()

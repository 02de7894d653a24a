"""Small layers that the networks share (torch)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from veilcast.arrays import Float

Layer = TypeVar("Layer", bound=nn.Module)

GROUP = 16  # channels a normalisation group


def norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(1, width // GROUP), width)


def conv(c_in: int, c_out: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2)


def silent(layer: Layer) -> Layer:
    """The layer with weights of zero: a residual branch that begins as nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def time_features(t: Float[Tensor, " n"], width: int) -> Float[Tensor, "n w"]:
    """Sines and cosines of t in [0, 1] at geometric frequencies (Vaswani et al. 2017, section 3.5)."""
    frequencies = torch.exp(torch.linspace(0, math.log(1000), width // 2, device=t.device)) * t[:, None]
    return torch.cat([frequencies.sin(), frequencies.cos()], 1)


class Residual(nn.Module):
    """Two convolutions; scale and shift from the condition where there is one (ADM, Dhariwal and Nichol
    2021, adaptive group normalisation)."""

    def __init__(self, c_in: int, c_out: int, condition: int | None = None) -> None:
        super().__init__()
        self.norm1, self.conv1 = norm(c_in), conv(c_in, c_out)
        self.norm2, self.conv2 = norm(c_out), silent(conv(c_out, c_out))
        self.film = silent(nn.Linear(condition, 2 * c_out)) if condition else None
        self.skip = conv(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(
        self, x: Float[Tensor, "n c h w"], condition: Float[Tensor, "n e"] | None = None
    ) -> Float[Tensor, "n d h w"]:
        h = self.norm2(self.conv1(functional.silu(self.norm1(x))))
        if self.film is not None and condition is not None:
            scale, shift = self.film(condition)[:, :, None, None].chunk(2, 1)
            h = h * (1 + scale) + shift
        out: Tensor = self.skip(x) + self.conv2(functional.silu(h))
        return out


class Attention(nn.Module):
    """Pixels ask, tokens answer: multi-head attention of a feature map to tokens of width `context`."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(context, 2 * width, bias=False)
        self.out = silent(nn.Linear(width, width))

    def forward(self, x: Float[Tensor, "n p c"], tokens: Float[Tensor, "n k d"]) -> Float[Tensor, "n p c"]:
        key, value = self.key_value(tokens).chunk(2, 2)
        q, k, v = self._split(self.query(x)), self._split(key), self._split(value)
        # torch's fused attention is made for long rows: on a CPU its way back takes 7 times as long as this
        answer = (q * q.shape[-1] ** -0.5 @ k.transpose(2, 3)).softmax(-1) @ v
        out: Tensor = self.out(answer.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Float[Tensor, "n p c"]) -> Float[Tensor, "n heads p e"]:
        p, width = int(x.shape[1]), int(x.shape[2])  # constants of an exported graph; only n is dynamic
        return x.view(-1, p, self.heads, width // self.heads).transpose(1, 2)


def as_map(pixels: Float[Tensor, "n p c"], like: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """A row of pixels as the feature map that it came from."""
    return pixels.transpose(1, 2).reshape(-1, *(int(side) for side in like.shape[1:]))


class SelfAttention(nn.Module):
    """Residual attention of a feature map to itself."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = norm(width)
        self.attention = Attention(width, width, heads)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        pixels = self.norm(x).flatten(2).transpose(1, 2)
        answer: Tensor = self.attention(pixels, pixels)
        return x + as_map(answer, x)

"""The denoiser: a small UNet on latents with harmonizer blocks, which predicts the clean latent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from veilcast.diffusion.blocks import Residual, SelfAttention, conv, norm, silent, time_features
from veilcast.diffusion.conditioning import AttributeTokens, IdentityTokens, Surroundings
from veilcast.diffusion.harmonizer import Harmonizer

if TYPE_CHECKING:
    from torch import Tensor

    from veilcast.arrays import Bool, Float


@dataclass(frozen=True)
class UNetSize:
    """Widths from the finest level to the coarsest; `harmonized` levels have harmonizers."""

    latent: int = 32
    widths: tuple[int, ...] = (160, 256, 384)
    depth: int = 2  # residual blocks a level, down and up each
    harmonized: tuple[int, ...] = (1, 2)
    tokens: int = 160
    heads: int = 4
    surroundings: int = 96
    gated: bool = True


class UNet(nn.Module):
    """Clean latents from noisy ones. Latents are normalised (unit variance), t in [0, 1], 1 = noise."""

    def __init__(self, size: UNetSize) -> None:
        super().__init__()
        self.size = size
        embedding = 2 * size.widths[0]
        self.time = nn.Sequential(nn.Linear(128, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.identity = IdentityTokens(size.tokens)
        self.attributes = AttributeTokens(size.tokens)
        self.pooled = nn.Linear(2 * size.tokens, embedding)
        self.surroundings = Surroundings(size.surroundings)
        self.stem = conv(size.latent + size.surroundings, size.widths[0])
        self.down = nn.ModuleList(self._level(level, 0) for level in range(len(size.widths)))
        self.shrink = nn.ModuleList(
            conv(a, b, stride=2) for a, b in zip(size.widths, size.widths[1:], strict=False)
        )
        self.middle = SelfAttention(size.widths[-1], size.heads)
        self.up = nn.ModuleList(self._level(level, size.widths[level]) for level in range(len(size.widths)))
        self.grow = nn.ModuleList(conv(b, a) for a, b in zip(size.widths, size.widths[1:], strict=False))
        self.head = nn.Sequential(norm(size.widths[0]), nn.SiLU(), silent(conv(size.widths[0], size.latent)))

    def _level(self, level: int, extra: int) -> nn.ModuleList:
        """`depth` residual blocks, each followed by a harmonizer on harmonized levels; the first one also
        takes `extra` channels from the way down."""
        size, width = self.size, self.size.widths[level]
        blocks = nn.ModuleList()
        for block in range(size.depth):
            blocks.append(Residual(width + (extra if block == 0 else 0), width, 2 * size.widths[0]))
            if level in size.harmonized:
                blocks.append(Harmonizer(width, size.tokens, 2 * size.widths[0], size.heads, size.gated))
        return blocks

    def forward(
        self,
        x: Float[Tensor, "n c a a"],
        t: Float[Tensor, " n"],
        veiled: Float[Tensor, "n 4 s s"],
        geometry: Float[Tensor, "n 61"],
        identity: Float[Tensor, "n 128"],
        masked: Bool[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n c a a"]:
        """`masked`: whose identity is hidden from the network (training alone)."""
        who, how = self.identity(identity, masked), self.attributes(geometry)
        pooled = torch.cat([who.mean(1), how.mean(1)], 1)
        condition = functional.silu(self.time(time_features(t, 128)) + self.pooled(pooled))
        into, keep, out = scales(t)
        h = self.stem(torch.cat([x * into, self.surroundings(veiled)], 1))
        h = self._trunk(h, who, how, condition)
        clean: Tensor = keep * x + out * self.head(h)
        return clean

    def _trunk(self, h: Tensor, who: Tensor, how: Tensor, condition: Tensor) -> Tensor:
        def run(blocks: nn.Module, h: Tensor) -> Tensor:
            for block in blocks.children():
                h = block(h, who, how, condition) if isinstance(block, Harmonizer) else block(h, condition)
            return h

        skips = []
        for level, blocks in enumerate(self.down):
            h = run(blocks, h if level == 0 else self.shrink[level - 1](h))
            skips.append(h)
        h = self.middle(h)
        for level in reversed(range(len(self.up))):
            h = run(self.up[level], torch.cat([h, skips[level]], 1))
            if level:
                h = self.grow[level - 1](functional.interpolate(h, scale_factor=2.0, mode="nearest"))
        return h


def scales(t: Float[Tensor, " n"]) -> tuple[Tensor, Tensor, Tensor]:
    """Input scale, share of the input kept, output scale, each (n, 1, 1, 1): the preconditioning of Karras
    et al. 2022 (table 1 and appendix B.6) for x_t = (1 - t) x + t noise and data of unit variance."""
    t = t[:, None, None, None]
    variance = (1 - t) ** 2 + t**2
    return variance**-0.5, (1 - t) / variance, t * variance**-0.5

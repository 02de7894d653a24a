"""Identity-guided latent harmonizer: identity and attributes fused by a soft gate.

ID²Face's abstract names it ("soft gating conditioned on noisy feature prediction"); the formulas below are
a reconstruction, not the paper's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from veilcast.diffusion.blocks import Attention, as_map, conv, norm

if TYPE_CHECKING:
    from torch import Tensor

    from veilcast.arrays import Float


class Harmonizer(nn.Module):
    """F_id = Attn(u, identity tokens), F_at = Attn(u, attribute tokens),
    g = sigmoid(IN(Conv1x1[u; F_id; F_at]) + w tau(t)),  u' = u + g F_id + (1 - g) F_at.

    `gated` off: g = 1/2, the ablation."""

    def __init__(self, width: int, tokens: int, condition: int, heads: int, gated: bool = True) -> None:
        super().__init__()
        self.norm = norm(width)
        self.identity = Attention(width, tokens, heads)
        self.attributes = Attention(width, tokens, heads)
        self.gate = conv(3 * width, width, 1) if gated else None
        self.even = nn.InstanceNorm2d(width)
        self.time = nn.Linear(condition, width)

    def forward(
        self,
        u: Float[Tensor, "n c h w"],
        identity: Float[Tensor, "n i d"],
        attributes: Float[Tensor, "n a d"],
        condition: Float[Tensor, "n e"],
    ) -> Float[Tensor, "n c h w"]:
        pixels = self.norm(u).flatten(2).transpose(1, 2)
        f_id = as_map(self.identity(pixels, identity), u)
        f_at = as_map(self.attributes(pixels, attributes), u)
        if self.gate is None:
            return u + (f_id + f_at) / 2
        mixed = self.even(self.gate(torch.cat([u, f_id, f_at], 1)))
        g = torch.sigmoid(mixed + self.time(condition)[:, :, None, None])
        return u + g * f_id + (1 - g) * f_at

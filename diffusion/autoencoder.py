"""Our own autoencoder: f8, 32 channels. The encoder serves training alone; the decoder, and its close-up
form with one more level, run in the product."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional

from veilcast.diffusion.blocks import Residual, conv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from veilcast.arrays import Float

LATENT = 32
CELL = 8  # pixels of a patch to a side of a latent cell
# of a filter that keeps 3/4 of half the Nyquist frequency and takes out what alternates from pixel to pixel:
# the mark of a pixel shuffle, which a head that has to invent detail leaves behind
TAPS = (-1 / 16, 4 / 16, 10 / 16, 4 / 16, -1 / 16)


class Normaliser(nn.Module):
    """Per-channel mean and deviation of the teacher's latents, so that everything else sees unit variance."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int = LATENT) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))

    def fit(self, latents: Float[Tensor, "n c a a"]) -> None:
        self.mean.copy_(latents.mean((0, 2, 3)))
        self.deviation.copy_(latents.std((0, 2, 3)).clamp_min(1e-3))

    def forward(self, latents: Float[Tensor, "n c a a"]) -> Float[Tensor, "n c a a"]:
        return (latents - self.mean[:, None, None]) / self.deviation[:, None, None]


class Encoder(nn.Sequential):
    """(n, 3, s, s) in [-1, 1] -> normalised latents (n, 32, s/8, s/8)."""

    def __init__(self, widths: Sequence[int] = (48, 96, 192), latent: int = LATENT) -> None:
        layers: list[nn.Module] = [nn.PixelUnshuffle(2), conv(12, widths[0])]
        for level, width in enumerate(widths):
            if level:
                layers.append(conv(widths[level - 1], width, stride=2))
            layers += [Residual(width, width), Residual(width, width)]
        super().__init__(*layers, nn.SiLU(), conv(widths[-1], latent))


class Grow(nn.Module):
    """Twice the side by pixel shuffle (Shi et al. 2016). It begins as nearest neighbours (Aitken et al. 2017,
    ICNR): from four filters that differ by chance a fine grid would have to be unlearned."""

    def __init__(self, c_in: int, c_out: int, activation: nn.Module | None = None) -> None:
        """`activation`: of the result; before that is spread out it is part of the convolution's own pass."""
        super().__init__()
        self.conv = conv(c_in, 4 * c_out)
        self.activation = activation or nn.Identity()
        with torch.no_grad():
            for values in (self.conv.weight, cast("nn.Parameter", self.conv.bias)):
                values.copy_(values[::4].repeat_interleave(4, 0))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d 2*h 2*w"]:
        return functional.pixel_shuffle(self.activation(self.conv(x)), 2)


class Even(nn.Module):
    """A fixed filter of TAPS on rows and columns of each colour."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor(TAPS)
        self.register_buffer("kernel", (taps[:, None] * taps).repeat(3, 1, 1, 1), persistent=False)

    def forward(self, rgb: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        edge = len(TAPS) // 2
        padded = functional.pad(rgb, (edge, edge, edge, edge), mode="replicate")
        return functional.conv2d(padded, self.kernel.to(rgb.dtype), groups=3)


class Decoder(nn.Module):
    """Normalised latents (n, 32, a, a) -> pictures (n, 3, 8 a, 8 a) in [-1, 1]; with four widths 16 a."""

    def __init__(self, widths: Sequence[int] = (192, 96, 48), latent: int = LATENT, depth: int = 2) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv(latent, widths[0])]
        for level, width in enumerate(widths):
            if level:
                layers.append(Grow(widths[level - 1], width))
            layers += [Residual(width, width) for _ in range(depth if level < 3 else 1)]
        self.trunk = nn.Sequential(*layers)
        self.last = nn.Sequential(nn.SiLU(), Grow(widths[-1], widths[-1] // 2, nn.SiLU()))
        self.rgb = conv(widths[-1] // 2, 3)
        self.even = Even() if len(widths) > 3 else nn.Identity()

    def forward(self, latents: Float[Tensor, "n c a a"]) -> Float[Tensor, "n 3 s s"]:
        # latents far outside the data's range (a bad sample) must not become bright spots
        h = 4 * torch.tanh(latents / 4)
        picture: Tensor = self.even(self.rgb(self.last(self.trunk(h))))
        return picture

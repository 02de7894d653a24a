"""Phases of the autoencoder: encoder and decoder at the patch's size, and the close-up head at twice it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from veilcast.training import networks
from veilcast.training.critic import critic_loss, maker_loss
from veilcast.training.data import normal
from veilcast.training.sheet import fixed, sheet

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from veilcast.training.tools import Tools


class AutoencoderPhase:
    """The encoder learns the teacher's latents, the decoder the way back from them: L1, LPIPS and an
    adversary. Latents are disturbed a little, since a generator's are never quite right."""

    name = "autoencoder"

    def __init__(self, tools: Tools) -> None:
        self.tools, self.normaliser = tools, tools.normaliser()
        parts = ("encoder", "decoder") if tools.settings.weights.latents else ("decoder",)
        self.trained = nn.ModuleDict({name: tools.new(name) for name in parts})
        self.critic = tools.adversary(tools.settings.weights.adversarial)

    def losses(self, generator: torch.Generator, size: int, step: int) -> dict[str, Tensor]:
        weights, tools = self.tools.settings.weights, self.tools
        rows, mirrored = tools.faces.draw(size, generator)
        batch = tools.faces.batch(rows, generator, mirrored)
        target = self.normaliser(tools.latents(batch))
        disturbed = target + 0.15 * torch.rand_like(target[:, :1, :1, :1]) * torch.randn_like(target)
        disturbed, rgb = windows(disturbed, batch.rgb, tools.settings.window, generator)
        made = self.trained["decoder"](disturbed).float()
        terms = pictures(tools, self.critic, made, rgb)
        if "encoder" in self.trained:
            guess = self.trained["encoder"](batch.rgb).float()
            terms["latents"] = weights.latents * functional.mse_loss(guess, target)
        self._last = rgb, made.detach()
        return terms

    def critic_loss(self) -> Tensor:
        assert self.critic is not None
        return critic_loss(self.critic, self.tools.lpips, *self._last)

    def sheet(self, averaged: nn.ModuleDict) -> np.ndarray:
        batch = self.tools.faces.batch(fixed(self.tools.faces), torch.Generator().manual_seed(1))
        rows = [batch.rgb, averaged["decoder"](self.normaliser(self.tools.latents(batch)))]
        if "encoder" in averaged:
            rows.append(averaged["decoder"](averaged["encoder"](batch.rgb)))
        return sheet(rows)

    def measure(self, averaged: nn.ModuleDict) -> dict[str, float]:
        tools = self.tools
        batch = tools.faces.batch(tools.faces.valid[:128], torch.Generator().manual_seed(1))
        latents = self.normaliser(tools.latents(batch))
        made = averaged["decoder"](latents).float()
        figures = {
            "psnr_db": psnr(made, batch.rgb),
            "lpips": float(tools.lpips(made, batch.rgb).mean()),
            "sharpness": float(gradient(made) / gradient(batch.rgb)),
            "dlib_cosine": float(
                (tools.identify(made, batch) * tools.identify(batch.rgb, batch)).sum(1).mean()
            ),
        }
        if "encoder" in averaged:
            guess = averaged["encoder"](batch.rgb).float()
            figures["encoder_error"] = float(functional.mse_loss(guess, latents))
        return figures


def windows(latents: Tensor, rgb: Tensor, cells: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One window of `cells` latent cells a side out of all latents, and its pixels: a decoder is local, so
    that more pictures in smaller parts teach it more in the same time. 0 = all."""
    side = latents.shape[-1]
    if not 0 < cells < side:
        return latents, rgb
    y, x = (int(n) for n in torch.randint(side - cells + 1, (2,), generator=generator))
    px = rgb.shape[-1] // side
    return (
        latents[:, :, y : y + cells, x : x + cells],
        rgb[:, :, y * px : (y + cells) * px, x * px : (x + cells) * px],
    )


class CloseUpPhase:
    """256 px from the latents of the 128 px patch: what is not in the latent is invented, so LPIPS and the
    adversary decide."""

    name = "closeup"

    def __init__(self, tools: Tools) -> None:
        assert tools.large is not None, "the close-up head needs the large patches"
        self.tools, self.large, self.normaliser = tools, tools.large, tools.normaliser()
        fresh = not networks.finished("closeup", tools.weights)
        net = tools.new("closeup")
        if fresh:
            decoder = tools.finished("decoder").state_dict()
            net.load_state_dict({k: v for k, v in decoder.items() if k.startswith("trunk")}, strict=False)
        self.trained = nn.ModuleDict({"closeup": net})
        self.critic = tools.adversary(tools.settings.weights.adversarial)

    def losses(self, generator: torch.Generator, size: int, step: int) -> dict[str, Tensor]:
        rgb = self.large.photographs(size, generator)
        latents, rgb = windows(self._latents(rgb), rgb, self.tools.settings.window, generator)
        latents = disturbed(latents, self.tools.settings.disturbed, generator)
        made = self.trained["closeup"](latents).float()
        self._last = rgb, made.detach()
        return pictures(self.tools, self.critic, made, rgb)

    def _latents(self, rgb: Tensor) -> Tensor:
        small = functional.avg_pool2d(rgb, 2)
        with torch.no_grad():
            latents: Tensor = self.normaliser(self.tools.teacher(small / 2 + 0.5).float())
        return latents

    def critic_loss(self) -> Tensor:
        assert self.critic is not None
        return critic_loss(self.critic, self.tools.lpips, *self._last)

    def sheet(self, averaged: nn.ModuleDict) -> np.ndarray:
        valid = self.large.valid if len(self.large.valid) >= 6 else self.large.train
        rgb = self.large.pictures(valid[:6])
        decoder = self.tools.finished("decoder")
        latents = self._latents(rgb)
        return sheet([rgb, averaged["closeup"](latents), decoder(latents)], side=rgb.shape[-1])

    def measure(self, averaged: nn.ModuleDict) -> dict[str, float]:
        valid = self.large.valid if len(self.large.valid) else self.large.train
        rgb = self.large.pictures(valid[:64])
        made = averaged["closeup"](self._latents(rgb)).float()
        return {
            "psnr_db": psnr(made, rgb),
            "lpips": float(self.tools.lpips(made, rgb).mean()),
            "sharpness": float(gradient(made) / gradient(rgb)),
        }


def disturbed(latents: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Noise of a strength that differs from sample to sample, 0 to `most` standard deviations: a generator's
    latents are not the teacher's, and what a head makes of small differences is magnified."""
    strength = most * torch.rand(len(latents), 1, 1, 1, generator=generator)
    return latents + strength.to(latents.device) * normal(latents.shape, generator, latents.device)


def pictures(tools: Tools, critic: nn.Module | None, made: Tensor, rgb: Tensor) -> dict[str, Tensor]:
    """Terms between made pictures and their targets. LPIPS begins with a stride of 2, which a fine grid hides
    from: it looks from a corner that changes."""
    weights = tools.settings.weights
    y, x = (int(n) for n in torch.randint(2, (2,)))
    terms = {
        "pixels": weights.pixels * functional.l1_loss(made, rgb),
        "lpips": weights.lpips * tools.lpips(made[:, :, y:, x:], rgb[:, :, y:, x:]).mean(),
    }
    if critic is not None:
        terms["adversarial"] = weights.adversarial * maker_loss(critic, tools.lpips, made)
    return terms


def psnr(a: Tensor, b: Tensor) -> float:
    """Decibels, of pictures in [-1, 1]."""
    return float(-10 * torch.log10(functional.mse_loss(a.clamp(-1, 1), b) / 4))


def gradient(rgb: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels."""
    return rgb.diff(dim=2).abs().mean() + rgb.diff(dim=3).abs().mean()

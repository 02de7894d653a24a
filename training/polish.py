"""The decoders' last phase: they finish what the few-step network draws.

What one step leaves is smoother than a photograph, and the decoders have learned from latents of photographs.
Here they get latents of personas, for which there is no picture: an adversary wants them to look real, and
they stay the faces that the patch's decoder drew before (LPIPS, and the means of small squares). What an
adversary does not mind, a pattern locked to the grid of the network, is taken off (`lattice`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from veilcast.diffusion.autoencoder import LATENT
from veilcast.training.autoencoder import gradient, windows
from veilcast.training.critic import critic_loss, maker_loss
from veilcast.training.data import normal
from veilcast.training.diffusion import persona_for, render
from veilcast.training.lattice import woven
from veilcast.training.sheet import fixed, sheet

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from veilcast.training.data import Batch
    from veilcast.training.tools import Tools

CELL = 8  # latent cells are so many pixels of a patch
SQUARE_PX = 4  # of the patch: coarser than that a face must not change


class PolishPhase:
    """The decoder of the patch: personas stand in their surroundings before the adversary sees them."""

    name, head = "polish", "decoder"

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.unet, self.before = tools.finished("unet"), tools.finished("decoder")
        self.trained = nn.ModuleDict({self.head: tools.new(self.head)})
        self.critic = tools.adversary(tools.settings.weights.polish)

    def losses(self, generator: torch.Generator, size: int, step: int) -> dict[str, Tensor]:
        tools, weights = self.tools, self.tools.settings.weights
        rows, mirrored = tools.faces.draw(size, generator, tools.settings.lively)
        batch = tools.faces.batch(rows, generator, mirrored)
        latents, aside = windows(
            self._personas(batch, generator), self._aside(batch, generator), tools.settings.window, generator
        )
        real, around = aside[:, :3], aside[:, 3:]
        with torch.no_grad():
            before = self.before(latents).float()
        made = self.trained[self.head](latents).float()
        shown = self._shown(made, around)
        self._last = real, shown.detach()
        y, x = (int(n) for n in torch.randint(2, (2,)))  # as `autoencoder.pictures` has it
        coarse = functional.avg_pool2d(made, made.shape[-1] // before.shape[-1])
        kept = tools.lpips(coarse[:, :, y:, x:], before[:, :, y:, x:]).mean()
        moved = functional.avg_pool2d(coarse - before, SQUARE_PX).abs().mean()
        terms = {"kept": weights.lpips * kept, "colours": 2 * weights.pixels * moved}
        if weights.woven:
            terms["woven"] = weights.woven * woven(made)
        if self.critic is not None:
            terms["adversarial"] = weights.polish * maker_loss(self.critic, tools.lpips, shown)
        return terms

    def critic_loss(self) -> Tensor:
        assert self.critic is not None
        return critic_loss(self.critic, self.tools.lpips, *self._last)

    def _personas(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Latents of one persona for each sample, as run time draws them."""
        side = batch.rgb.shape[-1] // CELL
        noise = normal((len(batch), LATENT, side, side), generator, batch.rgb.device)
        with torch.no_grad():
            return render(self.unet, batch, persona_for(self.tools, batch, generator), noise, steps=1)

    def _aside(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Other people's photographs, and what personas stand in: surroundings and mask."""
        rows, mirrored = self.tools.faces.draw(len(batch), generator, self.tools.settings.lively)
        real = self.tools.faces.batch(rows, generator, mirrored)
        return torch.cat([real.rgb, batch.rgb, batch.hidden], 1)

    def _shown(self, made: Tensor, around: Tensor) -> Tensor:
        rgb, hidden = around[:, :3], around[:, 3:]
        return rgb + hidden * (made - rgb)

    def sheet(self, averaged: nn.ModuleDict) -> np.ndarray:
        generator = torch.Generator().manual_seed(1)
        batch = self.tools.faces.batch(fixed(self.tools.faces), generator)
        latents = self._personas(batch, generator)
        made = averaged[self.head](latents)
        return sheet([batch.rgb, self.before(latents), made], side=made.shape[-1])

    def measure(self, averaged: nn.ModuleDict) -> dict[str, float]:
        """How far the faces are from those before, and their gradients over those."""
        generator = torch.Generator().manual_seed(2)
        batch = self.tools.faces.batch(self.tools.faces.valid[: self.tools.settings.measured], generator)
        latents = self._personas(batch, generator)
        before, made = self.before(latents).float(), averaged[self.head](latents).float()
        coarse = functional.avg_pool2d(made, made.shape[-1] // before.shape[-1])
        return {
            "lpips_to_before": float(self.tools.lpips(coarse, before).mean()),
            "sharpness_over_before": float(gradient(coarse) / gradient(before)),
            "woven": float(woven(made)),
        }


class CloseUpPolishPhase(PolishPhase):
    """The close-up head: at half its size it draws what the decoder draws, so that who comes nearer stays
    the same. Of what surrounds a face in so many pixels there is no picture."""

    name, head = "polish_closeup", "closeup"

    def __init__(self, tools: Tools) -> None:
        assert tools.large is not None, "the close-up head needs the large patches"
        super().__init__(tools)
        self.large = tools.large

    def _aside(self, batch: Batch, generator: torch.Generator) -> Tensor:
        rows, mirrored = self.large.draw(len(batch), generator)
        rgb = self.large.pictures(rows)
        return rgb.flip(3) if mirrored else rgb

    def _shown(self, made: Tensor, around: Tensor) -> Tensor:
        return made

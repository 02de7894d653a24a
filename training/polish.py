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

from veilcast.diffusion.autoencoder import CELL
from veilcast.training.autoencoder import gradient, windows
from veilcast.training.critic import critic_loss, maker_loss
from veilcast.training.diffusion import noise_for, persona_for, render
from veilcast.training.lattice import woven
from veilcast.training.sheet import fixed, sheet

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from veilcast.training.data import Batch
    from veilcast.training.tools import Tools

SQUARE_PX = 4  # of the patch: coarser than that a face must not change


class PolishPhase:
    """The decoder of the patch: personas stand in their surroundings before the adversary sees them."""

    name, head = "polish", "decoder"
    seen: tuple[str, ...] = ("patch",)

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.unet, self.before = tools.finished("unet"), tools.finished("decoder")
        self.trained = nn.ModuleDict({self.head: tools.new(self.head)})
        self.rivals = self._rivals()
        self.critic: nn.Module | None = nn.ModuleDict(self.rivals) if self.rivals else None
        self._last: dict[str, tuple[Tensor, Tensor]] = {}

    def _rivals(self) -> dict[str, nn.Module]:
        """Who sees what `_shown` gives, by its names."""
        rivals = {name: self.tools.adversary(self.tools.settings.weights.polish) for name in self.seen}
        return {name: rival for name, rival in rivals.items() if rival is not None}

    def losses(self, generator: torch.Generator, size: int, step: int) -> dict[str, Tensor]:
        tools, weights = self.tools, self.tools.settings.weights
        rows, mirrored = tools.faces.draw(size, generator, tools.settings.lively)
        batch = tools.faces.batch(rows, generator, mirrored)
        latents, around = windows(
            self._personas(batch, generator),
            torch.cat([batch.rgb, batch.hidden], 1),
            tools.settings.window,
            generator,
        )
        with torch.no_grad():
            before = self.before(latents).float()
        made = self.trained[self.head](latents).float()
        coarse = functional.avg_pool2d(made, made.shape[-1] // before.shape[-1])
        shown = self._shown(made, coarse, around)
        real = self._photographs(len(batch), generator)
        self._last = {
            name: (_cut(real[name], picture.shape[-1], generator), picture.detach())
            for name, picture in shown.items()
        }
        y, x = (int(n) for n in torch.randint(2, (2,)))  # as `autoencoder.pictures` has it
        kept = tools.lpips(coarse[:, :, y:, x:], before[:, :, y:, x:]).mean()
        moved = functional.avg_pool2d(coarse - before, SQUARE_PX).abs().mean()
        terms = {"kept": weights.kept * kept, "colours": 2 * weights.pixels * moved}
        if weights.woven:
            terms["woven"] = weights.woven * woven(made)
        if self.rivals:
            doubts = [maker_loss(rival, tools.lpips, shown[name]) for name, rival in self.rivals.items()]
            terms["adversarial"] = weights.polish * torch.stack(doubts).mean()
        return terms

    def critic_loss(self) -> Tensor:
        lpips = self.tools.lpips
        losses = [critic_loss(rival, lpips, *self._last[name]) for name, rival in self.rivals.items()]
        return torch.stack(losses).mean()

    def _personas(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Latents of one persona for each sample, as run time draws them."""
        noise = self.tools.settings.truncation * noise_for(batch, generator)
        with torch.no_grad():
            return render(self.unet, batch, persona_for(self.tools, batch, generator), noise, steps=1)

    def _photographs(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Of other people, at the sizes of what the adversaries are shown."""
        return {"patch": self.tools.faces.photographs(count, generator, self.tools.settings.lively)}

    def _shown(self, made: Tensor, coarse: Tensor, around: Tensor) -> dict[str, Tensor]:
        """What an adversary sees: personas in their photographs, at the patch's size."""
        rgb, hidden = around[:, :3], around[:, 3:]
        return {"patch": rgb + hidden * (coarse - rgb)}

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
    the same. One adversary sees it there, in its photograph, among all photographs; another sees it whole
    beside the large ones, without what surrounds it, of which there is no picture in so many pixels."""

    name, head = "polish_closeup", "closeup"
    seen = ("patch", "whole")

    def __init__(self, tools: Tools) -> None:
        assert tools.large is not None, "the close-up head needs the large patches"
        super().__init__(tools)
        self.large = tools.large

    def _photographs(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        whole = self.large.photographs(count, generator)
        return {**super()._photographs(count, generator), "whole": whole}

    def _shown(self, made: Tensor, coarse: Tensor, around: Tensor) -> dict[str, Tensor]:
        return {**super()._shown(made, coarse, around), "whole": made}


def _cut(rgb: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A part of so many pixels a side of every picture, where a latent cell begins."""
    places = (rgb.shape[-1] - side) // CELL + 1
    y, x = (CELL * int(n) for n in torch.randint(places, (2,), generator=generator))
    return rgb[:, :, y : y + side, x : x + side]

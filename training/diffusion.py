"""Phase of the denoiser: identity from one picture of a person, everything else from another.

Rectified flow with prediction of the clean latent; what is the paper's and what reconstruction is said at
`veilcast.diffusion.harmonizer` and in docs/training.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn import functional

from veilcast.diffusion.autoencoder import CELL, LATENT
from veilcast.diffusion.conditioning import Reconstructor
from veilcast.diffusion.sampler import euler
from veilcast.diffusion.schedule import mix, times
from veilcast.training import networks
from veilcast.training.data import normal
from veilcast.training.identity import orthogonal, personas
from veilcast.training.sheet import fixed, sheet

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from veilcast.diffusion.identity_vae import IdentityVae
    from veilcast.diffusion.unet import UNet
    from veilcast.training.data import Batch
    from veilcast.training.tools import Tools

CAP = 5.0  # of the weight 1/t
CLEAR = 0.4  # noise level under which the prediction is good enough to be looked at as a picture
LOOKED_AT = 8  # samples a batch of 32 that are decoded for the recomposition loss


class DiffusionPhase:
    name = "diffusion"

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.critic: nn.Module | None = None
        self.normaliser, self.decoder = tools.normaliser(), tools.finished("decoder")
        sizes = tools.settings.sizes
        aligned = Reconstructor(sizes.tokens, self.normaliser.mean.numel()).to(tools.device)
        self.trained = nn.ModuleDict({"denoiser": tools.new("denoiser", "unet"), "reconstructor": aligned})

    def losses(self, generator: torch.Generator, size: int, step: int) -> dict[str, Tensor]:
        parts, tools = self.tools.settings.parts, self.tools
        rows, mirrored = tools.faces.draw(size, generator, tools.settings.lively)
        batch = tools.faces.batch(rows, generator, mirrored)
        clean = self.normaliser(tools.latents(batch))
        t = torch.sigmoid(torch.randn(size, generator=generator)).to(clean.device)  # logit-normal (SD3, 3.1)
        chance = torch.rand(2, size, generator=generator).to(clean.device)
        who = torch.where((chance[0] < parts.other_picture)[:, None], batch.other, batch.identity)
        noise = normal(clean.shape, generator, clean.device)
        guess = self.trained["denoiser"](
            mix(clean, noise, t[:, None, None, None]),
            t,
            batch.veiled,
            batch.geometry,
            who,
            masked=chance[1] < parts.mask_identity,
        ).float()
        terms = {"flow": self._flow(guess, clean, t, batch)}
        if parts.alignment > 0:
            terms["alignment"] = parts.alignment * self._alignment(who, batch, clean)
        if parts.recomposition > 0:
            terms["recomposition"] = parts.recomposition * self._recomposition(guess, t, batch, generator)
        return terms

    def _flow(self, guess: Tensor, clean: Tensor, t: Tensor, batch: Batch) -> Tensor:
        """||clean - guess||² with weight 1/t capped, more of it under the mask."""
        inside = functional.adaptive_avg_pool2d(batch.hidden, clean.shape[-1])
        weight = (1 / t).clamp(max=CAP)[:, None, None, None] * (1 + self.tools.settings.inner * inside)
        return (weight * (guess - clean) ** 2).mean()

    def _alignment(self, who: Tensor, batch: Batch, clean: Tensor) -> Tensor:
        """||R(z of the other picture, a of this one) - sg h of this one||²; over a training both directions
        occur, since each picture of a pair is this one as often as the other."""
        unet = cast("UNet", self.trained["denoiser"])
        coarse = functional.adaptive_avg_pool2d(clean, Reconstructor.CELLS)
        rebuilt = self.trained["reconstructor"](unet.identity(who), unet.attributes(batch.geometry))
        return functional.mse_loss(rebuilt.float(), coarse)

    def _recomposition(self, guess: Tensor, t: Tensor, batch: Batch, generator: torch.Generator) -> Tensor:
        """L1 + LPIPS + (1 - cos) on the decoded prediction of the least noisy samples."""
        some = t.argsort()[: max(1, len(t) * LOOKED_AT // 32)]
        part = pick(batch, some)
        made = self.decoder(guess[some]).float()
        tools = self.tools
        cosine = (tools.identify(made, part, generator) * part.identity).sum(1)
        looks = (made - part.rgb).abs().mean((1, 2, 3)) + tools.lpips(made, part.rgb) + 0.5 * (1 - cosine)
        loss: Tensor = ((t[some] < CLEAR) * looks).mean()
        return loss

    def critic_loss(self) -> Tensor:
        raise NotImplementedError("the denoiser has no adversary before the few-step phase")

    def sheet(self, averaged: nn.ModuleDict) -> np.ndarray:
        return rendered_sheet(self.tools, averaged["denoiser"], self.decoder, (6, 1))

    def measure(self, averaged: nn.ModuleDict) -> dict[str, float]:
        return held_out_figures(self.tools, averaged["denoiser"], self.decoder, steps=4)


def pick(batch: Batch, some: Tensor) -> Batch:
    """Some samples of a batch."""
    values: dict[str, Any] = {name: getattr(batch, name) for name in batch.__dataclass_fields__}
    picked: dict[str, Any] = {k: None if v is None else v[some] for k, v in values.items()}
    return type(batch)(**picked)


def render(
    unet: nn.Module, batch: Batch, who: Tensor, noise: Tensor, steps: int, guidance: float = 1.0
) -> Tensor:
    """Clean latents of people `who` in the places of a batch. `guidance` > 1 goes further from the prediction
    for nobody (the masked identity) than the network does."""

    def denoise(x: Tensor, t: float) -> Tensor:
        level = torch.full((len(x),), t, device=x.device)
        told = (x, level, batch.veiled, batch.geometry, who)
        latents: Tensor = unet(*told).float()
        if guidance == 1:
            return latents
        nobody: Tensor = unet(*told, masked=torch.ones(len(x), dtype=torch.bool, device=x.device)).float()
        return guided(latents, nobody, guidance)

    return euler(denoise, noise, [float(t) for t in times(steps)])


def guided(real: Tensor, alone: Tensor, guidance: float, parallel: float = 1.0) -> Tensor:
    """Predictions (n, c, a, a) of clean latents for somebody, led away from those for nobody (Ho and Salimans
    2022, equation 6). Of the way there the part along the prediction makes colours and contrasts stronger, no
    more: `parallel` says how much of it is kept (Sadat et al. 2024, adaptive projected guidance)."""
    way = real - alone
    if parallel != 1:
        along = (way * real).sum((1, 2, 3), keepdim=True) / real.square().sum((1, 2, 3), keepdim=True)
        way = way - (1 - parallel) * along * real
    return real + (guidance - 1) * way


def persona_for(tools: Tools, batch: Batch, generator: torch.Generator) -> Tensor:
    """A persona for each sample, agreeing in coarse attributes, orthogonal to its source."""
    draw = cast("IdentityVae", tools.finished("identity")).draw
    who = personas(draw, batch.coarse, generator).float()
    return orthogonal(who, batch.identity) if tools.settings.parts.oim else who


def noise_for(batch: Batch, generator: torch.Generator) -> Tensor:
    side = batch.rgb.shape[-1] // CELL
    return normal((len(batch), LATENT, side, side), generator, batch.rgb.device)


def rendered_sheet(tools: Tools, unet: nn.Module, decoder: nn.Module, steps: tuple[int, ...]) -> np.ndarray:
    """Source, veiled, own identity in each number of steps, two personas; those as close-ups where there is
    a head for them, since eyes that look dark or broken do not show in a patch."""
    head = tools.finished("closeup") if networks.finished("closeup", tools.weights) else decoder
    generator = torch.Generator().manual_seed(1)
    batch = tools.faces.batch(fixed(tools.faces), generator)
    noise = noise_for(batch, generator)
    rows = [batch.rgb, batch.veiled]
    rows += [decoder(render(unet, batch, batch.identity, noise, count)) for count in steps]
    for _ in range(2):
        rows.append(head(render(unet, batch, persona_for(tools, batch, generator), noise, steps[-1])))
    return sheet(rows, side=rows[-1].shape[-1])


def held_out_figures(tools: Tools, unet: nn.Module, decoder: nn.Module, steps: int) -> dict[str, float]:
    """On held-out people, with the recogniser that training uses (so: optimistic): centred cosine of the
    own identity's rendering to the source, of a persona's rendering to the source and to its command;
    sharpness against the source; all in `steps` steps."""
    generator = torch.Generator().manual_seed(2)
    found: list[list[float]] = []
    for rows in torch.split(tools.faces.valid[: tools.settings.measured], 32):
        batch = tools.faces.batch(rows, generator)
        noise = noise_for(batch, generator)
        who = persona_for(tools, batch, generator)
        own = decoder(render(unet, batch, batch.identity, noise, steps)).float()
        other = decoder(render(unet, batch, who, noise, steps)).float()
        seen = tools.identify(other, batch)
        columns = [
            (tools.identify(own, batch) * batch.identity).sum(1),
            (seen * batch.identity).sum(1),
            (seen * who).sum(1),
            sharpness(other) / sharpness(batch.rgb),
            tools.lpips(own, batch.rgb),
        ]
        found += torch.stack(columns, 1).tolist()
    means = torch.tensor(found).mean(0).tolist()
    names = ("own_to_source", "persona_to_source", "persona_to_command", "sharpness", "lpips_own")
    return dict(zip(names, means, strict=True))


def sharpness(rgb: Tensor) -> Tensor:
    """Gradient of each picture's inner face."""
    side = rgb.shape[-1]
    inner = rgb[:, :, side // 4 : side * 3 // 4, side // 4 : side * 3 // 4]
    return inner.diff(dim=2).abs().mean((1, 2, 3)) + inner.diff(dim=3).abs().mean((1, 2, 3))

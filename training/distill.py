"""Phase of few steps: the denoiser learns to be right in one or two, and to obey its command.

One half of a batch is rendered with the person's own identity and compared with the picture; the other
half with personas, for which there is no picture: the swap loss (ours, method: Swap) tells it to be the
command, not to be the source, to keep pose and expression, and to leave the surroundings alone. Where
`own` is 0 all are personas, and distribution matching holds them to faces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional

from veilcast.diffusion.identity_vae import spread
from veilcast.diffusion.patch import SPREAD
from veilcast.training import graphs, networks
from veilcast.training.autoencoder import pictures
from veilcast.training.critic import critic_loss, maker_loss
from veilcast.training.diffusion import held_out_figures, noise_for, pick, render, rendered_sheet
from veilcast.training.identity import orthogonal, personas
from veilcast.training.matching import Matching
from veilcast.training.mesh import find, manner
from veilcast.training.tools import blurred

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor

    from veilcast.diffusion.identity_vae import IdentityVae
    from veilcast.training.data import Batch
    from veilcast.training.tools import Tools

SECOND = 0.5  # noise level of the second step
BLENDSHAPES = 52
STRANGERS = 0.1  # mean centred cosine of strangers of one gender; who must have less turns into the other
INNER = (0.30, 0.26, 0.72, 0.74)  # eyes to mouth in the patch: top, left, bottom, right
LIKE = 0.78
MANNERS = 20.0  # a difference of .05 in manners counts like one standard deviation of the blendshapes


class DistillPhase:
    name = "distill"

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.normaliser, self.decoder = tools.normaliser(), tools.finished("decoder")
        self.reader = tools.finished("reader")
        self.draw = cast("IdentityVae", tools.finished("identity")).draw
        self.trained = nn.ModuleDict({"unet": tools.new("unet", "denoiser")})
        weights = tools.settings.weights
        self.denoiser = self._denoiser() if weights.anchor or weights.matching else None
        self.expression = tools.finished("expression")
        self.spread = torch.from_numpy(SPREAD[:BLENDSHAPES]).to(tools.device)
        self.looks, self.matching = tools.adversary(weights.realness), None
        if self.denoiser is not None and weights.matching:
            settings = tools.settings
            self.matching = Matching(self.denoiser, settings.matching_guidance, settings.matching_parallel)
        self.critic: nn.Module | None = self._rivals()
        self._last: tuple[Tensor, ...] = ()
        self._draw: Callable[..., Tensor] | None = None

    def _rivals(self) -> nn.ModuleDict | None:
        rivals = {"looks": self.looks, "drawn": self.matching.drawn if self.matching else None}
        return nn.ModuleDict({name: net for name, net in rivals.items() if net is not None}) or None

    def losses(self, generator: torch.Generator, size: int, step: int) -> dict[str, Tensor]:
        tools, weights = self.tools, self.tools.settings.weights
        rows, mirrored = tools.faces.draw(size, generator, tools.settings.lively)
        half = size // 2 if weights.own else 0
        batch = self._paired(tools.faces.batch(rows, generator, mirrored), half)
        who = torch.cat([batch.other[:half], self._cast(batch, half, generator)])
        noise = noise_for(batch, generator)
        guess = self._guess(batch, who, noise, generator)
        terms = {}
        if self.matching is not None:
            seen = guess, batch, who, generator
            self.matching.saw(*seen)
            if step < tools.settings.matching_after or step % tools.settings.matching_every:
                self._last = ()
                return {}
            terms["matching"] = weights.matching * self.matching.loss(*seen)
        some, half = self._looked_at(size, half, guess.device)
        batch, who, noise, guess = pick(batch, some), who[some], noise[some], guess[some]
        made = self.decoder(guess).float()
        self._last = batch.rgb, made.detach()
        terms |= self._own(made, guess, batch, half)
        if weights.anchor:
            terms["anchor"] = weights.anchor * self._anchor(made, batch, who, noise, half)
        terms |= self._looks(made, batch, half) | self._obeys(made, batch, who, half, generator)
        return terms

    def _looked_at(self, size: int, half: int, device: torch.device) -> tuple[Tensor, int]:
        """Rows that are decoded, the last of each half, and how many of them have their own identity."""
        share = self.tools.settings.looked_at
        own = round(share * half)
        personas = max(2, round(share * (size - half)) // 2 * 2) if share < 1 else size - half
        rows = torch.arange(size, device=device)
        return torch.cat([rows[half - own : half], rows[size - personas :]]), own

    def _own(self, made: Tensor, guess: Tensor, batch: Batch, half: int) -> dict[str, Tensor]:
        """The own identity gives the picture."""
        weights = self.tools.settings.weights
        if not weights.own:
            return {}
        own = pictures(self.tools, None, made[:half], batch.rgb[:half])
        terms = {name: 2 * weights.own * value for name, value in own.items()}
        clean = self.normaliser(self.tools.latents(batch))[:half]
        terms["latents"] = weights.own * weights.latents * functional.mse_loss(guess[:half], clean)
        return terms

    def _paired(self, batch: Batch, half: int) -> Batch:
        """Those from `half` on in order of their gender, so that neighbours can share a persona."""
        order = torch.arange(len(batch), device=batch.rgb.device)
        order[half:] = half + batch.coarse[half:, 1].argsort()
        return pick(batch, order)

    def _cast(self, batch: Batch, half: int, generator: torch.Generator) -> Tensor:
        """One persona for two sources, orthogonal to both in turn."""
        coarse, source = batch.coarse[half:], batch.identity[half:]
        pairs = len(coarse) // 2
        who = personas(self.draw, coarse[::2][:pairs], generator).float().repeat_interleave(2, 0)
        who = torch.cat([who, personas(self.draw, coarse[2 * pairs :], generator).float()])
        return orthogonal(who, source) if self.tools.settings.parts.oim else who

    def _denoiser(self) -> nn.Module:
        """The network as the phase before left it; where another run did that, as it was at the start."""
        if not networks.finished("denoiser", self.tools.weights):
            networks.save(self.trained["unet"], self.tools.weights, "denoiser")
        return self.tools.finished("denoiser")

    def _guess(self, batch: Batch, who: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        """The prediction from pure noise, or, for a share of the batches, the second of two steps on top of
        the network's own first one."""
        unet = self.trained["unet"]
        level = torch.ones(len(noise), device=noise.device)
        x = noise
        if float(torch.rand((), generator=generator)) < self.tools.settings.two_step:
            with torch.no_grad():
                first = render(unet, batch, who, noise, steps=1)
                x = (1 - SECOND) * first + SECOND * noise
            level = level * SECOND
        told = x, level, batch.veiled, batch.geometry, who
        self._draw = self._draw or graphs.taught(unet, *told)
        return self._draw(*told).float()

    def _anchor(self, made: Tensor, batch: Batch, who: Tensor, noise: Tensor, half: int) -> Tensor:
        """Personas look as the guided denoiser draws them from the same noise: L1 + LPIPS. Without it the
        losses of recognition draw what pleases the recogniser and no longer a face."""
        assert self.denoiser is not None
        tools = self.tools
        places = pick(batch, torch.arange(half, len(batch), device=made.device))
        with torch.no_grad():
            how = tools.settings.anchor_steps, tools.settings.guidance
            drawn = render(self.denoiser, places, who[half:], noise[half:], *how)
            target = self.decoder(drawn).float()
        looks: Tensor = (made[half:] - target).abs().mean() + tools.lpips(made[half:], target).mean()
        return looks

    def _looks(self, made: Tensor, batch: Batch, half: int) -> dict[str, Tensor]:
        """Real to the adversary, and outside the mask the same as the source."""
        weights, tools = self.tools.settings.weights, self.tools
        outside = (1 - batch.hidden[half:]) * (made[half:] - batch.rgb[half:]).abs()
        terms = {"outside": 2 * weights.pixels * outside.mean()}
        if self.looks is not None:
            terms["adversarial"] = weights.realness * maker_loss(self.looks, tools.lpips, made)
        return terms

    def _obeys(
        self, made: Tensor, batch: Batch, who: Tensor, half: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The swap loss: 1 - cos to the command, max(0, cos - that of strangers) to the source, by the
        recogniser and, for the source, by our reader too; two renderings of one persona alike; age, gender
        and skin as commanded; geometry kept."""
        weights, swap = self.tools.settings.weights, self.tools.settings.parts.swap
        seen = self.tools.identify(made, batch, generator)
        coarse, _, read = (part.float() for part in self.reader(made))
        with torch.no_grad():
            source = self.reader(batch.rgb)[2].float()
        to_source = functional.relu((seen * batch.identity).sum(1)[half:] - STRANGERS).mean()
        read_source = functional.relu((read * source).sum(1)[half:] - STRANGERS).mean()
        pairs = read[half:][: (len(read) - half) // 2 * 2]
        return {
            "command": weights.identity * swap * (1 - (seen * who).sum(1)).mean(),
            "source": weights.identity * swap * (to_source + read_source),
            "link": weights.link * swap * (1 - (pairs[::2] * pairs[1::2]).sum(1)).mean(),
            "copied": weights.copied * copied(made[half:], batch.rgb[half:], batch.hidden[half:]),
            "coarse": weights.coarse * functional.smooth_l1_loss(coarse, spread(batch.coarse)),
            "geometry": weights.geometry * self._moves(made[half:], batch.rgb[half:], generator),
        }

    def _moves(self, made: Tensor, rgb: Tensor, generator: torch.Generator) -> Tensor:
        """Pose, gaze, eyelids, lips and blendshapes of a persona are the source's, as the mesh network sees
        both; blurred, so that no fine pattern pleases it."""
        seen = find(self.tools.mesh, blurred(made, float(torch.rand((), generator=generator))))
        with torch.no_grad():
            source = find(self.tools.mesh, rgb)
            shapes = self.expression(source[:, :, :2])
        manners = (manner(seen) - manner(source)).abs().mean()
        expression = (self.expression(seen[:, :, :2]) - shapes) / self.spread
        return MANNERS * manners + functional.smooth_l1_loss(expression, torch.zeros_like(expression))

    def critic_loss(self) -> Tensor:
        terms = []
        if self.looks is not None and self._last:
            terms.append(critic_loss(self.looks, self.tools.lpips, *self._last))
        if self.matching is not None:
            terms.append(self.matching.own_loss())
        return torch.stack(terms).sum()

    def sheet(self, averaged: nn.ModuleDict) -> np.ndarray:
        return rendered_sheet(self.tools, averaged["unet"], self.decoder, self._steps)

    def measure(self, averaged: nn.ModuleDict) -> dict[str, float]:
        return held_out_figures(self.tools, averaged["unet"], self.decoder, self._steps[-1])

    @property
    def _steps(self) -> tuple[int, ...]:
        """In how many it is judged: a second one that is never trained burns the colours."""
        return (1, 2) if self.tools.settings.two_step else (1,)


def copied(made: Tensor, rgb: Tensor, hidden: Tensor) -> Tensor:
    """How far the correlation of lightly blurred luma over the inner face, where it is hidden, is above what
    run time takes for a new face (veilcast.pipeline.likeness.EXPOSED, with room)."""
    a, b = (_inner_luma(picture, hidden) for picture in (made, rgb))
    return functional.relu(functional.cosine_similarity(a, b) - LIKE).mean()


def _inner_luma(rgb: Tensor, hidden: Tensor) -> Tensor:
    side = rgb.shape[-1]
    top, left, bottom, right = (round(edge * side) for edge in INNER)
    luma = (rgb * rgb.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    inner, under = (values[:, :, top:bottom, left:right] for values in (luma, hidden))
    for _ in range(5):  # a deviation of 1.8 pixels
        inner = functional.avg_pool2d(functional.pad(inner, (1, 1, 1, 1), mode="replicate"), 3, 1)
    mean = (inner * under).sum((2, 3), keepdim=True) / under.sum((2, 3), keepdim=True).clamp(min=1)
    return ((inner - mean) * under).flatten(1)

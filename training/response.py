"""How strongly a rendering answers its command.

A network that draws in one step draws the mean of what a command may mean: brows, lips and lids move less
than they are told to. What is lost is measured on personas, and at run time asked for on top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from veilcast.training import networks, sets
from veilcast.training.diffusion import noise_for, render
from veilcast.training.identity import orthogonal, personas
from veilcast.training.mesh import find

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from veilcast.arrays import Float, Float32
    from veilcast.diffusion.identity_vae import IdentityVae
    from veilcast.training.data import Faces
    from veilcast.training.mesh import Mesh
    from veilcast.training.settings import Settings

BLENDSHAPES = 52
FACES = 800  # half of them with a rare expression
BATCH = 40
MOST = 3.0  # what hardly answers at all is not learned by shouting
STILL = 0.01  # deviation of a blendshape that faces of the set do not move


def response(cache: Path, settings: Settings, weights: Path, mesh: Mesh) -> dict[str, np.ndarray]:
    """The model's constants `expression_gain` and `expression_mean`, (52,) each, from training faces."""
    asked, shown = answers(sets.from_cache(cache, latents=False), settings, weights, mesh)
    return {"expression_gain": gains(asked, shown), "expression_mean": asked.mean(0)}


def gains(asked: Float[np.ndarray, "n 52"], shown: Float[np.ndarray, "n 52"]) -> Float32[np.ndarray, " 52"]:
    """One over the slope of the least-squares line from what was asked to what was shown, 1 to MOST; 1 where
    nothing moves, or moves the other way."""
    centred, answer = asked - asked.mean(0), shown - shown.mean(0)
    moves = (centred**2).mean(0)
    slope = (centred * answer).mean(0) / np.maximum(moves, STILL**2)
    found = np.where((moves > STILL**2) & (slope > 0), 1 / np.maximum(slope, 1 / MOST), 1)
    result: Float32[np.ndarray, " 52"] = np.clip(found, 1, MOST).astype(np.float32)
    return result


def answers(
    faces: Faces, settings: Settings, weights: Path, mesh: Mesh
) -> tuple[Float[np.ndarray, "n 52"], Float[np.ndarray, "n 52"]]:
    """Blendshapes that personas were asked for, and those that the mesh network sees in them."""
    unet, decoder, expression = (
        networks.load(name, settings, weights) for name in ("unet", "decoder", "expression")
    )
    draw = cast("IdentityVae", networks.load("identity", settings, weights)).draw
    generator = torch.Generator().manual_seed(4)
    asked: list[Tensor] = []
    shown: list[Tensor] = []
    with torch.no_grad():
        for _ in range(FACES // BATCH):
            rows, _ = faces.draw(BATCH, generator, lively=0.5)
            batch = faces.batch(rows, generator)
            who = orthogonal(personas(draw, batch.coarse, generator).float(), batch.identity)
            noise = settings.truncation * noise_for(batch, generator)
            made = decoder(render(unet, batch, who, noise, steps=1)).float()
            pasted = batch.rgb + batch.hidden * (made - batch.rgb)
            asked.append(batch.geometry[:, :BLENDSHAPES])
            shown.append(expression(find(mesh, pasted)[:, :, :2]))
    return torch.cat(asked).double().numpy(), torch.cat(shown).double().numpy()

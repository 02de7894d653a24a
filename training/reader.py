"""Phases of the small readers: attributes and identity of a patch; expression of a mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional

from veilcast.diffusion.identity_vae import spread
from veilcast.training.mesh import find

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from veilcast.training.data import Batch
    from veilcast.training.tools import Tools

MARGIN, SCALE = 0.2, 32.0  # CosFace (Wang et al. 2018, equation 4)


class ReaderPhase:
    """Coarse attributes and geometry by regression; identity by classification of the training people, so
    that losses have a second recogniser, which no one else trained."""

    name = "reader"

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.critic: nn.Module | None = None
        people = nn.Linear(128, max(tools.faces.people, 1), bias=False).to(tools.device)
        self.trained = nn.ModuleDict({"reader": tools.new("reader"), "people": people})

    def losses(self, generator: torch.Generator, size: int, step: int) -> dict[str, Tensor]:
        rows, mirrored = self.tools.faces.draw(size, generator)
        batch = self.tools.faces.batch(rows, generator, mirrored)
        coarse, geometry, identity = self.trained["reader"](_varied(batch.rgb, generator))
        return {
            "coarse": functional.smooth_l1_loss(coarse.float(), spread(batch.coarse)),
            "geometry": 10 * functional.mse_loss(geometry.float(), batch.geometry),
            "people": 0.2 * self._people(identity.float(), batch),
        }

    def _people(self, identity: Tensor, batch: Batch) -> Tensor:
        known = batch.person >= 0
        weight = functional.normalize(cast("Tensor", self.trained["people"].weight).float(), dim=1)
        cosine = identity[known] @ weight.T
        margin = MARGIN * functional.one_hot(batch.person[known], len(weight))
        return functional.cross_entropy(
            SCALE * (cosine - margin), batch.person[known], reduction="sum"
        ) / len(known)

    def critic_loss(self) -> Tensor:
        raise NotImplementedError("readers have no adversary")

    def sheet(self, averaged: nn.ModuleDict) -> np.ndarray | None:
        return None

    def measure(self, averaged: nn.ModuleDict) -> dict[str, float]:
        """Age in years, share of right genders, ITA in degrees, blendshapes' correlation, and the identity
        head's mean cosine between two pictures of one person and of two."""
        faces, generator = self.tools.faces, torch.Generator().manual_seed(1)
        batch = faces.batch(faces.valid[:512], generator)
        other = faces.batch(batch.other_rows, generator)
        coarse, geometry, identity = (x.float() for x in averaged["reader"](batch.rgb))
        same = averaged["reader"](other.rgb)[2].float()
        truth = spread(batch.coarse)
        mixed = torch.corrcoef(torch.stack([geometry[:, :52].flatten(), batch.geometry[:, :52].flatten()]))
        paired = batch.other_rows != faces.valid[:512]
        return {
            "age_years": float((coarse[:, 0] - truth[:, 0]).abs().mean() / 6 * 100),
            "gender": float(((coarse[:, 1] > 0) == (truth[:, 1] > 0)).float().mean()),
            "ita_degrees": float((coarse[:, 2] - truth[:, 2]).abs().mean() / 4 * 100),
            "blendshapes_r": float(mixed[0, 1]),
            "same": float((identity * same).sum(1)[paired].mean()),
            "different": float((identity * same.roll(7, 0)).sum(1).mean()),
        }


def _varied(rgb: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and noise, so that renderings are read like photographs."""
    change: Tensor = (torch.rand(2, len(rgb), 1, 1, 1, generator=generator) * 0.3 - 0.15).to(rgb.device)
    gain, offset = change[0], change[1]
    return (rgb * (1 + gain) + offset + 0.03 * torch.randn_like(rgb)).clamp(-1, 1)


class ExpressionPhase:
    """Blendshapes from the mesh alone: what the run-time product has in place of a licensed network."""

    name = "expression"

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.critic: nn.Module | None = None
        self.trained = nn.ModuleDict({"expression": tools.new("expression")})

    def losses(self, generator: torch.Generator, size: int, step: int) -> dict[str, Tensor]:
        rows, _ = self.tools.faces.draw(size, generator)
        meshes, shapes = self._samples(rows)
        meshes = meshes + 0.002 * torch.randn_like(meshes)
        return {"blendshapes": 100 * functional.mse_loss(self.trained["expression"](meshes), shapes)}

    def _samples(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Meshes in units of the patch, found anew where the set has none (a pack), and blendshapes."""
        faces = self.tools.faces
        shapes = faces._get("geometry", rows)[:, :52].float()
        if "landmarks" in faces.arrays:
            side = faces.arrays["patch"].shape[1]
            return faces._get("landmarks", rows)[:, :, :2] / side, shapes
        with torch.no_grad():
            return find(self.tools.mesh, faces.pictures(rows))[:, :, :2], shapes

    def critic_loss(self) -> Tensor:
        raise NotImplementedError("readers have no adversary")

    def sheet(self, averaged: nn.ModuleDict) -> np.ndarray | None:
        return None

    def measure(self, averaged: nn.ModuleDict) -> dict[str, float]:
        meshes, shapes = self._samples(self.tools.faces.valid[:1024])
        found = averaged["expression"](meshes).float()
        mixed = torch.corrcoef(torch.stack([found.flatten(), shapes.flatten()]))
        return {"blendshapes_r": float(mixed[0, 1]), "error": float((found - shapes).abs().mean())}

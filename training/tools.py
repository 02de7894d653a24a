"""What the phases share: the set, the frozen networks that losses need, and where finished weights lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from veilcast.diffusion.autoencoder import Normaliser
from veilcast.training import networks, perceptual, recogniser
from veilcast.training.critic import Critic
from veilcast.training.mesh import Mesh

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from torch import Tensor

    from veilcast.arrays import Float
    from veilcast.training.data import Batch, Faces
    from veilcast.training.settings import Settings


@dataclass
class Tools:
    """`teacher`: its frozen encoder. `large`: 256 px patches for the close-up head, if there are some."""

    faces: Faces
    settings: Settings
    weights: Path
    teacher: nn.Module
    lpips: perceptual.Lpips
    dlib: recogniser.Recogniser
    mesh: Mesh
    large: Faces | None = None

    @property
    def device(self) -> torch.device:
        return self.faces.device

    def finished(self, name: str) -> nn.Module:
        """A network whose phase is over, frozen."""
        return networks.load(name, self.settings, self.weights, self.device)

    def new(self, name: str, start: str | None = None) -> nn.Module:
        """A network to train: from its finished weights if there are some, or those of `start`, else from
        scratch."""
        net = networks.build(name, self.settings)
        for found in (name, start or name):
            if networks.finished(found, self.weights):
                net.load_state_dict(networks.load(found, self.settings, self.weights).state_dict())
                break
        return net.to(self.device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload,no-any-return]

    def adversary(self, weight: float) -> nn.Module | None:
        """A fresh critic, or None where its weight in the loss is 0."""
        if weight == 0:
            return None
        return Critic(self.settings.sizes.critic).to(self.device)

    def normaliser(self) -> Normaliser:
        """Fitted once, on the teacher's latents of some training faces."""
        if not networks.finished("normaliser", self.weights):
            net = Normaliser()
            with torch.no_grad():
                net.fit(self._some_latents())
            networks.save(net, self.weights, "normaliser")
        found = self.finished("normaliser")
        assert isinstance(found, Normaliser)
        return found

    def _some_latents(self, count: int = 1024) -> Float[Tensor, "n c a a"]:
        rows = self.faces.train[:count]
        generator = torch.Generator().manual_seed(0)
        parts = [self.latents(self.faces.batch(r, generator)) for r in torch.split(rows, 64)]
        return torch.cat(parts).cpu()

    def latents(self, batch: Batch) -> Float[Tensor, "n c a a"]:
        """The teacher's latents of a batch, not normalised; computed where they are not stored."""
        if batch.latent is not None:
            return batch.latent
        with torch.no_grad():
            latents: Tensor = self.teacher(batch.rgb / 2 + 0.5)
        return latents.float()

    def identify(self, rgb: Tensor, batch: Batch, generator: torch.Generator | None = None) -> Tensor:
        """Centred identity of patches with the batch's five points; shaken and blurred where a generator is
        given, so that a rendering must please under other alignments too."""
        shake = None
        if generator is not None:
            spread = torch.tensor([0.05, 0.06, 2.0, 2.0])
            shake = (torch.randn(len(rgb), 4, generator=generator) * spread).to(rgb.device)
            rgb = blurred(rgb, float(torch.rand((), generator=generator)))
        return recogniser.identify(self.dlib, rgb.float(), batch.five, self.faces.mean, shake)


def blurred(rgb: Float[Tensor, "n 3 s s"], strength: float) -> Float[Tensor, "n 3 s s"]:
    """A mix of the picture and its 3x3 mean."""
    mean = nn.functional.avg_pool2d(nn.functional.pad(rgb, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return rgb + strength * (mean - rgb)


def frozen(
    dlib: Mapping[str, np.ndarray],
    lpips: Mapping[str, np.ndarray],
    mesh: Mapping[str, np.ndarray],
    device: str,
) -> tuple[perceptual.Lpips, recogniser.Recogniser, Mesh]:
    """The networks of others that losses look through."""
    metric = perceptual.Lpips(lpips).to(device).eval().requires_grad_(False)
    return metric, recogniser.load(dlib).to(device), Mesh(mesh).to(device).eval()

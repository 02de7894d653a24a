"""The networks by name, built from a run's sizes, and their finished weights in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from veilcast.diffusion import autoencoder
from veilcast.diffusion.identity_vae import IdentityVae
from veilcast.diffusion.readers import Expression, Reader
from veilcast.diffusion.unet import UNet, UNetSize
from veilcast.diffusion.weights import read_tensors, write_tensors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

    from veilcast.training.settings import Settings

NAMES = (
    "encoder",
    "decoder",
    "closeup",
    "denoiser",
    "unet",
    "identity",
    "reader",
    "expression",
    "normaliser",
)


def build(name: str, settings: Settings) -> nn.Module:
    sizes = settings.sizes
    if name in ("unet", "denoiser"):
        return UNet(
            UNetSize(
                autoencoder.LATENT,
                sizes.unet,
                sizes.depth,
                sizes.harmonized,
                sizes.tokens,
                sizes.heads,
                sizes.surroundings,
                settings.parts.gate,
            )
        )
    makers: dict[str, Callable[[], nn.Module]] = {
        "encoder": lambda: autoencoder.Encoder(sizes.encoder),
        "decoder": lambda: autoencoder.Decoder(sizes.decoder),
        "closeup": lambda: autoencoder.Decoder((*sizes.decoder, sizes.decoder[-1] // 2)),
        "identity": IdentityVae,
        "reader": lambda: Reader(sizes.reader),
        "expression": Expression,
        "normaliser": autoencoder.Normaliser,
    }
    return makers[name]()


def path(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def save(net: nn.Module, folder: Path, name: str, dtype: str = "float32") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(path(folder, name), {key: arrays(value, dtype) for key, value in net.state_dict().items()})


def arrays(value: torch.Tensor, dtype: str) -> np.ndarray:
    array = value.detach().cpu().numpy()
    return array.astype(dtype) if array.dtype.kind == "f" else array


def load(name: str, settings: Settings, folder: Path, device: str | torch.device = "cpu") -> nn.Module:
    """A finished network, frozen. Raises ModelMissing where its phase has not been run."""
    net = build(name, settings)
    fill(net, read_tensors(path(folder, name)))
    return net.to(device).eval().requires_grad_(False)


def fill(net: nn.Module, tensors: dict[str, np.ndarray]) -> None:
    net.load_state_dict(
        {k: torch.from_numpy(v.astype("float32") if v.dtype.kind == "f" else v) for k, v in tensors.items()}
    )


def finished(name: str, folder: Path) -> bool:
    return path(folder, name).exists()

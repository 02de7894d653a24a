"""The weights that come with the package, as ONNX and as the torch modules that they were exported from,
and inputs of the kind that they see."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from veilcast.diffusion.patch import GEOMETRY
from veilcast.pipeline.drawn import drawn
from veilcast.pipeline.studio import built_in

OUTPUTS = {
    "unet": "clean",
    "decoder": "rgb",
    "closeup": "rgb",
    "identity": "identity",
    "expression": "blendshapes",
    "coarse": "coarse",
}


@cache
def onnx_bytes(name: str) -> bytes:
    return (built_in() / f"{name}.onnx").read_bytes()


@cache
def module(name: str) -> Any:
    """In torch, with the same weights. Needs torch."""
    from veilcast.training import export, networks
    from veilcast.training.settings import Settings

    net: Any = export._part(networks.build(export.NETWORKS[f"{name}.onnx"], Settings()))
    export.read_back(onnx_bytes(name), net)
    return net.eval().requires_grad_(False)


def inputs(name: str, count: int, seed: int = 1) -> dict[str, np.ndarray]:
    """`count` cases: noise and times of the sampler, a drawn face with its inside veiled, a person."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        drawn_now: np.ndarray = rng.normal(size=(count, *shape)).astype(np.float32)
        return drawn_now

    face = drawn()[64:192, 64:192].transpose(2, 0, 1).astype(np.float32) / 127.5 - 1
    person = normal(128)
    made: dict[str, Callable[[], dict[str, np.ndarray]]] = {
        "unet": lambda: {
            "x": normal(32, 16, 16),
            "t": rng.uniform(0.2, 1, count).astype(np.float32),
            "veiled": np.stack([veiled(face)] * count),
            "geometry": normal(GEOMETRY) / 10,
            "identity": person / np.linalg.norm(person, axis=1, keepdims=True),
        },
        "decoder": lambda: {"latent": normal(32, 16, 16)},
        "closeup": lambda: {"latent": normal(32, 16, 16)},
        "identity": lambda: {"z": normal(64), "coarse": normal(3)},
        "expression": lambda: {"landmarks": rng.uniform(0, 1, (count, 478, 2)).astype(np.float32)},
        "coarse": lambda: {"rgb": np.stack([face] * count) + normal(3, 128, 128) / 20},
    }
    return made[name]()


def veiled(face: np.ndarray) -> np.ndarray:
    """(4, 128, 128): the picture with nothing in its middle, and where that is."""
    hidden = np.zeros((1, 128, 128), np.float32)
    hidden[:, 24:112, 24:104] = 1
    whole: np.ndarray = np.concatenate([face * (1 - hidden), hidden])
    return whole

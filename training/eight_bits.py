"""What the product runs the generator in eight bits by: scales and biases, measured where the network is
trained, on held-out faces that are given other people's identities as at run time."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, cast

import numpy as np
import onnx
import torch

from veilcast.pipeline.generator_model import scales_of
from veilcast.training import networks, sets
from veilcast.training.diffusion import noise_for
from veilcast.training.identity import orthogonal, personas
from veilcast.trt_engines.open import open_engine
from veilcast.trt_engines.quantise import quantised, scales

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from veilcast.diffusion.identity_vae import Draw, IdentityVae
    from veilcast.training.data import Faces
    from veilcast.training.settings import Settings
    from veilcast.trt_engines.engine import Tensors

CASES = 48
# names of the nodes that stay as they are. Matrix products, and what first sees noise and surroundings, lose
# a picture; all other convolutions lose nothing that shows (benchmarks/quantised.py)
KEPT = {
    "unet.onnx": r"(?!/(down|up|shrink|grow|head).*/Conv$).*",
    "decoder.onnx": r"(?!.*/Conv$).*",
    "closeup.onnx": r"(?!.*/Conv$).*",
}


def measured(
    cache: Path, settings: Settings, weights: Path
) -> Callable[[Mapping[str, bytes]], Mapping[str, bytes]]:
    """From a run's graphs to their files of scales."""
    faces = sets.from_cache(cache, latents=False)
    draw = cast("IdentityVae", networks.load("identity", settings, weights)).draw
    return lambda graphs: tables(graphs, faces, draw, settings.truncation)


def tables(
    graphs: Mapping[str, bytes], faces: Faces, draw: Draw, truncation: float = 1.0
) -> dict[str, bytes]:
    """The files of scales for these networks, by name. Needs nncf. Raises EngineError."""
    asked = unet_cases(faces, draw, truncation)
    with open_engine(graphs["unet.onnx"], precision="f32") as unet:
        latents = [{"latent": unet.run(case)["clean"]} for case in asked]
    cases: dict[str, Sequence[Tensors]] = {
        "unet.onnx": asked,
        "decoder.onnx": latents,
        "closeup.onnx": latents,
    }
    return {
        scales_of(name): packed(graphs[name], cases[name], kept)
        for name, kept in KEPT.items()
        if name in graphs
    }


def unet_cases(faces: Faces, draw: Draw, truncation: float = 1.0) -> list[Tensors]:
    """Held-out faces as the denoiser is asked for them, from so much pure noise, one a case."""
    generator = torch.Generator().manual_seed(3)
    batch = faces.batch(faces.valid[:CASES], generator)
    with torch.no_grad():
        who = orthogonal(personas(draw, batch.coarse, generator).float(), batch.identity)
    inputs = {
        "x": truncation * noise_for(batch, generator),
        "t": torch.ones(len(batch)),
        "veiled": batch.veiled,
        "geometry": batch.geometry,
        "identity": who,
    }
    arrays = {name: np.asarray(value, np.float32) for name, value in inputs.items()}
    return [{name: value[row : row + 1] for name, value in arrays.items()} for row in range(len(batch))]


def packed(graph: bytes, cases: Sequence[Tensors], kept: str) -> bytes:
    """An .npz of scales and biases."""
    file = io.BytesIO()
    found = scales(onnx.load_from_string(quantised(graph, cases, ignored=[kept])))
    np.savez_compressed(file, allow_pickle=False, **found)
    return file.getvalue()

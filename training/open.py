"""The workbench of a run on a site's own cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from veilcast.diffusion.weights import read_tensors
from veilcast.training import mesh, sets, tools
from veilcast.training.recogniser import from_onnx
from veilcast.training.teacher import load_encoder

if TYPE_CHECKING:
    from pathlib import Path

    from veilcast.training.settings import Settings
    from veilcast.trt_engines.models import Models


def open_tools(
    settings: Settings,
    cache: Path,
    run: Path,
    teacher: Path,
    lpips: Path,
    models: Models,
    device: str = "cpu",
    latents: bool = True,
) -> tools.Tools:
    """Set and frozen networks. `run`: the folder of checkpoints, sheets and finished weights. `latents`:
    only pictures whose latent is in the cache, for phases that need it on a CPU; a GPU computes them."""
    dlib, face = from_onnx(models.bytes("dlib")), mesh.from_onnx(models.bytes("landmarks478"))
    metric, recogniser, meshes = tools.frozen(dlib, read_tensors(lpips), face, device)
    encoder = load_encoder(teacher).to(device)
    torch.set_float32_matmul_precision("high")
    return tools.Tools(
        faces=sets.from_cache(cache, device, latents=latents and device == "cpu"),
        settings=settings,
        weights=run / "weights",
        teacher=encoder,
        lpips=metric,
        dlib=recogniser,
        mesh=meshes,
        large=sets.large_from_cache(cache, device),
    )


def constants(cache: Path) -> dict[str, np.ndarray]:
    """What run time needs beside the networks: the average mesh, the recogniser's mean, what a centred
    identity says about the coarse attributes (a linear fit), and how those are spread among people."""
    faces = sets.from_cache(cache, latents=False)
    who, coarse = faces.identities(faces.train).numpy(), faces.arrays["coarse"][faces.train].numpy()
    lifted = np.concatenate([who, np.ones((len(who), 1))], 1).astype(np.float64)
    fit = np.linalg.solve(lifted.T @ lifted + 1e-2 * np.eye(lifted.shape[1]), lifted.T @ coarse).T
    return {
        "mean_mesh": read_tensors(cache / "constants.safetensors")["mean_mesh"],
        "identity_mean": faces.mean.numpy(),
        "fit": fit[:, :-1],
        "fit_bias": fit[:, -1],
        "coarse_mean": coarse.mean(0),
        "coarse_factor": np.linalg.cholesky(np.cov(coarse.T) + 1e-6 * np.eye(3)),
    }

"""A pack as a training set. Needs torch, numpy and Pillow alone."""

from __future__ import annotations

import io
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch

from veilcast.diffusion import patch
from veilcast.training import networks, tools
from veilcast.training.data import Faces, assemble
from veilcast.training.pack import read_pack
from veilcast.training.teacher import TeacherEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from veilcast.training.settings import Settings


def open_pack(
    folder: Path, settings: Settings, run: Path, device: str, workers: int, limit: int | None
) -> tools.Tools:
    """The workbench. `limit`: only so many pictures (a test). Latents of the pictures and of their mirror
    images are computed here once."""
    tensors = read_pack(folder)
    # pictures first: processes are not to be forked once a GPU is in use
    small = _decoded(tensors, "patches", "patch_sizes", workers, limit)
    big = None if limit or "large" not in tensors else _decoded(tensors, "large", "large_sizes", workers)
    teacher = TeacherEncoder()
    networks.fill(teacher, part(tensors, "teacher"))
    teacher = teacher.to(device).eval().requires_grad_(False)
    faces = _faces(tensors, small, device)
    if device != "cpu":
        faces = _with_latents(faces, teacher)
    dlib, lpips, mesh = (part(tensors, name) for name in ("dlib", "lpips", "mesh"))
    others = tools.frozen(dlib, lpips, mesh, device)
    large = None if big is None else _large(tensors, big, device)
    return tools.Tools(faces, settings, run / "weights", teacher, *others, large)


def part(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {k[len(prefix) + 1 :]: v for k, v in tensors.items() if k.startswith(prefix + "/")}


def _faces(tensors: Mapping[str, np.ndarray], pictures: np.ndarray, device: str) -> Faces:
    rows, side = np.arange(len(pictures)), pictures.shape[1]
    arrays = {name: tensors[name][rows] for name in ("geometry", "five", "coarse", "dlib")}
    outlines = tensors["outline"][rows].astype(np.float64)
    arrays["mask"] = np.stack([np.packbits(patch.fill(o, side) > 0.5) for o in outlines])
    return assemble(
        {**arrays, "patch": pictures}, _people(tensors, rows), tensors["held_out"][rows], rows, device
    )


def _large(tensors: Mapping[str, np.ndarray], pictures: np.ndarray, device: str) -> Faces:
    where = tensors["large_rows"]
    arrays = {"patch": pictures, "dlib": tensors["dlib"][where]}
    held = tensors["held_out"][where]
    return assemble(arrays, _people(tensors, where), held, np.arange(len(where)), device)


def _people(tensors: Mapping[str, np.ndarray], rows: np.ndarray) -> list[str]:
    return [str(n) if n >= 0 else "" for n in tensors["person"][rows]]


def _decoded(
    tensors: Mapping[str, np.ndarray], name: str, sizes: str, workers: int, limit: int | None = None
) -> np.ndarray:
    """(N, s, s, 3) uint8."""
    lengths = tensors[sizes][:limit]
    ends, data = np.cumsum(lengths), tensors[name].tobytes()
    blobs = [data[end - size : end] for end, size in zip(ends.tolist(), lengths.tolist(), strict=True)]
    if workers < 2:
        return np.stack([_decode(blob) for blob in blobs])
    with ProcessPoolExecutor(workers) as pool:
        return np.stack(list(pool.map(_decode, blobs, chunksize=256)))


def _decode(blob: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(blob)).convert("RGB"))


def _with_latents(faces: Faces, teacher: nn.Module) -> Faces:
    """The set with the teacher's latents, as the pictures are and mirrored, in fp16."""

    def encode(mirrored: bool) -> torch.Tensor:
        found = []
        for rgb in torch.split(faces.arrays["patch"], 512):
            picture = rgb.permute(0, 3, 1, 2).float() / 255
            with torch.no_grad(), torch.autocast(rgb.device.type, torch.bfloat16):
                found.append(teacher(picture.flip(3) if mirrored else picture).half())
        return torch.cat(found)

    arrays = {**faces.arrays, "latent": encode(False), "latent_mirrored": encode(True)}
    return Faces(arrays, faces.train, faces.valid, faces.mean, faces.partners, faces.lively)

"""Training sets from where they lie: the cache that `prepare` makes, or a pack (training/pack.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from veilcast.diffusion.identity_vae import COARSE
from veilcast.errors import ModelMissing
from veilcast.training.arrays import Cache, read_table
from veilcast.training.data import Faces, assemble
from veilcast.training.faces import Entry

if TYPE_CHECKING:
    from pathlib import Path

PRESENT = 0.5  # the mesh network's own doubt, under which a picture is left out


def table(folder: Path) -> list[Entry]:
    """The rows' entries. Raises ModelMissing where nothing was prepared."""
    path = folder / "ENTRIES.jsonl"
    if not path.exists():
        raise ModelMissing(f"nothing prepared in {folder}; run `veilcast train prepare` first")
    return [Entry(**row) for row in read_table(path)]  # type: ignore[arg-type]


def from_cache(folder: Path, device: str = "cpu", latents: bool = True) -> Faces:
    """What is derived so far. `latents`: only rows whose latent is there, else they are computed anew."""
    entries = table(folder)
    cache = Cache(folder, len(entries))
    stages = ["faces", "embeddings", "conditions", *(["latents"] if latents else [])]
    rows = usable(cache, stages)
    arrays = {
        name: cache.open(name, "c") for name in ("patch", "mask", "geometry", "five", "dlib", "landmarks")
    }
    arrays["coarse"] = coarse(cache)
    if latents:
        arrays["latent"] = cache.open("latent", "c")
    held = np.array([entry.held_out for entry in entries])
    return assemble(arrays, [entry.identity for entry in entries], held, rows, device)


def large_from_cache(folder: Path, device: str = "cpu") -> Faces | None:
    """The 256 px patches, if that stage was run."""
    if not (folder / "large" / "rows.npy").exists():
        return None
    everything = table(folder)
    rows = np.load(folder / "large" / "rows.npy")
    cache, whole = Cache(folder / "large", len(rows)), Cache(folder, len(everything))
    ready = np.intersect1d(
        cache.ready("large"), np.flatnonzero(np.isin(rows, usable(whole, ["faces", "embeddings"])))
    )
    arrays = {"patch": cache.open("patch256", "c"), "dlib": whole.open("dlib")[rows]}
    entries = [everything[row] for row in rows]
    held = np.array([entry.held_out for entry in entries])
    return assemble(arrays, [entry.identity for entry in entries], held, ready, device)


def usable(cache: Cache, stages: list[str]) -> np.ndarray:
    """Rows that all these stages have done and in which there is a face."""
    rows = cache.ready(*stages)
    return np.asarray(rows[cache.open("presence")[rows] > PRESENT])


def coarse(cache: Cache) -> np.ndarray:
    """(N, 3) age/100, gender, ITA/100. Where age and gender are not derived yet, a ridge regression on the
    embedding gives them (on dlib's gender is right in 97 %). Raises ModelMissing where none is derived."""
    values = np.zeros((cache.count, COARSE), np.float32)
    values[:, 2] = cache.open("tone")[:] / 100
    known = cache.ready("embeddings", "attributes")
    if not len(known):
        raise ModelMissing(
            f"no ages and genders in {cache.folder}; run `veilcast train prepare --stages attributes`"
        )
    values[known, 0], values[known, 1] = cache.open("age")[known] / 100, cache.open("male")[known]
    rest = np.setdiff1d(cache.ready("embeddings"), known)
    embeddings = cache.open("dlib")
    values[rest, :2] = ridge(embeddings[known], values[known, :2], embeddings[rest])
    return values


def ridge(x: np.ndarray, y: np.ndarray, at: np.ndarray, strength: float = 1e-2) -> np.ndarray:
    """Ridge regression of y (n, k) on unit vectors x (n, d), evaluated `at` (m, d); clipped to y's range."""

    def lifted(v: np.ndarray) -> np.ndarray:
        v = v / np.linalg.norm(v, axis=1, keepdims=True)
        return np.asarray(np.concatenate([v, np.ones((len(v), 1))], 1))

    a = lifted(np.asarray(x, np.float64))
    weights = np.linalg.solve(a.T @ a + strength * np.eye(a.shape[1]), a.T @ y)
    return np.asarray(np.clip(lifted(np.asarray(at, np.float64)) @ weights, y.min(0), y.max(0)))

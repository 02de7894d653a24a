"""The whole training set in a few files, for a machine with a GPU, torch, numpy and Pillow, and no network.

A pack is one safetensors stream cut into parts, because what leads to such a machine may take no larger
files: pictures as WebP one after another with their sizes, the arrays that are costly to derive, and in fp16
what the losses need. Latents are computed anew there. Of the held-out people only as many as the contact
sheets and figures need are in it, marked, and nothing trains on them.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from veilcast.diffusion import patch
from veilcast.diffusion.weights import parse_tensors, read_tensors, write_tensors
from veilcast.errors import ModelCorrupt, ModelMissing, OutputError
from veilcast.training import sets
from veilcast.training.arrays import Cache

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PART_MIB = 17  # of one file: as much as a mail or an upload form commonly takes
MOST_MIB = 180  # of all: a set that has outgrown the way there is told before it is copied
VALID = 640  # pictures of held-out people
LARGE_QUALITY = 88


def write_pack(
    cache_folder: Path,
    out: Path,
    teacher: Path,
    lpips: Path,
    dlib: Mapping[str, np.ndarray],
    mesh: Mapping[str, np.ndarray],
    quality: int,
    part_mib: int = PART_MIB,
    most_mib: int = MOST_MIB,
) -> Iterator[str]:
    """Write the parts, of at most `part_mib` each; yields what is being done. Raises OutputError where
    all take more than `most_mib`."""
    entries = sets.table(cache_folder)
    cache = Cache(cache_folder, len(entries))
    rows = sets.usable(cache, ["faces", "embeddings"])
    held = np.array([entries[row].held_out for row in rows])
    rows = np.sort(np.concatenate([rows[~held], rows[held][:VALID]]))
    names = {name: n for n, name in enumerate(sorted({entries[row].identity for row in rows} - {""}))}
    yield f"{len(rows)} pictures of {len(names)} known people and others"
    tensors: dict[str, np.ndarray] = {
        "person": np.array([names.get(entries[row].identity, -1) for row in rows], np.int32),
        "held_out": np.array([entries[row].held_out for row in rows]),
        **_arrays(cache, rows),
        **_constants(cache_folder),
        **_halved("dlib", dlib),
        **_halved("mesh", mesh),
        **_halved("lpips", read_tensors(lpips)),
        **_halved("teacher", read_tensors(teacher)),
    }
    pictures = cache.open("patch")
    tensors["patches"], tensors["patch_sizes"] = _webp((pictures[row] for row in rows), quality)
    yield f"patches: {tensors['patches'].nbytes / 1e6:.1f} MB"
    tensors |= _large(cache_folder, rows)
    yield from _cut(out, tensors, part_mib << 20, most_mib << 20)


def _halved(prefix: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        f"{prefix}/{name}": value.astype(np.float16) if value.dtype.kind == "f" else value
        for name, value in tensors.items()
    }


def _arrays(cache: Cache, rows: np.ndarray) -> dict[str, np.ndarray]:
    landmarks, shapes = cache.open("landmarks")[rows], cache.open("blendshapes")[rows]
    mesh = read_tensors(cache.folder / "constants.safetensors")["mean_mesh"]
    side = cache.open("patch").shape[1]
    geometry = [patch.geometry(points, mesh, s, side) for points, s in zip(landmarks, shapes, strict=True)]
    return {
        "geometry": np.stack(geometry).astype(np.float16),
        "five": np.stack([patch.five(points) for points in landmarks]).astype(np.float16),
        "outline": np.stack([patch.outline(points) for points in landmarks]).astype(np.float16),
        "coarse": sets.coarse(cache)[rows].astype(np.float16),
        "dlib": cache.open("dlib")[rows].astype(np.float16),
    }


def _constants(folder: Path) -> dict[str, np.ndarray]:
    return {f"constants/{k}": v for k, v in read_tensors(folder / "constants.safetensors").items()}


def _large(folder: Path, rows: np.ndarray) -> dict[str, np.ndarray]:
    """256 px pictures and the row of each in the pack."""
    if not (folder / "large" / "rows.npy").exists():
        return {}
    where = {int(row): n for n, row in enumerate(rows)}
    large = np.load(folder / "large" / "rows.npy")
    cache = Cache(folder / "large", len(large))
    chosen = [n for n in cache.ready("large") if int(large[n]) in where]
    pictures = cache.open("patch256")
    packed, sizes = _webp((pictures[n] for n in chosen), LARGE_QUALITY)
    numbers = np.array([where[int(large[n])] for n in chosen], np.int32)
    return {"large": packed, "large_sizes": sizes, "large_rows": numbers}


def _webp(pictures: Iterator[np.ndarray], quality: int) -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image

    blobs = []
    for rgb in pictures:
        file = io.BytesIO()
        Image.fromarray(rgb).save(file, "WEBP", quality=quality, method=4)
        blobs.append(file.getvalue())
    return np.frombuffer(b"".join(blobs), np.uint8), np.array([len(blob) for blob in blobs], np.int32)


def _cut(out: Path, tensors: dict[str, np.ndarray], part_bytes: int, most_bytes: int) -> Iterator[str]:
    out.mkdir(parents=True, exist_ok=True)
    whole = out / "whole.safetensors"
    write_tensors(whole, tensors)
    data = whole.read_bytes()
    whole.unlink()
    if len(data) > most_bytes:
        raise OutputError(
            f"the pack takes {len(data) / 2**20:.1f} MiB, more than {most_bytes >> 20}; lower --quality, "
            "or raise --most-mib where the way to the other machine takes more"
        )
    for old in out.glob("pack-*.bin"):
        old.unlink()
    parts = [data[start : start + part_bytes] for start in range(0, len(data), part_bytes)]
    for number, part in enumerate(parts):
        (out / f"pack-{number:02d}.bin").write_bytes(part)
    contents = {"parts": len(parts), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (out / "pack.json").write_text(json.dumps(contents) + "\n")
    yield f"{len(parts)} parts, {len(data) / 2**20:.1f} MiB in {out}"


def read_pack(folder: Path) -> dict[str, np.ndarray]:
    """Every tensor of a pack. Raises ModelMissing, ModelCorrupt."""
    try:
        contents = json.loads((folder / "pack.json").read_text())
        parts = [(folder / f"pack-{n:02d}.bin").read_bytes() for n in range(contents["parts"])]
    except OSError as error:
        raise ModelMissing(f"the pack in {folder} is not complete: {error}") from None
    data = b"".join(parts)
    if hashlib.sha256(data).hexdigest() != contents["sha256"]:
        raise ModelCorrupt(f"the pack in {folder} does not have its SHA-256; copy it again")
    return parse_tensors(data, str(folder))

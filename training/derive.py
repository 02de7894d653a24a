"""What training needs of each picture and never changes: its patch, mesh, embedding, attributes, latent.

Each class holds the networks of one stage (as callables: arrays in, arrays out) and derives a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from veilcast.diffusion import patch
from veilcast.pipeline.align import TEMPLATE_112, TEMPLATE_DLIB_150
from veilcast.training.arrays import Array, Cache, Stage
from veilcast.training.faces import Entry, Shards, decode

Network = Callable[[np.ndarray], Mapping[str, np.ndarray]]  # batch of BATCH rows -> outputs by name

MESH_SIDE = 256  # input of the mesh network
BATCH = 16

# The 146 of the 478 mesh points that the blendshapes network reads, in its order (MediaPipe).
# fmt: off
BLENDSHAPE_POINTS = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67,
    70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146,
    148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181,
    185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293,
    295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361,
    362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386, 387, 388, 389, 390, 397, 398,
    400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
)
# fmt: on


def stages(side: int) -> dict[str, Stage]:
    """What is derived for patches of `side` pixels, and what each stage needs first."""
    faces = {
        "patch": Array((side, side, 3), "uint8"),
        "landmarks": Array((478, 3), "float32"),  # pixels of the patch
        "blendshapes": Array((52,), "float32"),
        "tone": Array((), "float32"),  # ITA of the cheeks, degrees
        "presence": Array((), "float32"),  # the mesh network's own: is there a face
        "source_landmarks": Array((478, 2), "float32"),  # pixels of the stored crop
    }
    conditions = {
        "mask": Array((side * side // 8,), "uint8"),  # bits, rows from above
        "geometry": Array((patch.GEOMETRY,), "float32"),
        "five": Array((5, 2), "float32"),  # pixels of the patch
    }
    attributes = {"age": Array((), "float32"), "male": Array((), "float32")}  # years, probability
    latent = Array((32, side // 8, side // 8), "float16")
    found = (
        Stage("faces", faces),
        Stage("embeddings", {"dlib": Array((128,), "float32")}, ("faces",)),
        Stage("conditions", conditions, ("faces",)),
        Stage("large", {"patch256": Array((2 * side, 2 * side, 3), "uint8")}),  # of twice the side
        Stage("attributes", attributes, ("faces",)),
        Stage("latents", {"latent": latent}, ("faces",)),
    )
    return {stage.name: stage for stage in found}


def warp(rgb: np.ndarray, affine: np.ndarray, side: int) -> np.ndarray:
    """Crop by an affine in continuous coordinates (pixel centres at .5); averages where it shrinks."""
    shifted = np.array(affine, np.float64)
    shifted[:, 2] += shifted[:, :2] @ [0.5, 0.5] - 0.5
    scale = float(np.hypot(affine[0, 0], affine[1, 0]))
    if scale < 0.75:
        blur = 0.4 * (1 / scale - 0.5)
        rgb = cv2.GaussianBlur(rgb, (0, 0), blur)
    crop = cv2.warpAffine(rgb, shifted, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop)


def batched(network: Network, inputs: Sequence[np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
    """Run in batches of one static size, the last one padded; outputs joined."""
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(inputs), BATCH):
        some = np.stack(list(inputs[start : start + BATCH])).astype(np.float32)
        padded = np.concatenate([some, np.repeat(some[-1:], BATCH - len(some), 0)])
        for name, output in network(padded).items():
            parts.setdefault(name, []).append(np.array(output)[: len(some)])
    return {name: np.concatenate(outputs) for name, outputs in parts.items()}


def planar(rgb: np.ndarray) -> np.ndarray:
    """(h, w, 3) to (3, h, w)."""
    return rgb.transpose(2, 0, 1)


@dataclass(frozen=True)
class Faces:
    """Patch, mesh and blendshapes: found from the index's five points, aligned by the mesh's own."""

    entries: Sequence[Entry]
    shards: Shards
    mesh: Network  # rgb (n, 3, 256, 256) 0..255 -> mesh (n, 478, 3) in pixels, presence (n, 1)
    blendshapes: Network  # points (n, 146, 2) in pixels -> blendshapes (n, 52)
    side: int  # of the patch, pixels

    def __call__(self, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        pictures = [decode(self.shards.read(self.entries[row])) for row in rows]
        coarse = [
            patch.similarity(np.array(self.entries[row].points), patch.TEMPLATE * MESH_SIDE) for row in rows
        ]
        crops = [planar(warp(p, a, MESH_SIDE)) for p, a in zip(pictures, coarse, strict=True)]
        found = batched(self.mesh, crops)
        shapes = batched(self.blendshapes, found["mesh"][:, list(BLENDSHAPE_POINTS), :2])
        return self._aligned(pictures, coarse, found["mesh"]) | {
            "blendshapes": shapes["blendshapes"],
            "presence": found["presence"].reshape(-1),
        }

    def _aligned(
        self, pictures: list[np.ndarray], coarse: list[np.ndarray], meshes: np.ndarray
    ) -> dict[str, np.ndarray]:
        source = [patch.move(m, _inverse(a)) for m, a in zip(meshes, coarse, strict=True)]
        affines = [patch.to_patch(points, self.side) for points in source]
        patches = [warp(p, a, self.side) for p, a in zip(pictures, affines, strict=True)]
        landmarks = [patch.move(p, a) for p, a in zip(source, affines, strict=True)]
        return {
            "patch": np.stack(patches),
            "landmarks": np.stack(landmarks),
            "tone": np.array([ita(p, points) for p, points in zip(patches, landmarks, strict=True)]),
            "source_landmarks": np.stack(source)[:, :, :2],
        }


def _inverse(affine: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.invertAffineTransform(affine), np.float64)


@dataclass(frozen=True)
class Embeddings:
    """dlib's 128-d embedding, as the network gives it (not normalised)."""

    entries: Sequence[Entry]
    shards: Shards
    cache: Cache
    dlib: Network  # rgb (n, 3, 150, 150) 0..255 -> embedding (n, 128)

    def __call__(self, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        landmarks = self.cache.open("source_landmarks")[rows]
        chips = _chips(self.shards, [self.entries[row] for row in rows], landmarks, TEMPLATE_DLIB_150, 150)
        return {"dlib": batched(self.dlib, chips)["embedding"]}


def _chips(
    shards: Shards, entries: Sequence[Entry], landmarks: np.ndarray, template: np.ndarray, side: int
) -> list[np.ndarray]:
    """Crops (3, side, side) aligned by the mesh's five points."""
    affines = [patch.similarity(patch.five(points), template) for points in landmarks]
    return [planar(warp(decode(shards.read(e)), a, side)) for e, a in zip(entries, affines, strict=True)]


@dataclass(frozen=True)
class Attributes:
    """Age in years and P(male): the index's own where it has them, else a network's: pseudo-labels."""

    entries: Sequence[Entry]
    shards: Shards
    cache: Cache
    faceres: Network  # rgb (n, 3, 224, 224) 0..255 -> age (n, 1) years, male (n, 1) probability

    def __call__(self, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        landmarks, entries = self.cache.open("source_landmarks")[rows], [self.entries[row] for row in rows]
        found = batched(self.faceres, _chips(self.shards, entries, landmarks, 2 * TEMPLATE_112, 224))
        ages, male = found["age"].reshape(-1), found["male"].reshape(-1)
        for column, row in enumerate(rows):
            ages[column] = self.entries[row].age or ages[column]
            male[column] = (
                float(self.entries[row].gender == "male") if self.entries[row].gender else male[column]
            )
        return {"age": ages, "male": male}


def ita(rgb: np.ndarray, landmarks: np.ndarray) -> float:
    """Individual typology angle of the cheeks, degrees: atan2(L* - 50, b*) (Chardon et al. 1991)."""
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    spots = np.clip(landmarks[list(patch.CHEEKS), :2].astype(int), 2, rgb.shape[0] - 3)
    cells = np.concatenate([lab[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3) for x, y in spots])
    lightness, _, yellow = np.median(cells, 0)
    return float(np.degrees(np.arctan2(lightness - 50, max(float(yellow), 1e-3))))


@dataclass(frozen=True)
class Latents:
    cache: Cache
    encoder: Network  # rgb (n, 3, s, s) 0..1 -> latent (n, 32, s/8, s/8)

    def __call__(self, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        pictures = self.cache.open("patch")[rows]
        latents = batched(self.encoder, [planar(p) / np.float32(255) for p in pictures])["latent"]
        return {"latent": latents.astype(np.float16)}


@dataclass(frozen=True)
class Conditions:
    """What the generator is told of each picture (veilcast.diffusion.patch)."""

    cache: Cache
    mesh: np.ndarray  # the average one
    side: int

    def __call__(self, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        landmarks, shapes = self.cache.open("landmarks")[rows], self.cache.open("blendshapes")[rows]
        pairs = zip(landmarks, shapes, strict=True)
        return {
            "mask": np.stack([np.packbits(patch.mask(points, self.side) > 0.5) for points in landmarks]),
            "geometry": np.stack(
                [patch.geometry(points, self.mesh, shape, self.side) for points, shape in pairs]
            ),
            "five": np.stack([patch.five(points) for points in landmarks]),
        }


@dataclass(frozen=True)
class Large:
    """Patches of twice the side, of pictures that are large enough; landmarks of their small form."""

    entries: Sequence[Entry]
    shards: Shards
    landmarks: np.ndarray  # (n, 478, 2) in pixels of the stored crops
    side: int  # of the small patch

    def __call__(self, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        affines = [patch.to_patch(self.landmarks[row], 2 * self.side) for row in rows]
        pictures = [decode(self.shards.read(self.entries[row])) for row in rows]
        return {
            "patch256": np.stack([warp(p, a, 2 * self.side) for p, a in zip(pictures, affines, strict=True)])
        }

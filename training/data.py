"""The training set as tensors: memory maps on a CPU, device memory on a GPU; the same code draws batches.

A batch is a pure function of (seed, phase, step), so that a resumed run sees what an unbroken one sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from veilcast.diffusion.conditioning import veil
from veilcast.diffusion.identity_vae import centre
from veilcast.diffusion.patch import GEOMETRY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from veilcast.arrays import Float, Int

# MediaPipe's 52 blendshapes: which one is which after mirroring
_PAIRS = (1, 4, 7, 9, 11, 13, 15, 17, 19, 21, 28, 30, 34, 36, 44, 46, 48, 50)
_MIRROR = list(range(52))
for _left in _PAIRS:
    _MIRROR[_left], _MIRROR[_left + 1] = _left + 1, _left
_MIRROR[24], _MIRROR[26] = 26, 24  # jaw left, right
_MIRROR[33], _MIRROR[39] = 39, 33  # mouth left, right
_SIGNS = torch.tensor([1.0, -1, -1, -1, 1, 1, 1, -1, 1])
# shut eyes, an open mouth, raised brows: (least, the blendshapes that all have it). In photographs each is
# rare, on film each comes every few seconds
_RARE = ((0.45, (9, 10)), (0.2, (25,)), (0.5, (3,)))


@dataclass
class Batch:
    """n samples on one device, float32."""

    rgb: Float[Tensor, "n 3 s s"]  # [-1, 1]
    hidden: Float[Tensor, "n 1 s s"]  # the mask
    geometry: Float[Tensor, "n 61"]
    coarse: Float[Tensor, "n 3"]
    five: Float[Tensor, "n 5 2"]  # pixels of the patch
    identity: Float[Tensor, "n 128"]  # centred, of this picture
    other: Float[Tensor, "n 128"]  # of another picture of the person, where there is one
    other_rows: Int[Tensor, " n"]
    person: Int[Tensor, " n"]  # -1 = unknown
    latent: Float[Tensor, "n c a a"] | None  # the teacher's, not normalised

    @property
    def veiled(self) -> Float[Tensor, "n 4 s s"]:
        return veil(self.rgb, self.hidden)

    def __len__(self) -> int:
        return len(self.rgb)


@dataclass
class Faces:
    """`arrays`: patch (N, s, s, 3) uint8, mask (N, s * s / 8) uint8 bits, geometry (N, 61),
    coarse (N, 3), five (N, 5, 2), dlib (N, 128), person (N,) int64, and where they are there latent and
    latent_mirrored (N, 32, s/8, s/8). `train`, `valid`: rows; a valid person is never a train person."""

    arrays: Mapping[str, Tensor]
    train: Int[Tensor, " t"]
    valid: Int[Tensor, " v"]
    mean: Float[Tensor, " 128"]  # of the training people's unit embeddings
    partners: Int[Tensor, "N k"]  # rows of the same person, itself included
    lively: Int[Tensor, " m"]  # those of `train` with a rare expression

    @property
    def device(self) -> torch.device:
        return self.mean.device

    @property
    def people(self) -> int:
        return int(self.arrays["person"].max()) + 1

    def draw(
        self, count: int, generator: torch.Generator, lively: float = 0.0
    ) -> tuple[Int[Tensor, " n"], bool]:
        """Training rows, and whether this batch is mirrored. `lively`: share of rows that are drawn from
        those with a rare expression alone."""
        rows = _any(self.train, count, generator)
        if lively and len(self.lively):
            chosen = torch.rand(count, generator=generator) < lively
            rows = torch.where(chosen.to(rows.device), _any(self.lively, count, generator), rows)
        mirrored = bool(torch.rand((), generator=generator) < 0.5)
        return rows, mirrored and ("latent" not in self.arrays or "latent_mirrored" in self.arrays)

    def batch(self, rows: Int[Tensor, " n"], generator: torch.Generator, mirrored: bool = False) -> Batch:
        pick = torch.randint(self.partners.shape[1], (len(rows),), generator=generator).to(rows.device)
        other = self.partners[rows, pick]
        rgb = self.pictures(rows)
        batch = Batch(
            rgb=rgb,
            hidden=self._hidden(rows, rgb.shape[-1]),
            geometry=self._get("geometry", rows).float(),
            coarse=self._get("coarse", rows).float(),
            five=self._get("five", rows).float(),
            identity=self.identities(rows),
            other=self.identities(other),
            other_rows=other,
            person=self._get("person", rows),
            latent=self.latents(rows, mirrored),
        )
        return mirror(batch) if mirrored else batch

    def identities(self, rows: Int[Tensor, " n"]) -> Float[Tensor, "n 128"]:
        return centre(self._get("dlib", rows).float(), self.mean)

    def latents(self, rows: Int[Tensor, " n"], mirrored: bool = False) -> Float[Tensor, "n c a a"] | None:
        name = "latent_mirrored" if mirrored else "latent"
        return self._get(name, rows).float() if name in self.arrays else None

    def pictures(self, rows: Int[Tensor, " n"]) -> Float[Tensor, "n 3 s s"]:
        """In [-1, 1]."""
        return (self._get("patch", rows).permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous()

    def photographs(
        self, count: int, generator: torch.Generator, lively: float = 0.0
    ) -> Float[Tensor, "n 3 s s"]:
        """Training pictures alone, in [-1, 1], all of them mirrored half of the times."""
        rows, mirrored = self.draw(count, generator, lively)
        rgb = self.pictures(rows)
        return rgb.flip(3) if mirrored else rgb

    def _get(self, name: str, rows: Int[Tensor, " n"]) -> Tensor:
        array = self.arrays[name]
        return array[rows.to(array.device)].to(self.device)

    def _hidden(self, rows: Int[Tensor, " n"], side: int) -> Float[Tensor, "n 1 s s"]:
        packed = self._get("mask", rows)
        shifts = torch.arange(7, -1, -1, device=packed.device)
        bits = (packed[:, :, None].int() >> shifts) & 1
        return bits.reshape(len(rows), 1, side, side).float()


def _any(rows: Int[Tensor, " t"], count: int, generator: torch.Generator) -> Int[Tensor, " n"]:
    return rows[torch.randint(len(rows), (count,), generator=generator).to(rows.device)]


def normal(
    shape: Sequence[int], generator: torch.Generator, device: torch.device
) -> Float[Tensor, " *shape"]:
    """Standard normal values. A GPU draws its own, from the state that each step sets: drawn on a CPU, those
    of a large batch take longer than the step."""
    if device.type == "cuda":
        return torch.randn(*shape, device=device)
    return torch.randn(*shape, generator=generator).to(device)


def mirror(batch: Batch) -> Batch:
    """The same people seen in a mirror; `latent` is left to the caller."""
    side = batch.rgb.shape[-1]
    shapes, pose = batch.geometry[:, :52][:, _MIRROR], batch.geometry[:, 52:] * _SIGNS.to(batch.rgb.device)
    five = batch.five[:, [1, 0, 2, 4, 3]].clone()
    five[:, :, 0] = side - five[:, :, 0]
    return Batch(
        rgb=batch.rgb.flip(3),
        hidden=batch.hidden.flip(3),
        geometry=torch.cat([shapes, pose], 1),
        coarse=batch.coarse,
        five=five,
        identity=batch.identity,
        other=batch.other,
        other_rows=batch.other_rows,
        person=batch.person,
        latent=batch.latent,
    )


def assemble(
    arrays: Mapping[str, np.ndarray], people: list[str], held_out: np.ndarray, rows: np.ndarray, device: str
) -> Faces:
    """A set from arrays of which `rows` are derived. `people`: identity of each row, "" where unknown."""
    tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}
    if device != "cpu":
        tensors = {name: value.to(device) for name, value in tensors.items()}
    known = np.zeros(len(people), bool)
    known[rows] = True
    train, valid = np.flatnonzero(known & ~held_out), np.flatnonzero(known & held_out)
    names = {name: n for n, name in enumerate(sorted({people[r] for r in train if people[r]}))}
    person = torch.tensor([names.get(name, -1) for name in people])
    tensors["person"] = person.to(device)
    geometry = arrays.get("geometry", np.zeros((len(people), GEOMETRY), np.float32))
    embeddings = functional.normalize(torch.from_numpy(np.array(arrays["dlib"])[train]).float(), dim=1)
    return Faces(
        tensors,
        torch.from_numpy(train).to(device),
        torch.from_numpy(valid).to(device),
        embeddings.mean(0).to(device),
        _partners(people, known).to(device),
        torch.from_numpy(train[rare(geometry[train])]).to(device),
    )


def rare(geometry: np.ndarray) -> np.ndarray:
    """Which rows of (n, 61) show a rare expression."""
    found: np.ndarray = np.logical_or.reduce(
        [(geometry[:, shapes] > least).all(1) for least, shapes in _RARE]
    )
    return found


def _partners(people: list[str], known: np.ndarray, width: int = 6) -> Int[Tensor, "N k"]:
    """For each row up to `width` others of the same person, repeated to that width; or itself."""
    groups: dict[str, list[int]] = {}
    for row in np.flatnonzero(known).tolist():
        if people[row]:
            groups.setdefault(people[row], []).append(row)
    table = torch.arange(len(people))[:, None].repeat(1, width)
    for members in groups.values():
        for row in members:
            others = [m for m in members if m != row] or [row]
            table[row] = torch.tensor((others * width)[:width])
    return table

"""`veilcast train prepare`: derive what training needs, resumably, into a cache of memory maps.

ENTRIES.jsonl       which picture each row is, in a shuffled order, so that any part done is a fair sample
*.npy               arrays (training/derive.py), one row a picture
large/              the same for the pictures that are large enough for the close-up head
constants.safetensors   the average mesh
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from veilcast.diffusion import patch
from veilcast.diffusion.weights import read_tensors, write_tensors
from veilcast.errors import ConfigError
from veilcast.training import derive, faces
from veilcast.training.arrays import CHUNK, Cache, Stage, read_table, write_table

if TYPE_CHECKING:
    from veilcast.trt_engines.models import Models

ENTRIES = "ENTRIES.jsonl"
ORDER = 20  # seed of the order of rows
LARGE = 2.3  # least side of a stored crop over that of the patch that serves the close-up head
STAGES = ("faces", "embeddings", "conditions", "large", "attributes", "latents")


def open_table(data: Path, cache: Path) -> list[faces.Entry]:
    """The rows' entries; written once. Raises ConfigError where the cache belongs to other data."""
    entries = faces.read_index(data)
    order = np.random.default_rng(ORDER).permutation(len(entries))
    rows = [entries[i] for i in order]
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / ENTRIES
    if not path.exists():
        write_table(path, [asdict(entry) for entry in rows])
    elif [row["key"] for row in read_table(path)] != [entry.key for entry in rows]:
        raise ConfigError(f"{cache} was derived from other data than {data}; give another --cache")
    return rows


def prepare(
    data: Path,
    folder: Path,
    models: Models,
    teacher: Path | None,
    stages: tuple[str, ...] = STAGES,
    worker: int = 0,
    workers: int = 1,
    limit: int | None = None,
    side: int = 128,
) -> Iterator[str]:
    """Derive this worker's share of every stage, one thread; yields a line for each chunk that is done."""
    entries = open_table(data, folder)[:limit]
    site = Site(data, folder, entries, models, teacher, side)
    for name in stages:
        with ExitStack() as stack:
            stage, cache, function = site.stage(name, stack)
            cache.create(stage)
            started = time.monotonic()
            for count, chunk in enumerate(cache.run(stage, function, worker, workers), 1):
                pace = (time.monotonic() - started) / count
                yield f"{name}: chunk {chunk} of {cache.chunks}, {pace / CHUNK * 1e3:.0f} ms a picture"


class Site:
    """Where things lie, and the networks of each stage, opened when it begins."""

    def __init__(
        self,
        data: Path,
        folder: Path,
        entries: list[faces.Entry],
        models: Models,
        teacher: Path | None,
        side: int,
    ) -> None:
        self.folder, self.entries, self.models, self.teacher = folder, entries, models, teacher
        self.side, self.stages = side, derive.stages(side)
        self.shards, self.cache = faces.Shards(data), Cache(folder, len(entries))

    def stage(
        self, name: str, stack: ExitStack
    ) -> tuple[Stage, Cache, Callable[[np.ndarray], dict[str, np.ndarray]]]:
        makers: dict[str, Callable[[], object]] = {
            "faces": lambda: self._faces(stack),
            "embeddings": lambda: self._chips(derive.Embeddings, "dlib", 150, stack),
            "attributes": lambda: self._chips(derive.Attributes, "faceres", 224, stack),
            "conditions": lambda: derive.Conditions(
                self.cache, average_mesh(self.cache, self.side), self.side
            ),
            "latents": lambda: derive.Latents(self.cache, self._encoder(stack)),
        }
        if name == "large":
            return self._large()
        if name not in makers:
            raise ConfigError(f"no stage called {name!r}; stages: {', '.join(STAGES)}")
        return self.stages[name], self.cache, makers[name]()  # type: ignore[return-value]

    def _chips(
        self, kind: type[derive.Embeddings | derive.Attributes], role: str, side: int, stack: ExitStack
    ) -> derive.Embeddings | derive.Attributes:
        network = self._engine(role, (3, side, side), stack)
        return kind(self.entries, self.shards, self.cache, network)

    def _faces(self, stack: ExitStack) -> derive.Faces:
        mesh = self._engine("landmarks478", (3, 256, 256), stack)
        shapes = self._engine("blendshapes", (146, 2), stack)
        return derive.Faces(self.entries, self.shards, mesh, shapes, self.side)

    def _large(self) -> tuple[Stage, Cache, Callable[[np.ndarray], dict[str, np.ndarray]]]:
        """Its own small cache, of the rows that are large and whose mesh is known."""
        ready = self.cache.ready("faces")
        rows = [row for row in ready if self.entries[row].side_px >= LARGE * self.side]
        folder = self.folder / "large"
        folder.mkdir(exist_ok=True)
        np.save(folder / "rows.npy", np.array(rows))
        landmarks = self.cache.open("source_landmarks")[rows]
        function = derive.Large([self.entries[row] for row in rows], self.shards, landmarks, self.side)
        return self.stages["large"], Cache(folder, len(rows)), function  # type: ignore[return-value]

    def _engine(self, role: str, shape: tuple[int, ...], stack: ExitStack) -> derive.Network:
        return self._open(self.models.bytes(role), shape, stack, "f32")

    def _encoder(self, stack: ExitStack) -> derive.Network:
        from veilcast.training.export import to_onnx
        from veilcast.training.teacher import load_encoder

        if self.teacher is None:
            raise ConfigError("stage latents needs the teacher's encoder: give --teacher FILE")
        shape = (3, self.side, self.side)
        model = to_onnx(load_encoder(self.teacher), {"rgb": shape}, "latent", half=False)
        return self._open(model, shape, stack, "auto")

    def _open(self, model: bytes, shape: tuple[int, ...], stack: ExitStack, precision: str) -> derive.Network:
        from veilcast.training.export import input_name
        from veilcast.trt_engines.open import open_engine

        name = input_name(model)
        engine = stack.enter_context(
            open_engine(model, precision=precision, threads=1, shapes={name: (derive.BATCH, *shape)})  # type: ignore[arg-type]
        )
        return lambda batch: engine.run({name: batch})


def average_mesh(cache: Cache, side: int, count: int = 2000) -> np.ndarray:
    """The mean mesh of the first derived pictures, made once."""
    path = cache.folder / "constants.safetensors"
    if not path.exists():
        rows = cache.ready("faces")[:count]
        write_tensors(path, {"mean_mesh": patch.mean_mesh(cache.open("landmarks")[rows], side)})
    return read_tensors(path)["mean_mesh"]

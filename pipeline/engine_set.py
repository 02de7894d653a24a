"""Every network that the product runs, with the shapes it is run at: what engines are built, checked and
measured for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from veilcast.pipeline.batches import SIZES
from veilcast.pipeline.generator_model import listed, read_manifest
from veilcast.trt_engines.graphs import parted, unrolled
from veilcast.trt_engines.models import Models
from veilcast.trt_engines.simplify import simplified

Shape = tuple[int, ...]
FACES = (SIZES[0], 8, SIZES[-1])  # least, best and most faces of a batch
FRAMES = (1, 1, 4)  # and pictures of a detector's
PICTURE: Shape = (3, 1088, 1920)  # what small faces are looked for in, see schedule.py
# role -> its picture's input, for those whose size the file leaves open
DETECTORS = {"centerface": "rgb", "yunet": "bgr"}
READERS = ("landmarks478", "dlib", "faceres")  # what looks at faces for synthetic covers


@dataclass(frozen=True, slots=True)
class ProductNetwork:
    """`sizes`: dimensions without the batch of those inputs that the file leaves open."""

    name: str
    data: bytes = field(repr=False)
    batch: tuple[int, int, int] = FACES
    sizes: Mapping[str, Shape] = field(default_factory=dict)


def detectors(models: Models) -> Iterator[ProductNetwork]:
    """Raises ModelMissing, ModelCorrupt."""
    for role, name in DETECTORS.items():
        yield ProductNetwork(role, models.bytes(role), FRAMES, {name: PICTURE})


def readers(models: Models) -> Iterator[ProductNetwork]:
    """Raises ModelMissing, ModelCorrupt."""
    for role in READERS:
        yield ProductNetwork(role, models.bytes(role))


def generator(folder: Path) -> Iterator[ProductNetwork]:
    """The networks of a generator's folder; its sampler with the decoder behind it in one graph; and its
    denoiser in two parts, what a track's identity decides alone, which is kept for the track's life, and
    the rest. Raises ModelMissing, ModelCorrupt."""
    manifest = read_manifest(folder)
    files = listed(folder, manifest)
    found = {Path(name).stem: file.read() for name, file in files.items() if name.endswith(".onnx")}
    for name, data in found.items():
        yield ProductNetwork(name, data)
    yield ProductNetwork("sampler", unrolled(found["unet"], found["decoder"], manifest.times))
    parts = parted(simplified(found["unet"]), ["identity"])
    yield ProductNetwork("identity-tokens", parts.first)
    yield ProductNetwork("unet-of-tokens", parts.rest)

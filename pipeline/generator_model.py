"""A generator's model folder: what `veilcast train` exports and `--model DIR` names.

    manifest.json           {"format": 1, "name": ..., "licence": ..., "times": [1.0, 0.5], "truncation": 0.7,
                             "files": {"unet.onnx": {"sha256": ...}, ...}}
    unet.onnx               x (n,c,16,16), t (n), veiled (n,4,128,128), geometry (n,61), identity (n,128)
                            -> clean (n,c,16,16)
    decoder.onnx            latent (n,c,16,16) -> rgb (n,3,128,128) in [-1, 1]
    closeup.onnx            the same -> (n,3,256,256); optional
    identity.onnx           z (n,64), coarse (n,3) -> centred identity (n,128)
    expression.onnx         landmarks (n,478,2) in patch units -> blendshapes (n,52)
    coarse.onnx             rgb (n,3,128,128) in [-1, 1] -> age/100, gender, ITA/100 (n,3)
    NAME.scales.npz         what unet, decoder and closeup are run in eight bits by; optional
    constants.safetensors   identity_mean, mean_mesh, fit, fit_bias, coarse_mean, coarse_factor; optional:
                            expression_gain, expression_mean, by which commands are made stronger

Only files that the manifest lists are read, and their hash is checked on the bytes that are loaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from veilcast.diffusion.draw import IdentitySpace
from veilcast.diffusion.schedule import checked
from veilcast.diffusion.weights import read_tensors
from veilcast.errors import EngineError, ModelCorrupt, ModelMissing
from veilcast.pipeline import batches
from veilcast.pipeline.generate import DiffusionGenerator, Generator
from veilcast.pipeline.generator_line import LineGenerator
from veilcast.pipeline.generator_remote import Offer, RemoteGenerator, manifest_hash
from veilcast.trt_engines.engine import Engine
from veilcast.trt_engines.models import ModelFile
from veilcast.trt_engines.open import open_engine, open_together

MANIFEST, CONSTANTS = "manifest.json", "constants.safetensors"
REQUIRED = ("unet.onnx", "decoder.onnx", "identity.onnx", "expression.onnx", "coarse.onnx", CONSTANTS)
CLOSEUP = "closeup.onnx"
PATCH_PX, CLOSEUP_PX = 128, 256
MOST_ASKED = 1.3  # of a blendshape; faces of the training set have up to 1

Open = Callable[[ModelFile], Engine]


class ListedFile(BaseModel):
    model_config = ConfigDict(frozen=True)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(BaseModel):
    model_config = ConfigDict(frozen=True)
    format: int = Field(ge=1, le=1)
    name: str = Field(max_length=100)
    licence: str = Field(max_length=2000)
    times: tuple[float, ...]
    truncation: float = Field(default=1.0, gt=0, le=1)
    files: dict[str, ListedFile]


@dataclass(frozen=True, slots=True)
class Constants:
    """Arrays that go with the networks; shapes are checked."""

    identity_mean: np.ndarray = field(repr=False)
    mean_mesh: np.ndarray = field(repr=False)
    fit: np.ndarray = field(repr=False)
    fit_bias: np.ndarray = field(repr=False)
    coarse_mean: np.ndarray = field(repr=False)
    coarse_factor: np.ndarray = field(repr=False)
    expression_gain: np.ndarray = field(repr=False)
    expression_mean: np.ndarray = field(repr=False)

    @classmethod
    def read(cls, file: ModelFile) -> Constants:
        file.read()
        tensors = {"expression_gain": np.ones(52), "expression_mean": np.zeros(52)} | read_tensors(file.path)
        size = tensors.get("identity_mean", np.zeros(0)).size
        shapes = {
            "identity_mean": (size,),
            "mean_mesh": (478, 3),
            "fit": (3, size),
            "fit_bias": (3,),
            "coarse_mean": (3,),
            "coarse_factor": (3, 3),
            "expression_gain": (52,),
            "expression_mean": (52,),
        }
        for name, shape in shapes.items():
            if name not in tensors or tensors[name].shape != shape or not np.isfinite(tensors[name]).all():
                raise ModelCorrupt(
                    f"{file.path}: {name} must be finite and of shape {shape}; export the model again"
                )
        return cls(**{name: tensors[name].astype(np.float64) for name in shapes})


class GeneratorModel:
    """The networks of one folder, open. A context manager.

    Raises ModelMissing or ModelCorrupt for a folder that is not whole, EngineError for a network that
    does not run.
    """

    def __init__(self, folder: Path, open_network: Open, shared: Path | int | None = None) -> None:
        """`shared`: the socket of a process that renders for others too, by its name or as a file
        descriptor; None = rendered here."""
        self.manifest = read_manifest(folder)
        files = listed(folder, self.manifest)
        self.constants = Constants.read(files[CONSTANTS])
        with ExitStack() as stack:
            generator, offer = stack.enter_context(
                open_generator(folder, open_network) if shared is None else _remote(folder, shared)
            )
            wanted = [files[f"{name}.onnx"] for name in ("identity", "expression", "coarse")]
            self._identity, self._expression, self._coarse = open_together(wanted, open_network, stack)
            self._stack = stack.pop_all()
        self.generator: Generator = generator
        self.sides, self.latent_shape = offer.sides, offer.latent

    def space(self) -> IdentitySpace:
        """The people that personas are drawn from."""
        c = self.constants

        def decode(z: np.ndarray, coarse: np.ndarray) -> np.ndarray:
            return next(iter(batches.run(self._identity, {"z": z, "coarse": coarse}).values()))

        z_size = next(spec for spec in self._identity.inputs if spec.name == "z").min[1]
        return IdentitySpace(
            c.identity_mean, c.fit, c.fit_bias, c.coarse_mean, c.coarse_factor, decode, z_size
        )

    def expression(self, meshes: np.ndarray) -> np.ndarray:
        """What to ask for, so that a rendering has the blendshapes of meshes (n, 478, d) in units of the
        patch's side: (n, 52). A rendering moves less than it is told to, so it is told more."""
        inputs = np.ascontiguousarray(meshes[:, :, :2], np.float32)
        shapes = next(iter(batches.run(self._expression, {"landmarks": inputs}).values()))
        mean, gain = self.constants.expression_mean, self.constants.expression_gain
        asked: np.ndarray = np.clip(mean + gain * (shapes - mean), 0, MOST_ASKED).astype(np.float32)
        return asked

    def coarse(self, patches: np.ndarray) -> np.ndarray:
        """(n, 3) age / 100, gender, ITA / 100 from patches (n, 128, 128, 3) uint8."""
        inputs = (patches.transpose(0, 3, 1, 2) / 127.5 - 1).astype(np.float32)
        return next(iter(batches.run(self._coarse, {"rgb": inputs}).values())).astype(np.float64)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


@contextmanager
def open_generator(folder: Path, open_network: Open = open_engine) -> Iterator[tuple[Generator, Offer]]:
    """The networks that render, alone, and what they are. Raises ModelMissing, ModelCorrupt, EngineError."""
    manifest = read_manifest(folder)
    files = listed(folder, manifest)
    with ExitStack() as stack:
        names = ["unet.onnx", "decoder.onnx", *([CLOSEUP] if CLOSEUP in files else [])]
        unet, *decoding = open_together([files[name] for name in names], open_network, stack)
        decoders = dict(zip((PATCH_PX, CLOSEUP_PX), decoding, strict=False))
        latent = unet.inputs[[spec.name for spec in unet.inputs].index("x")].min[1:]
        offer = Offer(manifest_hash(folder), tuple(sorted(decoders)), tuple(latent))
        times = [float(t) for t in manifest.times]
        yield DiffusionGenerator(unet, decoders, times, manifest.truncation), offer


@contextmanager
def _remote(folder: Path, socket: Path | int) -> Iterator[tuple[Generator, Offer]]:
    """Raises EngineError, also where the other side has another model."""
    remote = RemoteGenerator(socket) if isinstance(socket, Path) else LineGenerator(socket)
    try:
        offer = remote.offer()
        if offer.model != manifest_hash(folder):
            raise EngineError("the shared generator has another model; start it anew")
        yield remote, offer
    finally:
        remote.close()


def constants(folder: Path) -> Constants:
    """Of a model, without its networks. Raises ModelMissing, ModelCorrupt."""
    return Constants.read(listed(folder, read_manifest(folder))[CONSTANTS])


def scales_of(name: str) -> str:
    """The file with a network's scales."""
    return f"{Path(name).stem}.scales.npz"


def listed(folder: Path, manifest: Manifest) -> dict[str, ModelFile]:
    """The files of a model by name, networks with their scales."""
    found = {name: ModelFile(folder / name, listed.sha256) for name, listed in manifest.files.items()}
    return {name: replace(file, scales=found.get(scales_of(name))) for name, file in found.items()}


def read_manifest(folder: Path) -> Manifest:
    """Raises ModelMissing, ModelCorrupt."""
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate(json.loads(path.read_bytes()))
        checked(manifest.times)
    except OSError as error:
        raise ModelMissing(
            f"no generator at {path}: {error.strerror}; name a folder that `veilcast train` wrote"
        ) from None
    except (ValidationError, ValueError):
        raise ModelCorrupt(f"{path} is not a generator's manifest; export the model again") from None
    missing = [name for name in REQUIRED if name not in manifest.files]
    outside = [name for name in manifest.files if Path(name).name != name]
    if missing or outside:
        raise ModelCorrupt(
            f"{path} lists no {', '.join(missing)}"
            if missing
            else f"{path} lists {outside[0]}, which is not in the folder"
        )
    return manifest

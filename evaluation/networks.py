"""The networks that judge, through the product's own engines: pictures in, plain arrays out.

Defaults are networks that no training loss of the generator used. A site adds its own recogniser as an
ONNX file: aligned 112 px RGB crops, (x - 127.5) / 127.5, one embedding per row, as ArcFace's exports
have it. Its threshold comes from `veilcast evaluate --calibrate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from veilcast.arrays import Float32, UInt8
from veilcast.errors import ConfigError, InputMissing, ModelMissing
from veilcast.pipeline import align
from veilcast.trt_engines.engine import Engine, Precision
from veilcast.trt_engines.models import Models
from veilcast.trt_engines.open import open_engine
from veilcast.types import Points, Rgb

Crops = UInt8[np.ndarray, "n s s 3"]
Vectors = Float32[np.ndarray, "n d"]

# the five points with hair, ears and chin around them, in units of the crop's side: distance of the
# eyes .228, their middle at (.5, .39)
TIGHT = align.TEMPLATE_112 / 112
CONTEXT = (TIGHT - TIGHT.mean(0)) * 0.725 + (0.5, 0.52)
# between the two; of four crops tried the one with the highest TAR on clean pairs of different pictures
FACERES = (TIGHT - TIGHT.mean(0)) * 0.85 + (0.5, 0.575)

# points of the mesh that the blendshape network reads, in its order (MediaPipe, face_blendshapes_graph.cc)
# fmt: off
BLENDSHAPE_POINTS = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70,
    78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149,
    150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195,
    197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300,
    308, 310, 311, 312, 314, 317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375,
    377, 378, 379, 380, 381, 382, 384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454,
    466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
)
# fmt: on


def batched(engine: Engine, pictures: Float32[np.ndarray, "n ..."]) -> dict[str, np.ndarray]:
    """Rows through a network of one input, padded to whole batches where its batch size is fixed."""
    spec = engine.inputs[0]
    fixed = spec.min[0] if spec.min[0] == spec.max[0] else max(1, len(pictures))
    parts = []
    for start in range(0, len(pictures), fixed):
        batch = pictures[start : start + fixed]
        short = fixed - len(batch)
        parts.append(engine.run({spec.name: np.concatenate([batch, np.repeat(batch[-1:], short, 0)])}))
    return {
        name: np.concatenate([np.asarray(part[name]).reshape(fixed, -1) for part in parts])[: len(pictures)]
        for name in parts[0]
    }


@dataclass(frozen=True, slots=True)
class Network:
    """A network on square RGB crops, whose values it reads as (x - mean) / scale."""

    engine: Engine
    side: int
    mean: float = 0.0
    scale: float = 1.0

    def __call__(self, crops: Crops) -> dict[str, np.ndarray]:
        """Outputs by name, each (n, values)."""
        x = (crops.astype(np.float32) - self.mean) / self.scale
        last = self.engine.inputs[0].opt[-1] == 3
        return batched(self.engine, x if last else np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


@dataclass(frozen=True, slots=True)
class Recogniser:
    """Embeds aligned faces. `template`: where the five points lie, in units of the crop's side."""

    name: str
    network: Network
    output: str | None  # None = the only one
    template: Points

    def crop(self, rgb: Rgb, landmarks: Points) -> UInt8[np.ndarray, "s s 3"]:
        return aligned(rgb, landmarks, self.template, self.network.side)

    def __call__(self, crops: Crops) -> Vectors:
        outputs = self.network(crops)
        return np.asarray(outputs[self.output or next(iter(outputs))], np.float32)


@dataclass(frozen=True, slots=True)
class Judges:
    """Every network of an evaluation; what a site does not have is None and its figures are null."""

    recognisers: tuple[Recogniser, ...]
    mesh: Callable[[Crops], Float32[np.ndarray, "n 478 3"]] | None = None  # of 256 px context crops
    blendshapes: Callable[[Float32[np.ndarray, "n 478 3"]], Vectors] | None = None
    expression: Callable[[Crops], Vectors] | None = None  # of 112 px tight crops
    people: Callable[[Crops], Float32[np.ndarray, "n 2"]] | None = None  # years, probability male
    features: Callable[[Crops], Vectors] | None = None  # of 224 px context crops
    lpips: Callable[[Crops, Crops], Float32[np.ndarray, " n"]] | None = None


def aligned(rgb: Rgb, landmarks: Points, template: Points, side: int) -> UInt8[np.ndarray, "s s 3"]:
    """The crop in which the five landmarks lie as in `template` (units of the side)."""
    return align.crop(rgb, align.similarity(landmarks, template * side), side)


def open_recogniser(name: str, models: Models, threads: int, stack: ExitStack) -> Recogniser:
    """A default by its role's name, or a site's own ONNX file. Raises ConfigError, ModelError."""

    def engine(source: str | Path) -> Engine:
        file = models.file(source) if isinstance(source, str) else source
        return stack.enter_context(open_engine(file, threads=threads))

    if name == "mobilefacenet":
        return Recogniser(name, Network(engine(name), 112), "embedding", TIGHT)
    if name == "faceres":
        return Recogniser(name, Network(engine(name), 224), "embedding", FACERES)
    if name == "dlib":
        return Recogniser(name, Network(engine(name), 150), "embedding", align.TEMPLATE_DLIB_150 / 150)
    path = Path(name)
    if path.suffix != ".onnx":
        raise ConfigError(f"no recogniser {name!r}: give mobilefacenet, faceres, dlib or an .onnx file")
    if not path.is_file():
        raise InputMissing(f"no recogniser at {path}")
    return Recogniser(path.stem, Network(engine(path), 112, 127.5, 127.5), None, TIGHT)


@contextmanager
def open_judges(recognisers: Sequence[str], models: Models, threads: int = 1) -> Iterator[Judges]:
    """The networks, each opened once and closed at the end. Raises ModelError for a recogniser that is
    missing; others that are missing leave their figures out."""
    with ExitStack() as stack:

        def optional(name: str, precision: Precision = "auto") -> Engine | None:
            try:
                file = models.file(name)
                return stack.enter_context(open_engine(file, threads=threads, precision=precision))
            except ModelMissing:
                return None

        opened = tuple(open_recogniser(name, models, threads, stack) for name in recognisers)
        yield Judges(
            opened,
            mesh=_mesh(optional("landmarks478")),
            blendshapes=_blendshapes(optional("blendshapes")),
            expression=_expression(optional("expression")),
            people=_people(optional("faceres")),
            features=_features(optional("mobilenet_v2")),
            # neighbouring frames differ by less than bfloat16 resolves
            lpips=_lpips(optional("lpips", "f32")),
        )


def _mesh(engine: Engine | None) -> Callable[[Crops], Float32[np.ndarray, "n 478 3"]] | None:
    if engine is None:
        return None
    network = Network(engine, 256)
    return lambda crops: network(crops)["mesh"].reshape(len(crops), 478, 3)


def _blendshapes(engine: Engine | None) -> Callable[[Float32[np.ndarray, "n 478 3"]], Vectors] | None:
    if engine is None:
        return None
    return lambda mesh: next(iter(batched(engine, mesh[:, BLENDSHAPE_POINTS, :2]).values()))


def _expression(engine: Engine | None) -> Callable[[Crops], Vectors] | None:
    if engine is None:
        return None
    network = Network(engine, 112)
    return lambda crops: network(crops)["expression"]


def _people(engine: Engine | None) -> Callable[[Crops], Float32[np.ndarray, "n 2"]] | None:
    if engine is None:
        return None
    network = Network(engine, 224)

    def people(crops: Crops) -> Float32[np.ndarray, "n 2"]:
        outputs = network(crops)
        return np.concatenate([outputs["age"], outputs["male"]], 1)

    return people


def _features(engine: Engine | None) -> Callable[[Crops], Vectors] | None:
    if engine is None:
        return None
    network = Network(engine, 224)
    return lambda crops: network(crops)["features"]


def _lpips(engine: Engine | None) -> Callable[[Crops, Crops], Float32[np.ndarray, " n"]] | None:
    if engine is None:
        return None

    def lpips(a: Crops, b: Crops) -> Float32[np.ndarray, " n"]:
        planes = [np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32) for x in (a, b)]
        return np.asarray(engine.run({"a": planes[0], "b": planes[1]})["distance"]).reshape(-1)

    return lpips

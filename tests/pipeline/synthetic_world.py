"""A small world in which faces can be replaced without any weights.

A face is a random texture. The mesh network of this world finds a face wherever a crop has texture; a
recogniser knows a face by its coarse texture; a person of the identity space has a texture of their
own, which the honest generator draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from veilcast.counters import Counters
from veilcast.diffusion import patch
from veilcast.diffusion.draw import IdentitySpace, ScopeKey, linear_decode
from veilcast.pipeline import checks
from veilcast.pipeline.align import TEMPLATE_DLIB_150
from veilcast.pipeline.generate import Generator, Guard, Job, Rendering
from veilcast.pipeline.identity import Persona, Source, cast
from veilcast.pipeline.landmarks import CROP_PX, MeshFinder
from veilcast.pipeline.policy import Policy
from veilcast.pipeline.synthetic import Coarse, Synthesiser
from veilcast.pipeline.views import Expression, Viewer
from veilcast.trt_engines.engine import Tensors, TensorSpec
from veilcast.types import Box, Frame, PixelFormat, Rgb, Track, TrackState

D = 128
SIZE = 320  # of a frame, pixels
NOTHING = 12.0  # standard deviation of a crop without a face


@dataclass
class FakeEngine:
    """An engine from a function of its one input."""

    function: Callable[[np.ndarray], dict[str, np.ndarray]]
    name: str = "rgb"
    label: str = "fake"
    streams: int = 1
    calls: int = 0
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        self.calls += 1
        return self.function(inputs[self.name])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def mesh(side: float) -> np.ndarray:
    """(478, 3) a frontal face in its patch: an oval grid whose named points are where they belong."""
    rng = np.random.default_rng(1)
    angle, radius = rng.uniform(0, 2 * np.pi, 478), np.sqrt(rng.uniform(0, 0.9, 478))
    points = np.stack([0.5 + 0.26 * radius * np.cos(angle), 0.52 + 0.33 * radius * np.sin(angle)], 1)
    rim = np.linspace(-np.pi / 2, 1.5 * np.pi, len(patch.OVAL), endpoint=False)
    points[list(patch.OVAL)] = np.stack([0.5 + 0.28 * np.cos(rim), 0.52 + 0.35 * np.sin(rim)], 1)
    for place, indices in zip(patch.TEMPLATE, (patch.LEFT_EYE, patch.RIGHT_EYE), strict=False):
        points[list(indices)] = np.add(place, [[-0.04, 0], [0.04, 0]])
    points[patch.NOSE], points[list(patch.MOUTH)] = patch.TEMPLATE[2], patch.TEMPLATE[3:]
    for upper, lower, at in (
        (13, 14, (0.5, 0.66)),
        (159, 145, patch.TEMPLATE[0]),
        (386, 374, patch.TEMPLATE[1]),
    ):
        points[upper], points[lower] = np.add(at, (0, -0.01)), np.add(at, (0, 0.01))
    depth = 0.1 * ((points[:, :1] - 0.5) ** 2 + (points[:, 1:] - 0.52) ** 2)
    points = np.concatenate([points, depth], 1)
    return np.asarray(points * side)


def find_mesh(rgb: np.ndarray) -> dict[str, np.ndarray]:
    """Each crop that has texture, not mere noise, shows a frontal face where crops have it; a red one shows
    it elsewhere."""
    meshes = np.stack([mesh(CROP_PX)] * len(rgb))
    red = rgb[:, 0].mean((1, 2)) - rgb[:, 2].mean((1, 2)) > 80
    meshes[red] += [40, 0, 0]
    coarse = np.stack([cv2.resize(crop.mean(0), (32, 32), interpolation=cv2.INTER_AREA) for crop in rgb])
    is_face = coarse.std((1, 2)) > np.maximum(NOTHING, 0.6 * rgb.mean(1).std((1, 2)))
    return {"mesh": meshes.astype(np.float32), "presence": is_face.astype(np.float32)}


def embed(rgb: np.ndarray) -> dict[str, np.ndarray]:
    """What the face's texture is at a glance, (n, 128)."""
    luma = rgb.mean(1)
    inner = luma[:, luma.shape[1] // 5 : -luma.shape[1] // 5, luma.shape[2] // 5 : -luma.shape[2] // 5]
    small = np.stack([cv2.resize(face, (16, 8), interpolation=cv2.INTER_AREA) for face in inner])
    flat = small.reshape(len(rgb), -1)
    return {"embedding": (flat - flat.mean(1, keepdims=True) + 1e-3).astype(np.float32)}


def texture(seed: int, side: int) -> Rgb:
    """A person's face, (side, side, 3): the same at every size."""
    rng = np.random.default_rng(seed)
    cells = rng.uniform(40, 215, (12, 12, 1)) + rng.uniform(-10, 10, (12, 12, 3))
    drawn: Rgb = np.clip(cv2.resize(cells, (side, side), interpolation=cv2.INTER_CUBIC), 0, 255).astype(
        np.uint8
    )
    return drawn


def person_of(identity: np.ndarray) -> int:
    """The texture that the honest generator draws for an identity."""
    return int(np.abs(identity * 1e4).astype(np.int64).sum()) % 2**31


def as_image(rgb: Rgb) -> np.ndarray:
    """(3, s, s) in [-1, 1], as generators answer."""
    return np.asarray(rgb.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1)


class Honest:
    """Draws the persona asked for; each rendering differs a little, as pose does."""

    def generate(self, jobs: Sequence[Job]) -> Sequence[Rendering]:
        return [Rendering(job.key, self.image(job)) for job in jobs]

    def image(self, job: Job) -> np.ndarray:
        drawn = as_image(texture(person_of(job.identity), job.side))
        return (drawn + 0.001 * (job.key[0] + 1)).astype(np.float32)


FACES = {1: (100.0, 160.0, 90.0), 2: (230.0, 150.0, 70.0)}  # track: centre x, y and width of its box


def track(number: int, dx: float = 0.0, size: float = 1.0) -> Track:
    x, y, width = FACES[number]
    width *= size
    box = Box(x + dx - width / 2, y - 0.65 * width, x + dx + width / 2, y + 0.65 * width)
    return Track(number, box, points_in(box), TrackState.CONFIRMED, 0, 0.9)


def points_in(box: Box) -> np.ndarray:
    """Five points such that the world's mesh lies in the box."""
    scale = box.width / 0.56  # the mesh's oval is .56 of its patch
    return ((patch.TEMPLATE - [0.5, 0.52]) * scale + box.centre).astype(np.float32)


def frame(index: int, tracks: Sequence[Track]) -> Frame:
    """Grey, with each track's real face in its box."""
    picture = np.full((SIZE, SIZE, 3), 120, np.uint8)
    for shown in tracks:
        side = round(shown.box.width / 0.56)
        x, y = round(shown.box.centre[0] - side / 2), round(shown.box.centre[1] - 0.52 * side)
        picture[y : y + side, x : x + side] = texture(shown.id, side)[: SIZE - y, : SIZE - x]
    planes = tuple(np.ascontiguousarray(picture[:, :, channel]) for channel in range(3))
    return Frame(index, index, Fraction(1, 25), planes, PixelFormat("gbrp", "rgb", 8))


SPACE = IdentitySpace(
    mean=np.zeros(D),
    fit=np.zeros((3, D)),
    fit_bias=np.array([0.4, 0.3, 0.3]),
    coarse_mean=np.array([0.4, 0.3, 0.3]),
    coarse_factor=np.diag([0.02, 0.05, 0.02]),
    decode=linear_decode(np.zeros((D, 3)), np.random.default_rng(8).normal(size=(D, 64))),
)


def recogniser() -> checks.Recogniser:
    engine = FakeEngine(embed)
    return checks.Recogniser(
        engine, TEMPLATE_DLIB_150, 150, np.zeros(D), too_close=0.6, same_person=0.8, stranger=0.2
    )


def source_of(number: int, eye: checks.Recogniser) -> Source:
    """As a survey would have met the person."""
    real = texture(number, 256)
    seen = eye.centred([eye.chip(real, mesh(256))])[0]
    return Source(number, (0, 100), (seen,), np.array([0.4, 0.3, 0.3]))


@dataclass
class World:
    """One stream with its people, and what became of their faces."""

    synthesiser: Synthesiser
    personas: Mapping[int, Persona]
    counters: Counters
    guard: Guard


def feminine(patches: np.ndarray) -> np.ndarray:
    """Coarse attributes like those of the people of this world, whatever is seen."""
    return np.tile([0.4, 0.3, 0.3], (len(patches), 1))


def world(
    generator: Generator,
    *,
    timeout_s: float = 5.0,
    known: Sequence[int] = (1, 2),
    coarse: Coarse = feminine,
    expression: Expression = lambda meshes: np.zeros((len(meshes), 52), np.float32),
) -> World:
    eye = recogniser()
    groups = [[source_of(number, eye)] for number in known]
    key = ScopeKey.unsafe_from_seed(1)
    personas = cast(groups, SPACE, key, b"clip", Policy(), (8, 16, 16))
    viewer = Viewer(MeshFinder(FakeEngine(find_mesh)), expression, _mean_mesh())
    counters, guard = Counters(), Guard(generator, timeout_s)
    return World(Synthesiser(viewer, guard, [eye], coarse, personas, counters), personas, counters, guard)


def _mean_mesh() -> np.ndarray:
    found: np.ndarray = mesh(1.0) - [0.5, 0.52, 0]
    return found

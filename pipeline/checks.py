"""The second look at a rendering: is a face where a face was, and is it nobody who must not be shown?

Networks look that had no part in making it: the mesh network finds the face, recognisers compare it
with the people of the stream. Orthogonality of the command is not orthogonality of the rendered face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from veilcast.arrays import Float, Float64
from veilcast.diffusion import patch
from veilcast.diffusion.oim import centred
from veilcast.pipeline import batches
from veilcast.pipeline.align import TEMPLATE_112, TEMPLATE_DLIB_150, crop, scale_of, similarity
from veilcast.pipeline.generate import Refusal
from veilcast.pipeline.landmarks import CROP_PX, Mesh, MeshFinder
from veilcast.trt_engines.engine import Engine
from veilcast.types import Affine, Rgb

PRESENCE = 0.5
# mean distance of the five points from where the source had them, share of the patch's side
MISPLACED = 0.06


@dataclass(frozen=True)
class Recogniser:
    """A face to a centred unit vector. `too_close`, `same_person`: cosines from which two pictures may, and
    surely do, show one person; `stranger`: below it they hardly do; `as_drawn`: with the identity that was
    drawn, from which a rendering shows that one (-1 where identities are of another space)."""

    engine: Engine = field(repr=False)
    template: Float64[np.ndarray, "5 2"] = field(repr=False)
    side: int
    mean: Float[np.ndarray, " d"] = field(repr=False)
    too_close: float
    same_person: float
    stranger: float
    as_drawn: float = -1.0

    def raw(self, chips: Sequence[Rgb]) -> Float64[np.ndarray, "n d"]:
        """Embeddings as the network gives them. Raises EngineError."""
        inputs = np.stack([chip.transpose(2, 0, 1) for chip in chips]).astype(np.float32)
        found: Float64[np.ndarray, "n d"] = batches.run(self.engine, {"rgb": inputs})["embedding"].astype(
            np.float64
        )
        return found

    def centred(self, chips: Sequence[Rgb]) -> Float64[np.ndarray, "n d"]:
        """Raises EngineError, and ValueError for an embedding that is not finite."""
        result: Float64[np.ndarray, "n d"] = centred(self.raw(chips), self.mean)
        return result

    def affine(self, mesh: Float64[np.ndarray, "478 d"]) -> Affine:
        """Coordinates of the mesh -> chip."""
        return similarity(patch.five(mesh), self.template)

    def chip(self, rgb: Rgb, mesh: Float64[np.ndarray, "478 d"]) -> Rgb:
        return crop(rgb, self.affine(mesh), self.side)


# Cosines that strangers reach once in a hundred (too_close) and in ten thousand pairs (same_person):
# 500 people of CelebA, one other picture each. For two tracks to be one person both recognisers must say so.
# Below the last one lie four strangers of five and one in fifty pairs of one person.
_DLIB, _FACERES = (0.44, 0.72, 0.15), (0.54, 0.65, 0.40)
# A persona whose first rendering is further than this from the identity that was drawn is mostly known as
# somebody else in its next picture (benchmarks/synthetic.py, one persona known as one).
_AS_DRAWN = 0.55
# Another crop of the same rendering moves a cosine by so much: a persona that can still be drawn again must
# be that much further from its source.
EDGE = 0.04


def dlib(engine: Engine, mean: Float[np.ndarray, " d"]) -> Recogniser:
    """The recogniser whose centred space identities are drawn from (CC0)."""
    return Recogniser(engine, TEMPLATE_DLIB_150, 150, mean, *_DLIB, _AS_DRAWN)


def faceres(engine: Engine) -> Recogniser:
    """HSE-FaceRes, whose embedding no training loss has used; not centred."""
    return Recogniser(engine, 2 * TEMPLATE_112, 224, np.zeros(1024), *_FACERES)


def find_face(
    meshes: MeshFinder, renderings: Sequence[Rgb], expected: Sequence[Float64[np.ndarray, "478 3"]]
) -> list[Mesh | Refusal]:
    """The mesh in each rendering, in pixels of a patch of its side, where it shows a face in the place of
    `expected` (pixels of the same patch)."""
    affines = [similarity(patch.five(mesh), patch.TEMPLATE * CROP_PX) for mesh in expected]
    crops = [crop(rgb, affine, CROP_PX) for rgb, affine in zip(renderings, affines, strict=True)]
    found = meshes.find_in(crops, affines)
    return [_placed(mesh, *rest) for mesh, *rest in zip(found, affines, expected, strict=True)]


def _placed(mesh: Mesh | None, affine: Affine, expected: Float64[np.ndarray, "478 3"]) -> Mesh | Refusal:
    if mesh is None or not mesh.presence >= PRESENCE:
        return Refusal("no face")
    gap = np.linalg.norm(patch.five(mesh.points) - patch.five(expected), axis=1).mean()
    if not gap * scale_of(affine) <= MISPLACED * CROP_PX:
        return Refusal("face elsewhere")
    return mesh


def who(
    rendered: Float64[np.ndarray, " d"],
    recogniser: Recogniser,
    source: Float[np.ndarray, " d"],
    real: Float[np.ndarray, "k d"],
    anchor: Float[np.ndarray, " d"] | None,
    others: Float[np.ndarray, "m d"],
    edge: float = 0.0,
) -> Refusal | None:
    """Whether a rendering (centred unit vector) shows somebody that it must not.

    source: the person behind it. real: the other real people of the stream. anchor: this persona as it
    was accepted before. others: the other personas' anchors. edge: by how much more it must differ from its
    source.
    """
    if not source @ rendered < recogniser.too_close - edge:
        return Refusal("too close to its source", close=True)
    if len(real) and not (real @ rendered).max() < recogniser.same_person:
        return Refusal("too close to another person", close=True)
    nearest = float((others @ rendered).max(initial=-1.0))
    own = recogniser.same_person if anchor is None else max(float(anchor @ rendered), recogniser.too_close)
    if not nearest < own:
        return Refusal("another persona", close=True)
    return None

"""A face that was blended on the device, back in its frame: the same last look, then the same pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from veilcast.pipeline.blend import EXPOSED, Refused, Synthetic, correlation, inner_luma, place
from veilcast.pipeline.cover import Painter
from veilcast.pipeline.pixels import crop_to_rgb, touched
from veilcast.types import Frame


@dataclass(frozen=True, slots=True)
class Blended:
    """`planes`: of the whole frame, with this and every other face of it blended in. `likeness`: of the
    new face to what the frame showed there."""

    face: Synthetic
    planes: tuple[np.ndarray, ...]
    likeness: float


def likeness(frame: Frame, face: Synthetic) -> float:
    """Correlation of a new face with what is there now; to be asked before any face is painted."""
    return correlation(inner_luma(face.rgb), inner_luma(crop_to_rgb(frame, face.to_patch, len(face.mask))))


def painter(blended: Blended) -> Painter:
    return partial(copy_in, blended=blended)


def copy_in(frame: Frame, blended: Blended) -> None:
    """The blended samples under the face's mask, into the frame's planes.

    Raises Refused, with the planes untouched, where the mask does not hide the face whole, the planes are
    not this frame's, or what they show is too much like what was there.
    """
    face = blended.face
    place(face)
    if [p.shape for p in blended.planes] != [p.shape for p in frame.planes]:
        raise Refused("planes of another frame")
    if not blended.likeness <= EXPOSED:
        raise Refused("too much like the source")
    regions = list(touched(frame, face.to_patch, face.mask))
    for (plane, samples, weight), new in zip(regions, blended.planes, strict=True):
        np.copyto(plane[samples], new[samples], where=weight > 0)

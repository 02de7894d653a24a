"""A synthetic face into its picture: colours fitted to what surrounds it, a mask that hides the whole face
and fades outwards only, and the last look before it replaces the pixels.

Colours are fitted on the ring outside the mask, which the generator was shown and gives back: what differs
there is the generator's, and nothing of the hidden face is read. That is true of the frame that it was shown
alone: where a rendering is carried on, what was beside the head then is not what is there now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from veilcast.arrays import Float32
from veilcast.pipeline.align import apply, scale_of
from veilcast.pipeline.cover import Refused
from veilcast.pipeline.likeness import LENS_PX, OVAL, Lens, Mask, compare, reduced
from veilcast.pipeline.pixels import crop_to_rgb, paste_rgb
from veilcast.types import Affine, Box, Frame, Rgb

FEATHER = 0.06  # of the patch's side, outside the mask
RING = 0.10
_CELLS = 32  # a side: colours are fitted there
_FITTED = 128  # pixels: what is looked at of a larger patch to do so
_MOST_SHIFT = 24  # of 255, in colour; a ring that differs more shows something else
_SKIN_DIFFERS = 50, 110  # of 255: from a face's usual colour, of what is surely its skin and surely not
_CIRCLE = np.array([(np.cos(a), np.sin(a)) for a in np.linspace(0, 2 * np.pi, 64, endpoint=False)])
FACE_IN_BOX = 0.75  # ellipse in a track's box that must be under the mask whole
_ROUNDED_PX = 2  # of a patch: as far as one that is resampled may reach out of its shape


@dataclass(frozen=True, slots=True)
class Synthetic:
    """A finished face for one track in one frame."""

    track: int
    box: Box  # of the track, displayed pixels: what has to be hidden
    rgb: Rgb  # (s, s, 3)
    to_patch: Affine  # displayed pixels -> patch pixels
    mask: Mask  # 1 = this face alone, 0 = untouched


def fitted(face: Rgb, context: Rgb, core: Mask, others: Mask) -> Rgb:
    """The face in the colours of its surroundings. All of one side s.

    face: generated. context: the source's patch; read only where `core` and `others` are 0. core: 1 over
    what is replaced. others: 1 where the patch shows other people's faces.
    """
    away, side = _distance_outside(core), len(core)
    ring = ((away > 0) & (away <= RING * side) & (others < 0.5)).astype(np.float32)
    if ring.sum() < side:  # too little surroundings to learn anything from
        return face
    # cv2 rounds to the nearest and keeps what the type cannot hold at its ends
    result: Rgb = cv2.add(face, _colour_shift(face, context, core, ring), dtype=cv2.CV_8U)
    return result


def feathered(core: Mask) -> Mask:
    """1 over the core, falling to 0 outside it."""
    mask: Mask = np.clip(1 - _distance_outside(core) / (FEATHER * len(core)), 0, 1).astype(np.float32)
    return mask


def _distance_outside(core: Mask) -> Float32[np.ndarray, "s s"]:
    """Pixels to the mask, 0 inside it; of a large one measured on half as many a side."""
    half = reduced(core, _FITTED)
    away = cv2.distanceTransform(cv2.compare(half, 0.5, cv2.CMP_LT), cv2.DIST_L2, 5)
    if len(half) < len(core):
        away = cv2.resize(away * (len(core) / len(half)), core.shape, interpolation=cv2.INTER_LINEAR)
        away[core >= 0.5] = 0
    result: Float32[np.ndarray, "s s"] = away
    return result


def _colour_shift(face: Rgb, context: Rgb, core: Mask, ring: Mask) -> Float32[np.ndarray, "s s 3"]:
    """What the ring lacks in colour, spread smoothly inwards: it follows a light that comes from one side.
    What the ring shows of skin tells of the skin, and the rest of the rest: a face in front of a blue wall
    is none the bluer for it."""
    cells, side = (_CELLS, _CELLS), len(ring)
    face, context, ring, core = (reduced(values, _FITTED) for values in (face, context, ring, core))
    ring = np.floor(ring)  # what lies in it whole
    apart = cv2.subtract(context, face, dtype=cv2.CV_32F)
    known = cv2.resize(
        cv2.multiply(apart, cv2.merge([ring, ring, ring])), cells, interpolation=cv2.INTER_AREA
    )
    weight, inside, colours = (
        cv2.resize(values, cells, interpolation=cv2.INTER_AREA) for values in (ring, core, face)
    )
    skin = _like_skin(colours, inside)
    of_skin, of_rest = (
        _spread(cv2.multiply(known, cv2.merge([share] * 3)), weight * share) for share in (skin, 1 - skin)
    )
    # eyes, lips and teeth are none of its skin, but in the same light
    middle = cv2.GaussianBlur(inside, (0, 0), 0.05 * _CELLS)
    face_share = np.maximum(skin, np.interp(middle, (0.8, 0.95), (0, 1)).astype(np.float32))
    shift = cv2.blendLinear(of_skin, of_rest, face_share, 1 - face_share)
    smooth: Float32[np.ndarray, "s s 3"] = cv2.resize(shift, (side, side), interpolation=cv2.INTER_LINEAR)
    return smooth


def _like_skin(
    colours: Float32[np.ndarray, "c c 3"], inside: Float32[np.ndarray, "c c"]
) -> Float32[np.ndarray, "c c"]:
    """How much each cell is of the colour of the face `inside`: 1 for its skin, 0 for a wall or dark hair."""
    if not (inside > 0.5).any():
        return np.ones_like(inside)
    apart = np.linalg.norm(colours - np.median(colours[inside > 0.5], axis=0), axis=2)
    like: Float32[np.ndarray, "c c"] = np.interp(apart, _SKIN_DIFFERS, (1, 0)).astype(np.float32)
    return like


def _spread(
    known: Float32[np.ndarray, "c c 3"], weight: Float32[np.ndarray, "c c"]
) -> Float32[np.ndarray, "c c 3"]:
    """What is known where there is weight, over all cells (normalised convolution, Knutsson and Westin 1993);
    little where there is hardly any."""
    total = known.sum((0, 1)) / (weight.sum() + 1)
    weight, known = (cv2.GaussianBlur(values, (0, 0), 0.15 * _CELLS) for values in (weight, known))
    faint = 1e-3  # far from any ring the mean takes over
    shift = (known + faint * total) / (weight[..., None] + faint)
    bounded: Float32[np.ndarray, "c c 3"] = np.clip(shift, -_MOST_SHIFT, _MOST_SHIFT)
    return bounded


def paste(frame: Frame, face: Synthetic) -> None:
    """Puts the face into the frame's planes, in place.

    Raises Refused, with the planes untouched, where the mask does not hide the tracked face whole, or
    what it shows is too much like what is there now.
    """
    place(face)
    side, seen = len(face.mask), min(len(face.mask), LENS_PX)
    oval = ellipse(face.box.scaled(OVAL), face.to_patch, side)
    lens = Lens(face.mask, oval)
    if compare(lens(face.rgb), lens(crop_to_rgb(frame, face.to_patch * (seen / side), seen))).shown:
        raise Refused("too much like the source")
    paste_rgb(frame, face.rgb, face.to_patch, face.mask)


def place(face: Synthetic) -> None:
    """Raises Refused where the patch is malformed or its mask does not hide the tracked face whole."""
    side = len(face.mask)
    if face.rgb.shape != (side, side, 3) or face.rgb.dtype != np.uint8 or face.mask.shape != (side, side):
        raise Refused("wrong size")
    if not np.isfinite(face.to_patch).all():
        raise Refused("no place")
    if not _hides(face):
        raise Refused("face not under the mask")


def paste_veil(frame: Frame, face: Synthetic, pasted: Sequence[Box] = ()) -> None:
    """The same for a face of a few average colours, which may well correlate with what they are of. `pasted`:
    boxes of tracks whose faces `paste` has put into this frame: these are not veiled."""
    place(face)
    mask = face.mask
    for shape in reaching(pasted, FACE_IN_BOX, face.to_patch, len(mask)):
        mask = mask * (1 - _inside(shape, face.to_patch, len(mask)))
    if mask.any():
        paste_rgb(frame, face.rgb, face.to_patch, mask)


def _inside(shape: Box, to_patch: Affine, side: int) -> Mask:
    """1 within the ellipse in `shape`, falling to 0 before its edge."""
    whole = ellipse(shape, to_patch, side).astype(np.uint8)
    inside = cv2.distanceTransform(whole, cv2.DIST_L2, 5) - _ROUNDED_PX
    result: Mask = np.clip(inside / (FEATHER * side), 0, 1)
    return result


def _hides(face: Synthetic) -> bool:
    """Whether the mask is 1 all over the ellipse in the track's box."""
    side = len(face.mask)
    shape = face.box.scaled(FACE_IN_BOX)
    corners = np.array([(x, y) for x in (shape.x0, shape.x1) for y in (shape.y0, shape.y1)])
    at = apply(face.to_patch, corners)
    if at.min() < 0 or at.max() > side:
        return False
    return bool((face.mask[ellipse(shape, face.to_patch, side) > 0] > 0.99).all())


def reaching(boxes: Sequence[Box], factor: float, to_patch: Affine, side: int) -> Iterator[Box]:
    """Those boxes, scaled by `factor`, whose ellipses may touch the patch, by the circle around each. In a
    crowd they are few."""
    if not boxes:
        return
    corners = np.array([(box.x0, box.y0, box.x1, box.y1) for box in boxes])
    centres, sizes = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    away = np.linalg.norm(apply(to_patch, centres) - side / 2, axis=1)
    radii = np.linalg.norm(sizes, axis=1) / 2 * factor * scale_of(to_patch)
    for number in np.flatnonzero(away < radii + 0.75 * side).tolist():
        yield boxes[number].scaled(factor)


def ellipse(box: Box, to_patch: Affine, side: int) -> Mask:
    """1 over the ellipse in `box`."""
    rim = _CIRCLE * [box.width / 2, box.height / 2] + box.centre
    mask = np.zeros((side, side), np.float32)
    polygon = np.clip(apply(to_patch, rim) - 0.5, -8 * side, 9 * side)
    cv2.fillPoly(mask, [np.rint(polygon * 16).astype(np.int32)], 1.0, shift=4)
    return mask

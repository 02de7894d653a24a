"""The cached rendering of a persona, carried from the frame that it was rendered for to the frames around
it: nearly free, sharp and steady.

The crop's own alignment takes out place, size and turn (a similarity); what is left, small changes of
pose and expression, is a piecewise-affine warp through the landmark mesh. Mouth and eyelids decide:
where they change, or the head turns, the face is rendered anew. It follows the light by one number a
colour, the mean of the source's face; else the source's pixels are not read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np

from veilcast.arrays import Bool, Float32, Float64, Int32
from veilcast.diffusion import patch
from veilcast.pipeline.landmarks import mouth_and_lids
from veilcast.pipeline.tone import Tone, lit, times
from veilcast.types import Rgb

Mesh = Float64[np.ndarray, "478 3"]  # pixels of the patch

# From these changes on a face is rendered anew. Openness of mouth and lids and width of the mouth in face
# heights, rotation in radians, any landmark in shares of the patch's side. Up to there lips and lids are as
# right on what is carried as on what is rendered (benchmarks/carrying.py).
OPENING = (0.03, 0.045, 0.018, 0.018)
TURN = 0.18
STRETCH = 0.075
MAX_AGE = 25  # frames: light and surroundings move on even where the face does not

BEND = 1.8  # times those changes, mouth and lids aside: how far one is carried for want of a new one

_NODES = 96  # a side: the field is computed there and interpolated between
_RIM = (
    np.array([(x, y) for x in range(5) for y in range(5) if x in (0, 4) or y in (0, 4)]) / 4
)  # of the patch
# a third of the mesh moves the rest: outline, eyes and mouth whole
_CARRIERS = sorted({*range(0, 478, 3), *patch.OVAL, *patch.RIGID, 13, 14, 61, 291, 159, 145, 386, 374})


@dataclass(frozen=True, slots=True)
class Pose:
    """How a face stands in its patch, in one frame."""

    index: int  # of the frame
    side: int  # of the patch, pixels
    mesh: Mesh = field(repr=False)  # pixels of the patch
    rotation: Float32[np.ndarray, " 6"] = field(repr=False)  # two columns, as in patch.stance
    tone: Tone = field(repr=False)  # of what is replaced


def may_carry(rendered: Pose, now: Pose) -> bool:
    """Whether what was rendered for one pose still fits another one."""
    if (np.abs(mouth_and_lids(now.mesh) - mouth_and_lids(rendered.mesh)) > OPENING).any():
        return False
    return now.index >= rendered.index and _within(rendered, now, 1)


def may_bend(rendered: Pose, now: Pose) -> bool:
    """Whether it may stand in where a new rendering is refused, in a frame before its own too: mouth and lids
    are bent along."""
    return _within(rendered, now, BEND)


def _within(rendered: Pose, now: Pose, times: float) -> bool:
    if rendered.side != now.side or abs(now.index - rendered.index) > times * MAX_AGE:
        return False
    cosines = (now.rotation.reshape(2, 3) * rendered.rotation.reshape(2, 3)).sum(1)
    if np.arccos(np.clip(cosines, -1, 1)).max() > times * TURN:
        return False
    shift = np.linalg.norm(now.mesh[:, :2] - rendered.mesh[:, :2], axis=1).max()
    return bool(shift <= times * STRETCH * now.side)


def carry(rgb: Rgb, rendered: Pose, now: Pose) -> Rgb:
    """The rendering (side, side, 3) of one pose as another one moves it, in that one's light: each point of
    the new patch looks up where it was."""
    places = _displacement(now.mesh[:, :2], rendered.mesh[:, :2], now.side) + _grid(now.side)
    warped: Rgb = cv2.remap(
        rgb, places, None, interpolation=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    return lit(warped, times(now.tone, rendered.tone))


@lru_cache
def _grid(side: int) -> Float32[np.ndarray, "s s 2"]:
    """Column and row of each pixel."""
    rows, columns = np.indices((side, side), np.float32)
    return np.stack([columns, rows], 2)


def _displacement(
    now: Float64[np.ndarray, "478 2"], before: Float64[np.ndarray, "478 2"], side: int
) -> Float32[np.ndarray, "s s 2"]:
    """From each pixel of the patch to where it was: affine in every triangle between the landmarks
    (Delaunay, as they were), nothing at the patch's border."""
    here, there = now[_CARRIERS], before[_CARRIERS]
    inside = ((here > 0) & (here < side) & (there > 0) & (there < side)).all(1)
    rim = _RIM * side
    here, there = np.concatenate([here[inside], rim]), np.concatenate([there[inside], rim])
    corners = _triangles(there.tobytes(), side)
    affines, solid = _affines(here[corners], (there - here)[corners])
    places = _places(here[corners[solid]] * (_NODES / side))
    centres = ((np.arange(_NODES, dtype=np.float32) + 0.5) * (side / _NODES))[:, None]
    at = affines.take(places, axis=0, mode="wrap")  # (nodes, nodes, 6); -1 is the last
    coarse = centres * at[..., :2] + centres[:, None] * at[..., 2:4] + at[..., 4:]
    moved: Float32[np.ndarray, "s s 2"] = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR)
    return moved


@lru_cache(maxsize=64)  # a rendering is carried to many frames
def _triangles(points: bytes, side: int) -> Int32[np.ndarray, "m 3"]:
    """Of a float64 (n, 2) inside the patch: the corners of each triangle. (scipy's takes a sixth of a second
    to import.)"""
    places = np.frombuffer(points).reshape(-1, 2).astype(np.float32)
    division = cv2.Subdiv2D((-1, -1, side + 2, side + 2))
    division.insert(places)
    numbers = {place: number for number, place in enumerate(map(tuple, places.tolist()))}
    corners = np.reshape(division.getTriangleList(), (-1, 3, 2)).tolist()
    found = ([numbers.get((x, y), -1) for x, y in triangle] for triangle in corners)
    # those with a corner that is none of the points join them to what lies around the patch
    result: Int32[np.ndarray, "m 3"] = np.array([three for three in found if min(three) >= 0], np.int32)
    return result


def _affines(
    corners: Float64[np.ndarray, "m 3 2"], shifts: Float64[np.ndarray, "m 3 2"]
) -> tuple[Float32[np.ndarray, "k 6"], Bool[np.ndarray, " m"]]:
    """The factors of x, of y and of 1 in the shift in each triangle that has an area, and which those are;
    the last one is no shift. What is turned over lies behind: the far side of a turning head."""
    first, (x1, y1), (x2, y2) = corners[:, 0], *(corners[:, n].T - corners[:, 0].T for n in (1, 2))
    area = x1 * y2 - y1 * x2
    solid = area > 1e-3
    by1, by2 = (shifts[:, n] - shifts[:, 0] for n in (1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        across = (by1 * y2[:, None] - by2 * y1[:, None]) / area[:, None]
        down = (by2 * x1[:, None] - by1 * x2[:, None]) / area[:, None]
        fixed = shifts[:, 0] - across * first[:, :1] - down * first[:, 1:]
    found = np.concatenate([across, down, fixed], 1)[solid]
    return np.concatenate([found, np.zeros((1, 6))], dtype=np.float32), solid


def _places(triangles: Float64[np.ndarray, "m 3 2"]) -> Int32[np.ndarray, "k k"]:
    """The triangle that each node lies in; -1 = none."""
    places = np.full((_NODES, _NODES), -1, np.int32)
    for number, corners in enumerate(np.rint((triangles - 0.5) * 16).astype(np.int32)):
        cv2.fillConvexPoly(places, corners, number, shift=4)
    return places

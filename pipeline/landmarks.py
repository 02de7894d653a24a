"""The face mesh: 478 points of a face, found in a crop that the detector's five points place, and
held steady over a track.

Points are (x, y, z) in pixels of the displayed picture, z in the same unit and negative towards the
camera. What the networks are told of a face (mask, geometry) is `diffusion.patch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from veilcast.arrays import Float32, Float64
from veilcast.diffusion import patch
from veilcast.pipeline import batches
from veilcast.pipeline.align import inverse, similarity
from veilcast.pipeline.pixels import crops_to_rgb
from veilcast.trt_engines.engine import Engine
from veilcast.types import Affine, Box, Frame, Points, Rgb, Track

CROP_PX = 256  # side of the mesh network's input

# where detectors see the five points inside their box, for tracks that come without them
_FIVE_IN_BOX = np.array([[0.31, 0.42], [0.69, 0.42], [0.5, 0.62], [0.35, 0.79], [0.65, 0.79]])


@dataclass(frozen=True, slots=True)
class Mesh:
    points: Float64[np.ndarray, "478 3"]
    presence: float  # 0 to 1: that the crop shows a face


def five_points(track: Track) -> Points:
    """The track's five points, or where they usually lie in its box."""
    return in_box(track.box) if track.landmarks is None else track.landmarks


def in_box(box: Box) -> Points:
    points: Points = (_FIVE_IN_BOX * [box.width, box.height] + [box.x0, box.y0]).astype(np.float32)
    return points


class MeshFinder:
    """Meshes by the engine of role landmarks478: rgb (n, 3, 256, 256) 0..255 -> mesh (n, 478, 3) in pixels
    of the crop, presence (n, 1)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, scenes: Sequence[tuple[Frame, Sequence[Points]]]) -> list[list[Mesh | None]]:
        """For each frame the mesh of each face, given by its five points in displayed pixels; None where
        those place nothing or the answer is not finite. All faces in one batch. Raises EngineError."""
        affines = [[_placed(five) for five in faces] for _, faces in scenes]
        known = [[affine for affine in some if affine is not None] for some in affines]
        crops = [
            crop
            for (frame, _), some in zip(scenes, known, strict=True)
            for crop in crops_to_rgb(frame, some, CROP_PX)
        ]
        found = iter(self.find_in(crops, [affine for some in known for affine in some]))
        return [[None if affine is None else next(found) for affine in some] for some in affines]

    def find_in(self, crops: Sequence[Rgb], affines: Sequence[Affine]) -> list[Mesh | None]:
        """The mesh in each crop (256, 256, 3), in the coordinates that its affine came from."""
        if not crops:
            return []
        pictures = np.stack([crop.transpose(2, 0, 1) for crop in crops]).astype(np.float32)
        outputs = batches.run(self._engine, {"rgb": pictures})
        points, presence = outputs["mesh"].astype(np.float64), outputs["presence"].reshape(-1)
        return [
            Mesh(patch.move(mesh, inverse(affine)), float(sure))
            if np.isfinite(mesh).all() and np.isfinite(sure)
            else None
            for mesh, sure, affine in zip(points, presence, affines, strict=True)
        ]


def _placed(five: Points) -> Affine | None:
    try:
        return similarity(five, patch.TEMPLATE * CROP_PX)
    except ValueError:
        return None


class OneEuro:
    """One-Euro filter (Casiez et al. 2012, algorithm 1) of points, vectorised: steady when the face is
    still, without lag when it moves. Speeds count in face sizes a second, so distance does not matter."""

    def __init__(self, cutoff_hz: float = 1.5, beta: float = 6.0, speed_cutoff_hz: float = 2.0) -> None:
        self._cutoff_hz, self._beta, self._speed_cutoff_hz = cutoff_hz, beta, speed_cutoff_hz
        self._time_s: float | None = None
        self._value: Float64[np.ndarray, "n d"] = np.zeros((0, 0))
        self._speed: Float64[np.ndarray, "n d"] = np.zeros((0, 0))

    def __call__(
        self, time_s: float, points: Float64[np.ndarray, "n d"], size_px: float
    ) -> Float64[np.ndarray, "n d"]:
        """`size_px`: of the face. Starts anew after half a second without the face or going back."""
        step_s = 0.0 if self._time_s is None else time_s - self._time_s
        if not 0 < step_s <= 0.5:
            self._time_s, self._value, self._speed = time_s, points, np.zeros_like(points)
            return points
        speed = (points - self._value) / step_s
        self._speed = self._speed + _gain(self._speed_cutoff_hz, step_s) * (speed - self._speed)
        cutoff_hz = self._cutoff_hz + self._beta * np.abs(self._speed) / size_px
        self._value = self._value + _gain(cutoff_hz, step_s) * (points - self._value)
        self._time_s = time_s
        return self._value


def _gain(cutoff_hz: float | Float64[np.ndarray, "n d"], step_s: float) -> float | Float64[np.ndarray, "n d"]:
    """Smoothing factor of a first-order low pass (Casiez et al. 2012, equation 5)."""
    turn = 2 * np.pi * cutoff_hz * step_s
    return turn / (turn + 1)


def size_px(points: Float64[np.ndarray, "478 d"]) -> float:
    """Height of the face from brow to chin: what "small" and speeds are measured by."""
    return max(float(np.linalg.norm(points[10, :2] - points[152, :2])), 1e-6)


def yaw(points: Float64[np.ndarray, "478 3"]) -> float:
    """How far the head is turned from the camera, in radians, 0 = frontal: the angle of the line between
    the outer corners of the eyes with the picture plane."""
    across = points[263] - points[33]
    return float(np.arctan2(abs(across[2]), max(float(np.hypot(across[0], across[1])), 1e-6)))


def mouth_and_lids(points: Float64[np.ndarray, "478 d"]) -> Float32[np.ndarray, " 4"]:
    """Openness of the mouth, its width, and openness of both eyes, in units of the face's size: what a
    warp of another frame's rendering cannot follow."""
    pairs = np.array([[13, 14], [61, 291], [159, 145], [386, 374]])
    lengths = np.linalg.norm(points[pairs[:, 0], :2] - points[pairs[:, 1], :2], axis=1)
    result: Float32[np.ndarray, " 4"] = (lengths / size_px(points)).astype(np.float32)
    return result

"""Where a face is put before a network sees it: five points onto a template by a similarity.

Continuous coordinates as in `pixels`: pixel (x, y) covers [x, x + 1) x [y, y + 1), so an affine holds
for any number of pixels a side. Templates are the five points of `Face.landmarks`, left and right as
seen in the picture.
"""

from __future__ import annotations

import cv2
import numpy as np

from veilcast.arrays import Float, Float64
from veilcast.diffusion import patch
from veilcast.types import Affine, Rgb

Template = Float64[np.ndarray, "5 2"]

# the 112 px template that ArcFace's authors published and MobileFaceNet was trained with
TEMPLATE_112: Template = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
# where dlib's own 150 px chips (padding .25) have these points
TEMPLATE_DLIB_150: Template = np.array(
    [[48.2, 47.0], [100.6, 46.6], [75.0, 78.7], [51.5, 98.5], [98.6, 98.7]]
)


def similarity(src: Float[np.ndarray, "n 2"], dst: Float[np.ndarray, "n 2"]) -> Affine:
    """Least-squares rotation, scale and shift that takes `src` to `dst`.

    Raises ValueError where the points are not finite or all the same.
    """
    a, b = np.asarray(src, np.float64), np.asarray(dst, np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all() and np.ptp(a, axis=0).any()):
        raise ValueError("points to align must be finite and not all in one place")
    return patch.similarity(a, b)


def apply(affine: Affine, points: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
    """`points` moved by `affine`."""
    moved: Float64[np.ndarray, "n 2"] = np.asarray(points, np.float64) @ affine[:, :2].T + affine[:, 2]
    return moved


def compose(second: Affine, first: Affine) -> Affine:
    """The affine that does `first`, then `second`."""
    square = np.vstack([first, [0.0, 0.0, 1.0]])
    result: Affine = second @ square
    return result


def inverse(affine: Affine) -> Affine:
    """The way back."""
    return np.linalg.inv(np.vstack([affine, [0.0, 0.0, 1.0]]))[:2]


def scale_of(affine: Affine) -> float:
    """How many patch pixels one picture pixel becomes, along a side."""
    return float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))


def crop(rgb: Rgb, affine: Affine, side: int) -> Rgb:
    """The patch (side, side, 3) that `affine` (picture pixels to patch pixels) cuts out of a picture.
    Beyond the picture its border is repeated; a large face is averaged down first, not skipped through."""
    step = int(1 / max(scale_of(affine), 1e-6) + 1e-6)
    if 2 <= step <= min(rgb.shape[:2]):
        height, width = rgb.shape[0] // step, rgb.shape[1] // step
        grown = np.diag([rgb.shape[1] / width, rgb.shape[0] / height])
        affine = np.column_stack([affine[:, :2] @ grown, affine[:, 2]])
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    patch: Rgb = cv2.warpAffine(
        rgb, for_cv2(affine), (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return patch


def for_cv2(affine: Affine) -> Affine:
    """`affine` in OpenCV's coordinates, which put whole numbers on pixel centres."""
    shift = affine[:, :2] @ np.array([0.5, 0.5]) + affine[:, 2] - 0.5
    return np.column_stack([affine[:, :2], shift])

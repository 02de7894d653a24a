"""Does it look real, and is everything around it unharmed?"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.linalg import sqrtm

from veilcast.arrays import Bool, Float, Float32, Int
from veilcast.evaluation.coverage import Luma, changed, clipped, inner_ellipse
from veilcast.types import Box

Features = Float[np.ndarray, "n d"]


def frechet_distance(a: Features, b: Features) -> float:
    """Distance of two Gaussians fitted to features (Dowson and Landau 1982; Heusel et al. 2017):
    |ma - mb|^2 + tr(Ca + Cb - 2 (Ca Cb)^1/2). Comparable only at equal features and equal counts."""
    ca, cb = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    # tr (Ca Cb)^1/2 = sum of the singular values of Xa Xb' / (n - 1): exact, and small where n < d
    xa, xb = a - a.mean(0), b - b.mean(0)
    if min(len(a), len(b)) < a.shape[1]:
        cross = np.linalg.svd(xa @ xb.T, compute_uv=False).sum() / np.sqrt((len(a) - 1) * (len(b) - 1))
    else:
        cross = float(np.trace(np.real(sqrtm(ca @ cb))))
    shift = a.mean(0) - b.mean(0)
    return max(0.0, float(shift @ shift + np.trace(ca) + np.trace(cb) - 2 * cross))


def gradient(picture: Luma) -> Float32[np.ndarray, "h w"]:
    """Length of the gradient by central differences, levels per pixel."""
    dy, dx = np.gradient(picture)
    return np.asarray(np.hypot(dx, dy), np.float32)


def sharpness(picture: Luma, box: Box) -> float | None:
    """Detail of the inner face over that of the ring around the face: ratio of the root mean square
    gradients (Tenengrad; Krotkov 1988). None where the ring is flat or outside the picture."""
    height, width = picture.shape
    x0, y0, x1, y1 = clipped(box.scaled(1.8), width, height)
    steep = gradient(picture[y0:y1, x0:x1]) ** 2 if x1 - x0 > 3 and y1 - y0 > 3 else np.zeros((0, 0))
    y, x = np.mgrid[y0:y1, x0:x1] + 0.5
    cx, cy = box.centre
    radius = np.hypot((x - cx) / max(box.width, 1e-6), (y - cy) / max(box.height, 1e-6)) * 2
    inner, ring = steep[radius < 0.7], steep[radius > 1.4]
    if not len(inner) or not len(ring) or ring.mean() < 1e-3:
        return None
    return float(np.sqrt(inner.mean() / ring.mean()))


def seam_energy(original: Luma, output: Luma, box: Box) -> float | None:
    """How much steeper the output is along the border of its changed region than the original is in
    the same place: ratio of mean gradients, 1 = no seam. None where no border is near the face."""
    height, width = original.shape
    x0, y0, x1, y1 = clipped(box.scaled(2.0), width, height)
    a, b = original[y0:y1, x0:x1], output[y0:y1, x0:x1]
    if min(a.shape, default=0) < 8:
        return None
    mask = (cv2.blur(np.abs(a - b), (3, 3)) > 6).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel)
    small = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    # the patch's own border is not a seam
    edge = (cv2.dilate(mask, small) != cv2.erode(mask, small))[2:-2, 2:-2]
    if not edge.any():
        return None
    before, after = gradient(a)[2:-2, 2:-2][edge].mean(), gradient(b)[2:-2, 2:-2][edge].mean()
    return float((after + 0.5) / (before + 0.5))  # half a level: a flat wall is not an infinite seam


def outside_difference(
    original: Luma, output: Luma, changes: Bool[np.ndarray, "h8 w8"] | None = None
) -> float:
    """Mean absolute luma difference, in levels of 255, away from everything that was covered: 0 before
    an encoder, its coding noise after it."""
    changes = changed(original, output) if changes is None else changes
    away = cv2.dilate(changes.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    height, width = original.shape
    away = cv2.resize(away.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    return float(np.abs(original - output)[away].mean()) if away.any() else 0.0


def detectability(
    real: Features, made: Features, groups: Int[np.ndarray, " n"], strength: float = 0.1
) -> float | None:
    """Accuracy with which a small classifier tells made faces from real ones on people it has not seen:
    ridge regression to +-1 on standardised features, two folds by group; 0.5 = cannot tell. Row i of
    both is one face of group groups[i]. None with fewer than two groups of ten faces in all."""
    names = np.unique(groups)
    if len(names) < 2 or len(groups) < 10:
        return None
    first = np.isin(groups, names[::2])
    hits: list[float] = []
    for train, test in ((first, ~first), (~first, first)):
        x = np.concatenate([real[train], made[train]])
        mean, spread = x.mean(0), x.std(0) + 1e-6
        y = np.r_[np.ones(train.sum()), -np.ones(train.sum())]
        x = (x - mean) / spread
        # the dual form: faces are fewer than features (Saunders et al. 1998)
        kernel = x @ x.T
        penalty = strength * np.trace(kernel) / len(kernel) + 1e-9
        weights = x.T @ np.linalg.solve(kernel + penalty * np.eye(len(kernel)), y)
        hits += list(((real[test] - mean) / spread) @ weights > 0)
        hits += list(((made[test] - mean) / spread) @ weights <= 0)
    return float(np.mean(hits))


def inner_mean(picture: Float[np.ndarray, "h w c"], box: Box) -> Float[np.ndarray, " c"]:
    """Mean over the inner ellipse of the box; zeros where it lies outside the picture."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = clipped(box, width, height)
    if x1 <= x0 or y1 <= y0:
        return np.zeros(picture.shape[2])
    return np.asarray(picture[y0:y1, x0:x1][inner_ellipse(y1 - y0, x1 - x0)].mean(0))

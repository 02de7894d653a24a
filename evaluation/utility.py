"""What a viewer or a network still learns from the new face: where it looks and what it expresses.
Landmarks are the 478 points of the MediaPipe face mesh, x and y in pixels of one aligned crop, z in
the same unit; points 468 to 477 are the two irises."""

from __future__ import annotations

import numpy as np

from veilcast.arrays import Float

Mesh = Float[np.ndarray, "478 3"]

# bones rather than muscles: eye corners, bridge of the nose, forehead, temples, cheekbones
RIGID = (33, 133, 362, 263, 6, 168, 197, 195, 10, 109, 338, 127, 356, 234, 454)
EYE_CORNERS = ((33, 133), (362, 263))  # (left, right) corner as seen, of the left and the right eye as seen
IRISES = (468, 473)


def rotation(source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "3 3"]:
    """The rotation that takes `source` closest to `target` after shift and scale (Kabsch 1976)."""
    s, t = source - source.mean(0), target - target.mean(0)
    u, _, vt = np.linalg.svd(t.T @ s)
    proper = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    return np.asarray(u @ proper @ vt)


def pose_error_degrees(a: Mesh, b: Mesh) -> float:
    """Geodesic angle of the head rotation between two meshes: arccos((trace R - 1) / 2) (Huynh 2009)."""
    turn = rotation(a[list(RIGID)], b[list(RIGID)])
    return float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))


def gaze(mesh: Mesh) -> Float[np.ndarray, "2 2"]:
    """Position of each iris between the corners of its eye: along the line of the corners and across
    it, in eye widths from the middle."""
    out = []
    for (left, right), iris in zip(EYE_CORNERS, IRISES, strict=True):
        a, b, p = mesh[left, :2], mesh[right, :2], mesh[iris, :2]
        axis = b - a
        width = max(float(np.hypot(*axis)), 1e-6)
        along = axis / width
        offset = p - (a + b) / 2
        out.append([offset @ along / width, (offset[1] * along[0] - offset[0] * along[1]) / width])
    return np.array(out)


def gaze_error(a: Mesh, b: Mesh) -> float:
    """Mean distance of the iris positions of two meshes, in eye widths."""
    return float(np.linalg.norm(gaze(a) - gaze(b), axis=1).mean())


def interocular(mesh: Mesh) -> float:
    """Distance of the outer eye corners, in the mesh's unit."""
    return float(np.linalg.norm(mesh[33, :2] - mesh[263, :2]))


def landmark_error(a: Mesh, b: Mesh) -> float:
    """Normalised mean error (Sagonas et al. 2013): mean point distance over the distance of the outer
    eye corners of `a`. Both meshes in the same crop."""
    return float(np.linalg.norm(a[:468, :2] - b[:468, :2], axis=1).mean() / max(interocular(a), 1e-6))


def blendshape_distance(a: Float[np.ndarray, " 52"], b: Float[np.ndarray, " 52"]) -> float:
    """Mean absolute difference of the expression coefficients, each 0 to 1."""
    return float(np.abs(a - b).mean())

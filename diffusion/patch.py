"""The patch: how a face is laid into the square that the networks see. Numpy alone, shared by training
and run time, so that both see the same picture.

Coordinates are continuous: the centre of pixel (0, 0) is (.5, .5). Landmarks are the 478 points of
the MediaPipe face mesh (x, y in pixels of the picture at hand, z in the same unit, towards the
camera negative); left and right are as seen in the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from veilcast.arrays import Float, UInt8

# Five points in units of the patch's side: eyes, nose, mouth corners. The inter-ocular distance of .255
# leaves hair, ears and neck as context; hairline to chin takes about .13 to .86.
TEMPLATE = np.array([[0.3725, 0.4], [0.6275, 0.4], [0.5, 0.5525], [0.389, 0.663], [0.611, 0.663]])

LEFT_EYE, RIGHT_EYE, NOSE, MOUTH = (33, 133), (362, 263), 1, (61, 291)
# fmt: off
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
        148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
# what moves with the skull rather than with the expression: temples, eye corners, bridge of the nose
RIGID = (10, 338, 297, 332, 284, 251, 389, 356, 454, 234, 127, 162, 21, 54, 103, 67, 109, 33, 133, 362,
         263, 168, 6, 197, 195, 5, 4, 1, 98, 327)
# fmt: on
CHEEKS = (50, 280, 101, 330, 205, 425)

GEOMETRY = 61  # 52 blendshapes, 6 of the rotation, scale, x, y
# standard deviation of each of them among some 40,000 photographs, at least .05 (.02 of the pose): what
# hardly varies must not count for more than what shows
# fmt: off
SPREAD = np.array((
     .05, .23, .23, .14, .18, .14, .05, .05, .05, .13, .12, .17, .17, .20, .24, .24,
     .21, .12, .12, .17, .18, .05, .05, .05, .05, .09, .05, .05, .05, .05, .05, .05,
     .05, .05, .10, .14, .09, .10, .14, .05, .07, .06, .14, .06, .37, .37, .07, .07,
     .26, .28, .05, .05, .05, .03, .24, .03, .02, .14, .07, .03, .04,
), np.float32)
# fmt: on
COLOURS = 4  # cells a side of the average colours that stay visible under the veil


def five(landmarks: Float[np.ndarray, "478 d"]) -> Float[np.ndarray, "5 2"]:
    """The five points that the patch is aligned by."""
    p = np.asarray(landmarks, np.float64)[:, :2]
    left, right = p[list(LEFT_EYE)].mean(0), p[list(RIGHT_EYE)].mean(0)
    return np.stack([left, right, p[NOSE], p[MOUTH[0]], p[MOUTH[1]]])


def similarity(src: Float[np.ndarray, "n d"], dst: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "d e"]:
    """Least-squares rotation, scale and shift (d x d+1) that take `src` to `dst`, without mirroring
    (Umeyama 1991, equations 40 to 42)."""
    src_mean, dst_mean = src.mean(0), dst.mean(0)
    s, d = src - src_mean, dst - dst_mean
    if src.shape[1] == 2:  # the same in complex numbers, without a decomposition
        a, b = s[:, 0] + 1j * s[:, 1], d[:, 0] + 1j * d[:, 1]
        turn = np.vdot(a, b) / np.vdot(a, a).real
        square = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
        return np.asarray(np.column_stack([square, dst_mean - square @ src_mean]))
    u, values, vt = np.linalg.svd(d.T @ s / len(src))
    sign = np.ones(src.shape[1])
    sign[-1] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    rotation = (u * sign) @ vt
    scale = (values * sign).sum() / s.var(0).sum()
    shift = dst_mean - scale * rotation @ src_mean
    return np.asarray(np.concatenate([scale * rotation, shift[:, None]], 1))


def to_patch(landmarks: Float[np.ndarray, "478 d"], side: int) -> Float[np.ndarray, "2 3"]:
    """The affine from the landmarks' picture to a patch of `side` pixels."""
    return similarity(five(landmarks), TEMPLATE * side)


def move(landmarks: Float[np.ndarray, "n d"], affine: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "n d"]:
    """Landmarks under a similarity; z, where there is one, takes the scale."""
    moved = np.array(landmarks, np.float64)
    moved[:, :2] = moved[:, :2] @ affine[:, :2].T + affine[:, 2]
    moved[:, 2:] *= np.hypot(affine[0, 0], affine[1, 0])
    return moved


def outline(landmarks: Float[np.ndarray, "478 d"]) -> Float[np.ndarray, "36 2"]:
    """Polygon around the whole face, from the hairline to under the chin: the mesh's oval grown by a
    tenth, and more above the eyes, where the mesh ends below the hairline."""
    p = np.asarray(landmarks, np.float64)[:, :2]
    points, centre = p[list(OVAL)], p[list(OVAL)].mean(0)
    eyes, mouth = p[[*LEFT_EYE, *RIGHT_EYE]].mean(0), p[list(MOUTH)].mean(0)
    up = (eyes - mouth) / max(float(np.linalg.norm(eyes - mouth)), 1e-6)
    offset = points - centre
    rise = np.maximum(offset @ up, 0)[:, None]
    return np.asarray(centre + 1.1 * offset + 0.15 * rise * up)


def fill(polygon: Float[np.ndarray, "n 2"], side: int) -> Float[np.ndarray, "s s"]:
    """1 where a pixel's centre lies inside the polygon (even-odd rule), else 0."""
    centre = np.arange(side) + 0.5
    x0, y0 = polygon.T[:, :, None]
    x1, y1 = np.roll(polygon, -1, 0).T[:, :, None]
    spans = (y0 <= centre) != (y1 <= centre)  # edge e crosses row r
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = x0 + (centre - y0) * (x1 - x0) / (y1 - y0)
    # as many pixels of a row have their centre left of a crossing; how often each was passed is a sum from
    # the right
    left = np.clip(np.ceil(crossing[spans] - 0.5), 0, side).astype(np.int64)
    row = np.broadcast_to(np.arange(side), spans.shape)[spans]
    passed = np.bincount(row * (side + 1) + left, minlength=side * (side + 1)).reshape(side, side + 1)
    odd = passed[:, :0:-1].astype(np.uint8).cumsum(1, dtype=np.uint8)[:, ::-1] & 1  # what wraps stays odd
    return odd.astype(np.float32)


def mask(landmarks: Float[np.ndarray, "478 d"], side: int) -> Float[np.ndarray, "s s"]:
    """1 over what is generated anew, 0 over what is context. Landmarks in pixels of the patch."""
    return fill(outline(landmarks), side)


def veiled(rgb: UInt8[np.ndarray, "s s 3"], hidden: Float[np.ndarray, "s s"]) -> Float[np.ndarray, "4 s s"]:
    """What the generator may see of the source, as it takes it: three channels in [-1, 1] and the mask. `rgb`
    shows the surroundings, and under the mask nothing but COLOURS x COLOURS average colours (skin tone and
    the side that the light comes from)."""
    return np.concatenate([rgb.transpose(2, 0, 1) / np.float32(127.5) - 1, hidden[None]], dtype=np.float32)


def stance(
    landmarks: Float[np.ndarray, "478 3"], mesh: Float[np.ndarray, "478 3"], side: int
) -> Float[np.ndarray, " 9"]:
    """How an average face (`mesh`, unit size, centred) would have to stand to lie over these landmarks (in
    pixels of a patch of `side`): the first two columns of the rotation (Zhou et al. 2019, section 4), log
    scale against a frontal face, shift."""
    points = list(RIGID)
    pose = similarity(mesh[points], np.asarray(landmarks, np.float64)[points] / side)
    scale = max(float(np.cbrt(np.linalg.det(pose[:, :3]))), 1e-6)
    rotation = pose[:, :3] / scale
    shift = (pose[:2, 3] - 0.5) * 4
    return np.concatenate([rotation[:, 0], rotation[:, 1], [2 * np.log(scale)], shift]).astype(np.float32)


def geometry(
    landmarks: Float[np.ndarray, "478 3"],
    mesh: Float[np.ndarray, "478 3"],
    blendshapes: Float[np.ndarray, " 52"],
    side: int,
) -> Float[np.ndarray, " 61"]:
    """Pose and expression without face shape: blendshapes, and the `stance`."""
    return np.concatenate([blendshapes, stance(landmarks, mesh, side)]).astype(np.float32)


def mean_mesh(meshes: Float[np.ndarray, "n 478 3"], side: int, rounds: int = 3) -> Float[np.ndarray, "478 3"]:
    """Generalised Procrustes mean (Gower 1975) of patches' landmarks: the average neutral face, upright,
    at the size it has in a frontal patch, centred."""
    shapes = np.asarray(meshes, np.float64) / side
    mean = shapes.mean(0)
    for _ in range(rounds):
        mean = np.mean([move3(shape, similarity(shape, mean)) for shape in shapes], 0)
    return np.asarray(mean - mean.mean(0), np.float32)


def move3(points: Float[np.ndarray, "n 3"], affine: Float[np.ndarray, "3 4"]) -> Float[np.ndarray, "n 3"]:
    return np.asarray(points @ affine[:, :3].T + affine[:, 3])

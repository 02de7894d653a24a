"""What the networks see in one frame: every known face, in the original and in the output, aligned
from the original; and how far two such looks are apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from veilcast.arrays import Float, Float16, Shaped
from veilcast.evaluation import quality, temporal, utility
from veilcast.evaluation.coverage import Luma, clipped
from veilcast.evaluation.networks import CONTEXT, TIGHT, Crops, Judges, aligned
from veilcast.evaluation.pairs import FramePair
from veilcast.evaluation.reidentification import pair_scores
from veilcast.pipeline import align
from veilcast.types import Box, Points, Rgb

STEP_SIDE = 128  # px of the crop in which neighbouring frames are compared
CONTROL_QUALITY = 60  # JPEG: about the loss of a re-encode at x264's default

Values = dict[str, float]


@dataclass(frozen=True, slots=True)
class Known:
    """A detected face whose landmarks are known. `place`: among the frame's detections."""

    place: int
    track: int
    box: Box
    landmarks: Points
    correlation: float


@dataclass(frozen=True, slots=True)
class Look:
    """One face as the networks describe it; None where a network is missing. `placed`: the mesh in
    pixels of the picture."""

    mesh: Float[np.ndarray, "478 3"] | None  # in the 256 px context crop
    placed: Float[np.ndarray, "478 2"] | None
    blendshapes: Float[np.ndarray, " 52"] | None
    expression: int | None
    age_years: float | None
    male: float | None


def looks(judges: Judges, pair: FramePair, known: Sequence[Known]) -> list[tuple[Look, Look]]:
    """Each known face in the original and in the output."""
    n = len(known)
    mesh = _both(judges.mesh, pair, known, CONTEXT, 256)
    expression = _both(judges.expression, pair, known, TIGHT, 112)
    people = _both(judges.people, pair, known, CONTEXT, 224)
    shapes = None
    if mesh is not None and judges.blendshapes is not None:
        shapes = judges.blendshapes(mesh.reshape(2 * n, 478, 3)).reshape(2, n, -1)

    def look(side: int, i: int) -> Look:
        points = None if mesh is None else mesh[side, i]
        return Look(
            mesh=points,
            placed=None if points is None else _placed(points, known[i].landmarks),
            blendshapes=None if shapes is None else shapes[side, i],
            expression=None if expression is None else int(expression[side, i].argmax()),
            age_years=None if people is None else float(people[side, i, 0]),
            male=None if people is None else float(people[side, i, 1]),
        )

    return [(look(0, i), look(1, i)) for i in range(n)]


def differences(a: Look, b: Look) -> Values:
    """How far two faces are apart in everything but identity."""
    out: Values = {}
    if a.mesh is not None and b.mesh is not None:
        out["pose_error_degrees"] = utility.pose_error_degrees(a.mesh, b.mesh)
        out["gaze_error_eye_widths"] = utility.gaze_error(a.mesh, b.mesh)
        out["landmark_error_eye_distances"] = utility.landmark_error(a.mesh, b.mesh)
    if a.blendshapes is not None and b.blendshapes is not None:
        out["blendshape_distance"] = utility.blendshape_distance(a.blendshapes, b.blendshapes)
    if a.expression is not None and b.expression is not None:
        out["expression_agreement_share"] = float(a.expression == b.expression)
    if a.age_years is not None and b.age_years is not None:
        out["age_error_years"] = abs(a.age_years - b.age_years)
    if a.male is not None and b.male is not None:
        out["gender_agreement_share"] = float((a.male > 0.5) == (b.male > 0.5))
    return out


def jitter(history: Sequence[Look]) -> Values:
    """Jitter of the landmarks over the last three frames of one face."""
    placed = [look.placed for look in history[-3:] if look.placed is not None]
    if len(placed) < 3:
        return {}
    scale = max(float(np.linalg.norm(placed[1][33] - placed[1][263])), 1e-6)
    value = temporal.jitter(np.stack(placed), scale)
    return {} if value is None else {"jitter_eye_distances": value}


@dataclass(frozen=True, slots=True)
class Embedded:
    """By recogniser: original and output of each face, and the cosine of the control."""

    vectors: dict[str, Float16[np.ndarray, "faces 2 d"]]
    controls: dict[str, Float[np.ndarray, " faces"]]


def embedded(judges: Judges, pair: FramePair, known: Sequence[Known]) -> Embedded:
    """Embeddings of each face in the original, the output, and the original coded anew."""
    result = Embedded({}, {})
    coded = [coded_anew(pair.original, k.box) for k in known]
    for recogniser in judges.recognisers:
        crops = [recogniser.crop(p, k.landmarks) for p in (pair.original, pair.output) for k in known]
        crops += [recogniser.crop(p, k.landmarks - at) for k, (p, at) in zip(known, coded, strict=True)]
        original, output, control = np.split(recogniser(np.stack(crops)), 3)
        result.vectors[recogniser.name] = np.stack([original, output], 1).astype(np.float16)
        result.controls[recogniser.name] = pair_scores(original, control)
    return result


def coded_anew(rgb: Rgb, box: Box) -> tuple[Rgb, Points]:
    """The surroundings of a face after a lossy coder that changes nothing else, and the corner of that
    cut-out: what an untouched re-encode would show."""
    height, width = rgb.shape[:2]
    x0, y0, x1, y1 = clipped(box.scaled(2.5), width, height)
    quality_flag = [int(cv2.IMWRITE_JPEG_QUALITY), CONTROL_QUALITY]
    _, data = cv2.imencode(".jpg", rgb[y0:y1, x0:x1, ::-1], quality_flag)
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return np.ascontiguousarray(decoded[..., ::-1], np.uint8), np.array([x0, y0], np.float32)


def steps(
    judges: Judges, before: FramePair, pair: FramePair, known: Sequence[Known]
) -> list[tuple[Values, Values]]:
    """Each face against the same place one frame before: in the source, in the output."""
    sides = (before.original, pair.original, before.output, pair.output)
    crops = [np.stack([aligned(p, k.landmarks, CONTEXT, STEP_SIDE) for k in known]) for p in sides]
    out: list[tuple[Values, Values]] = []
    for a, b, c, d in zip(*crops, strict=True):
        forward = temporal.flow(a, b)
        seen = temporal.visible(forward, temporal.flow(b, a))
        errors = (temporal.warping_error(x, y, forward, seen) for x, y in ((a, b), (c, d)))
        source, output = ({} if e is None else {"warping_error": e} for e in errors)
        source["light_step"], output["light_step"] = (
            temporal.light(y) - temporal.light(x) for x, y in ((a, b), (c, d))
        )
        out.append((source, output))
    if judges.lpips is not None:
        moved = judges.lpips(np.concatenate(crops[::2]), np.concatenate(crops[1::2])).reshape(2, -1)
        for (source, output), a_step, b_step in zip(out, *moved, strict=True):
            source["lpips_step"], output["lpips_step"] = float(a_step), float(b_step)
    return out


def features(
    judges: Judges, pair: FramePair, known: Sequence[Known]
) -> Float16[np.ndarray, "faces 2 d"] | None:
    """Realness features of each face in the original and in the output."""
    both = _both(judges.features, pair, known, CONTEXT, 224)
    return None if both is None else both.transpose(1, 0, 2).astype(np.float16)


def realness(a: Luma, b: Luma, box: Box) -> Values:
    """Sharpness against the source's, and the seam of the cover."""
    out: Values = {}
    before, after = quality.sharpness(a, box), quality.sharpness(b, box)
    if before and after is not None:
        out["sharpness_ratio"] = after / before
    seam = quality.seam_energy(a, b, box)
    return out if seam is None else {**out, "seam_ratio": seam}


def _both(
    network: Callable[[Crops], Shaped[np.ndarray, "n ..."]] | None,
    pair: FramePair,
    known: Sequence[Known],
    template: Points,
    side: int,
) -> Shaped[np.ndarray, "2 faces ..."] | None:
    """The network on the same crops of original and output."""
    if network is None:
        return None
    crops = [aligned(p, k.landmarks, template, side) for p in (pair.original, pair.output) for k in known]
    rows = network(np.stack(crops))
    return rows.reshape(2, len(known), *rows.shape[1:])


def _placed(mesh: Float[np.ndarray, "478 3"], landmarks: Points) -> Float[np.ndarray, "478 2"]:
    """A mesh of the 256 px context crop in pixels of the picture."""
    back = align.inverse(align.similarity(landmarks, CONTEXT * 256))
    return align.apply(back, mesh[:, :2])

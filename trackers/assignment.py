"""Who is who: matching by motion and size. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import dist

import numpy as np

from veilcast.arrays import Float64
from veilcast.trackers.solver import solver
from veilcast.types import Box

GATE_HEADS = 0.6  # distance that a match may have where the prediction is certain
MAX_GATE_HEADS = 2.0  # and at most, however uncertain it is
SPREADS = 2.0  # standard deviations of the prediction that are added to it
MAX_SIZE_RATIO = 2.0
SIZE_WEIGHT = 0.7  # heads of distance that one unit of log size is worth
DUPLICATE_IOU = 0.5
DOUBT_HEADS = 0.8  # of distance between two detections running, from which they may be two people
CONTAINED = 0.8

FORBIDDEN = np.inf
_solve = solver()


def distances(predictions: Sequence[tuple[Box, float]], boxes: Sequence[Box]) -> Float64[np.ndarray, "n m"]:
    """Distance in heads between each prediction (box, standard deviation of its centre in pixels) and
    each box, sizes included; `FORBIDDEN` outside the gate."""
    if not predictions or not boxes:
        return np.zeros((len(predictions), len(boxes)))
    ours = np.array([[*box.centre, head_px(box), spread] for box, spread in predictions])[:, None]
    theirs = np.array([[*box.centre, head_px(box)] for box in boxes])[None]
    head = np.maximum(ours[..., 2], theirs[..., 2])
    apart = np.hypot(ours[..., 0] - theirs[..., 0], ours[..., 1] - theirs[..., 1]) / head
    scaled = np.abs(np.log(ours[..., 2] / theirs[..., 2]))
    gate = np.minimum(GATE_HEADS + SPREADS * ours[..., 3] / head, MAX_GATE_HEADS)
    near = (apart <= gate) & (scaled <= np.log(MAX_SIZE_RATIO))
    return np.where(near, apart + SIZE_WEIGHT * scaled, FORBIDDEN)


def assign(costs: Float64[np.ndarray, "n m"]) -> list[tuple[int, int]]:
    """The pairs (row, column) that cost least together: first as many as possible, then the cheapest."""
    allowed = np.isfinite(costs)
    if not allowed.any():
        return []
    dear = 1 + costs[allowed].sum()  # one more pair is worth more than any saving
    rows, columns = _solve(np.where(allowed, costs, dear))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if allowed[r, c]]


def same_face(box: Box, other: Box) -> bool:
    """Whether one detection repeats another: much in common, or one inside the other."""
    common = box.intersection(other)
    smaller = min(box.area, other.area)
    return common > 0 and (box.iou(other) >= DUPLICATE_IOU or common >= CONTAINED * smaller)


def head_px(box: Box) -> float:
    return float(np.sqrt(max(box.width, 1.0) * max(box.height, 1.0)))


def apart_heads(box: Box, point: tuple[float, float]) -> float:
    """How many heads of the box's size a point lies from its centre."""
    return dist(box.centre, point) / head_px(box)


def hull(boxes: Sequence[Box]) -> Box:
    """The smallest box around all."""
    return Box(
        min(b.x0 for b in boxes), min(b.y0 for b in boxes), max(b.x1 for b in boxes), max(b.y1 for b in boxes)
    )

"""What a detector says before anyone decides: arrays of boxes, scores and points, and the pure
operations on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from veilcast.arrays import Float32, Int64
from veilcast.types import Box, Boxes, Face


@dataclass(frozen=True, slots=True)
class Candidates:
    boxes: Boxes
    scores: Float32[np.ndarray, " n"]
    points: Float32[np.ndarray, "n 5 2"]  # left eye, right eye, nose, left and right mouth corner

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: Int64[np.ndarray, " k"]) -> Candidates:
        return Candidates(self.boxes[index], self.scores[index], self.points[index])

    def moved(self, scale_x: float, scale_y: float, x: float = 0, y: float = 0) -> Candidates:
        """The same in another picture's pixels: scaled, then shifted."""
        scale, shift = np.array([scale_x, scale_y], np.float32), np.array([x, y], np.float32)
        boxes = self.boxes.reshape(-1, 2, 2) * scale + shift
        return Candidates(boxes.reshape(-1, 4), self.scores, self.points * scale + shift)

    def sane(self, width: float, height: float) -> Candidates:
        """Without what is not a number, has no area or lies outside the picture."""
        finite = np.isfinite(self.boxes).all(axis=1) & np.isfinite(self.scores)
        finite &= np.isfinite(self.points).all(axis=(1, 2))
        x0, y0, x1, y1 = np.where(finite[:, None], self.boxes, 0).T
        inside = (x1 > x0) & (y1 > y0) & (x1 > 0) & (y1 > 0) & (x0 < width) & (y0 < height)
        return self.take(np.flatnonzero(finite & inside))

    def faces(self, detector: str) -> list[Face]:
        return [
            Face(Box(*map(float, box)), min(float(score), 1.0), points, detector)
            for box, score, points in zip(self.boxes, self.scores, self.points, strict=True)
        ]


def nothing() -> Candidates:
    return Candidates(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32))


@dataclass(frozen=True, slots=True)
class Look:
    """What one look saw, in displayed pixels: faces, the boxes of what may be one, None = nobody says, and
    all that either network could take for one ever so faintly."""

    faces: tuple[Face, ...]
    shown: Boxes | None = None
    candidates: Candidates = field(default_factory=nothing)


def joined(parts: Sequence[Candidates]) -> Candidates:
    if not parts:
        return nothing()
    return Candidates(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.points for part in parts]),
    )


def overlaps(box: Float32[np.ndarray, " 4"], boxes: Boxes) -> tuple[np.ndarray, np.ndarray]:
    """IoU of `box` with each of `boxes`, and the common area over the smaller of the two."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    area = float(np.prod(box[2:] - box[:2]))
    return common / np.maximum(area + areas - common, 1e-9), common / np.maximum(
        np.minimum(area, areas), 1e-9
    )


def best_first(candidates: Candidates) -> Candidates:
    return candidates.take(np.argsort(-candidates.scores, kind="stable"))


def suppressed(candidates: Candidates, iou: float, inside: float = 1.1) -> Candidates:
    """Greedy non-maximum suppression: of two that overlap by more than `iou`, or of which the smaller
    lies in the other by more than the share `inside`, the better scored stays."""
    ranked = best_first(candidates)
    keep: list[int] = []
    open_ = np.ones(len(ranked), bool)
    for number in range(len(ranked)):
        if not open_[number]:
            continue
        keep.append(number)
        ious, shares = overlaps(ranked.boxes[number], ranked.boxes)
        open_ &= (ious <= iou) & (shares <= inside)
    return ranked.take(np.array(keep, np.int64))

"""What a detector says before anyone decides: arrays of boxes, scores and points, and the pure
operations on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from veilcast.arrays import Float32, Int64
from veilcast.types import Box, Boxes, Face

SAME_IOU = 0.4  # two boxes that have more in common are one face
SAME_INSIDE = 0.8  # or the smaller of which lies in the larger with more of its area
LARGE_PX = 160.0  # side in the network's input from which a face must show clearly
_BLOCK = 16  # boxes at a time that are compared with all

Share = Float32[np.ndarray, "n m"]  # 0 to 1


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

    def turned(self, quarters: int, size: tuple[int, int]) -> Candidates:
        """The same in the picture of `size` (width, height) turned clockwise."""
        boxes, points = self.boxes, self.points
        for _ in range(quarters % 4):
            (width, height), (x0, y0, x1, y1) = size, boxes.T
            boxes = np.stack([height - y1, x0, height - y0, x1], axis=1)
            points = np.stack([height - points[..., 1], points[..., 0]], axis=-1)
            size = height, width
        return Candidates(boxes, self.scores, points)

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
    """What one look saw, in displayed pixels: faces, the boxes of what may be one, None = nobody says, all
    that either network could take for one ever so faintly, and by how many quarters the picture was turned
    where faces that lie were seen."""

    faces: tuple[Face, ...]
    shown: Boxes | None = None
    candidates: Candidates = field(default_factory=nothing)
    turns: frozenset[int] = frozenset()


def joined(parts: Sequence[Candidates]) -> Candidates:
    if not parts:
        return nothing()
    return Candidates(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.points for part in parts]),
    )


def overlaps(boxes: Boxes, others: Boxes) -> tuple[Share, Share]:
    """IoU of each of `boxes` with each of `others`, and their common area over the smaller of the two."""
    x0, y0, x1, y1 = boxes.T[:, :, None]
    u0, v0, u1, v1 = others.T
    wide, high = np.minimum(x1, u1) - np.maximum(x0, u0), np.minimum(y1, v1) - np.maximum(y0, v0)
    common = np.maximum(wide, 0) * np.maximum(high, 0)
    ours, theirs = (x1 - x0) * (y1 - y0), (u1 - u0) * (v1 - v0)
    union, smaller = ours + theirs - common, np.minimum(ours, theirs)
    return common / np.maximum(union, 1e-9), common / np.maximum(smaller, 1e-9)


def surer(candidates: Candidates, others: Candidates) -> Candidates:
    """Those that have none of `others` in the same place with as high a score."""
    ious, shares = overlaps(candidates.boxes, others.boxes)
    same = (ious > SAME_IOU) | (shares > SAME_INSIDE)
    beaten = (same & (others.scores >= candidates.scores[:, None])).any(axis=1)
    return candidates.take(np.flatnonzero(~beaten))


def best_first(candidates: Candidates) -> Candidates:
    return candidates.take(np.argsort(-candidates.scores, kind="stable"))


def suppressed(candidates: Candidates, iou: float, inside: float = 1.1) -> Candidates:
    """Greedy non-maximum suppression: of two that overlap by more than `iou`, or of which the smaller
    lies in the other by more than the share `inside`, the better scored stays."""
    ranked = best_first(candidates)
    keep: list[int] = []
    open_ = np.ones(len(ranked), bool)
    while len(block := np.flatnonzero(open_)[:_BLOCK]):
        ious, shares = overlaps(ranked.boxes[block], ranked.boxes)
        for number, beside in zip(block, (ious <= iou) & (shares <= inside), strict=True):
            if open_[number]:
                keep.append(number)
                open_ &= beside
                open_[number] = False  # where its numbers make no sense, too
    return ranked.take(np.array(keep, np.int64))


def tempered(seen: Candidates, weak: float) -> Candidates:
    """With less trust in what fills much of a network's input, and without what falls below `weak`: a
    real face of that size shows so much that its score is .8 or more, a blur that looks like one is not
    above .5."""
    size_px = np.sqrt(np.prod(seen.boxes[:, 2:] - seen.boxes[:, :2], axis=1))
    trust = np.minimum(1, np.sqrt(LARGE_PX / np.maximum(size_px, 1))).astype(np.float32)
    scores = seen.scores * trust
    return replace(seen, scores=scores).take(np.flatnonzero(scores >= weak))


def united(parts: Sequence[Candidates]) -> Candidates:
    """The union of what several networks say. Each face keeps the best scored box; its score is the
    probability that not all who saw it are wrong, 1 - prod (1 - score), so that two weak opinions that
    agree outweigh one."""
    each = [suppressed(part, SAME_IOU, SAME_INSIDE) for part in parts]
    union = suppressed(joined(each), SAME_IOU, SAME_INSIDE)
    doubt = np.ones(len(union), np.float32)
    for part in each:
        agreeing = np.where(overlaps(union.boxes, part.boxes)[0] > SAME_IOU, part.scores, np.float32(0))
        doubt *= 1 - agreeing.max(axis=1, initial=0)
    return Candidates(union.boxes, 1 - doubt, union.points)

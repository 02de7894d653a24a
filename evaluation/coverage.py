"""Was every face covered? Measured on pixels against detections of the ORIGINAL, never on what the
pipeline says that it did.

A *face-frame* is one face in one frame. It counts when a detector finds it there and again in a
neighbouring frame with IoU of at least `SAME_FACE_IOU`; a still picture has no neighbour and counts
at once. It is *exposed* when output and original still show the same inner face: normalised
cross-correlation of their lightly blurred luma above `EXPOSED_ABOVE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from veilcast.arrays import Bool, Float32
from veilcast.types import Box, Rgb

EXPOSED_ABOVE = 0.9
SAME_FACE_IOU = 0.3
BLUR_SHARE = 0.02  # sigma of the light blur over the face's width: above coding noise, below features
INNER = 0.7  # the inner face: an ellipse of this share of the detected box
CELL_PX = 8  # changed areas are found on a grid of such cells
CHANGED_LEVELS = 14.0  # mean absolute luma difference of a cell, of 255, that coding does not reach
NEAR_FACE = 2.0  # a change outside each box scaled by this is false cover

Luma = Float32[np.ndarray, "h w"]


@dataclass(frozen=True, slots=True)
class Sighting:
    """One detection of the original in one frame, with how much of it the output still shows."""

    frame: int
    box: Box
    correlation: float  # -1 to 1


@dataclass(frozen=True, slots=True)
class Coverage:
    """Counts over one or more clips. `longest_run` is in frames."""

    faces: int
    exposed: int
    longest_run: int
    identities: int
    identities_exposed: int

    @property
    def covered_share(self) -> float | None:
        return 1 - self.exposed / self.faces if self.faces else None


def luma(rgb: Rgb) -> Luma:
    """ITU-R BT.601 luma, 0 to 255."""
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)  # type: ignore[no-any-return]


def inner_ellipse(height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """True inside the ellipse that touches the four sides of a height x width patch."""
    y = (np.arange(height) + 0.5) / height * 2 - 1
    x = (np.arange(width) + 0.5) / width * 2 - 1
    return y[:, None] ** 2 + x[None, :] ** 2 <= 1


def ncc(a: Float32[np.ndarray, " n"], b: Float32[np.ndarray, " n"]) -> float:
    """Normalised cross-correlation (Lewis 1995, eq. 2 at zero shift): sum(a' b') / sqrt(sum a'^2 sum b'^2)
    with the means taken off. A constant output shows nothing: 0. A constant ORIGINAL cannot be
    judged by correlation: 1 where the output equals it to two levels, so that doubt counts as exposed."""
    a, b = a.astype(np.float64) - a.mean(), b.astype(np.float64) - b.mean()
    norm_a, norm_b = np.sqrt((a * a).sum()), np.sqrt((b * b).sum())
    flat = 0.5 * np.sqrt(len(a))  # half a level of standard deviation
    if norm_a < flat:
        return 1.0 if norm_b < flat else 0.0
    return float((a * b).sum() / (norm_a * norm_b)) if norm_b >= flat else 0.0


def clipped(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """Whole pixels x0, y0, x1, y1 of the part of the box inside the picture (may be empty)."""
    x0, y0 = max(0, round(box.x0)), max(0, round(box.y0))
    return x0, y0, max(x0, min(width, round(box.x1))), max(y0, min(height, round(box.y1)))


def shown(original: Luma, output: Luma, box: Box) -> float:
    """Correlation of output and original over the inner face of `box`: 1 = untouched."""
    height, width = original.shape
    x0, y0, x1, y1 = clipped(box.scaled(INNER), width, height)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return 0.0
    sigma = max(0.7, BLUR_SHARE * box.width)
    inside = inner_ellipse(y1 - y0, x1 - x0)
    a, b = (cv2.GaussianBlur(p[y0:y1, x0:x1], (0, 0), sigma)[inside] for p in (original, output))
    if abs(float(a.mean() - b.mean())) > 2 and a.std() < 0.5:
        return 0.0
    return ncc(a, b)


def linked_to(before: Sequence[tuple[Box, int]], boxes: Sequence[Box], fresh: int) -> list[int]:
    """A track number for each box: that of the box of the frame before which it overlaps most, greedily
    from the best pair on, else a new one counted from `fresh`."""
    pairs = sorted(
        ((box.iou(old), i, j) for i, box in enumerate(boxes) for j, (old, _) in enumerate(before)),
        reverse=True,
    )
    named: dict[int, int] = {}
    taken: set[int] = set()
    for iou, i, j in sorted(pairs, reverse=True):
        if iou >= SAME_FACE_IOU and i not in named and j not in taken:
            named[i] = before[j][1]
            taken.add(j)
    for i in range(len(boxes)):
        if i not in named:
            named[i], fresh = fresh, fresh + 1
    return [named[i] for i in range(len(boxes))]


def linked(sightings: Sequence[Sequence[Sighting]]) -> list[list[int]]:
    """A track number for each sighting of each frame."""
    tracks: list[list[int]] = []
    before: list[tuple[Box, int]] = []
    fresh = 0
    for frame in sightings:
        boxes = [s.box for s in frame]
        names = linked_to(before, boxes, fresh)
        fresh = max([fresh - 1, *names]) + 1
        tracks.append(names)
        before = list(zip(boxes, names, strict=True))
    return tracks


def counted(sightings: Sequence[Sequence[Sighting]], still: bool = False) -> list[list[bool]]:
    """Which sightings are face-frames: those seen again in a neighbouring frame, all in a still."""

    def again(s: Sighting, frames: Sequence[Sequence[Sighting]]) -> bool:
        return any(s.box.iou(o.box) >= SAME_FACE_IOU for frame in frames for o in frame)

    return [
        [still or again(s, [*sightings[max(0, t - 1) : t], *sightings[t + 1 : t + 2]]) for s in frame]
        for t, frame in enumerate(sightings)
    ]


def longest_run(frames: Sequence[int]) -> int:
    """Length of the longest run of consecutive numbers in ascending `frames`."""
    best = run = 0
    before: int | None = None
    for frame in frames:
        run = run + 1 if before is not None and frame == before + 1 else 1
        best, before = max(best, run), frame
    return best


def coverage(sightings: Sequence[Sequence[Sighting]], still: bool = False) -> Coverage:
    """Coverage of one clip; `sightings` holds one list per frame of the original, in order."""
    tracks, counts = linked(sightings), counted(sightings, still)
    faces, exposed = 0, dict[int, list[int]]()
    people: set[int] = set()
    for frame, names, valid in zip(sightings, tracks, counts, strict=True):
        for sighting, name, ok in zip(frame, names, valid, strict=True):
            if not ok:
                continue
            faces += 1
            people.add(name)
            if sighting.correlation > EXPOSED_ABOVE:
                exposed.setdefault(name, []).append(sighting.frame)
    return Coverage(
        faces=faces,
        exposed=sum(map(len, exposed.values())),
        longest_run=max(map(longest_run, exposed.values()), default=0),
        identities=len(people),
        identities_exposed=len(exposed),
    )


def together(parts: Sequence[Coverage]) -> Coverage:
    """Coverage over several clips: counts add up, the longest run is the longest of all."""
    return Coverage(
        faces=sum(p.faces for p in parts),
        exposed=sum(p.exposed for p in parts),
        longest_run=max((p.longest_run for p in parts), default=0),
        identities=sum(p.identities for p in parts),
        identities_exposed=sum(p.identities_exposed for p in parts),
    )


def changed(original: Luma, output: Luma) -> Bool[np.ndarray, "h8 w8"]:
    """Cells of `CELL_PX` pixels whose mean absolute luma difference is more than coding explains."""
    height, width = original.shape
    cells = (max(1, width // CELL_PX), max(1, height // CELL_PX))
    return cv2.resize(np.abs(original - output), cells, interpolation=cv2.INTER_AREA) > CHANGED_LEVELS  # type: ignore[no-any-return]


def false_cover(changes: Bool[np.ndarray, "h8 w8"], faces: Sequence[Box], width: int, height: int) -> float:
    """Share of the picture that was changed although no face is near it."""
    rows, columns = changes.shape
    y = (np.arange(rows)[:, None] + 0.5) * height / rows
    x = (np.arange(columns)[None, :] + 0.5) * width / columns
    far = np.ones_like(changes)
    for face in faces:
        near = face.scaled(NEAR_FACE)
        far &= ~((x >= near.x0) & (x < near.x1) & (y >= near.y0) & (y < near.y1))
    return float((changes & far).mean())

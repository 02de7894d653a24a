"""The leak oracle: people who carry a spatial code in their faces, and a search for it in the output.

A canary clip is painted frame by frame: textured backgrounds, and for each person an ellipse whose
luma is a high-frequency pattern of that person alone. Whoever sees the pattern in a frame has seen
the face, and no face model has to judge. A scripted detector knows where the people are, and misses
them where the test plants it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, lru_cache

import cv2
import numpy as np

from veilcast.arrays import Bool, Float32
from veilcast.pipeline.detectors.candidates import Look
from veilcast.trackers.base import Observation
from veilcast.types import Box, Colour, Face, Frame, Orientation, PixelFormat, Plane

CODE_CELLS = 12  # across a face: finer than any cover leaves, coarser than what codecs take away
LEAK = 0.6  # correlation from which a code counts as seen; leaks are above .8, covers below .5
INNER = 0.8  # of the face: where the oracle looks

UPRIGHT = Orientation()
YUV420P = PixelFormat("yuv420p", "yuv", 8, 1, 1)


@dataclass(frozen=True)
class Person:
    """Who and where: `path` gives the box at a time in seconds, None where the person is not there."""

    seed: int
    path: Callable[[float], Box | None]
    from_s: float = 0.0
    until_s: float = 1e9

    def box(self, time: float) -> Box | None:
        return self.path(time) if self.from_s <= time < self.until_s else None

    @cached_property
    def code(self) -> Float32[np.ndarray, "12 12"]:
        """-1 or 1 a cell, as many of each in every 2 x 2 block: no mean of an area tells anything."""
        rng = np.random.default_rng(self.seed)
        blocks = [
            rng.permutation([1.0, 1.0, -1.0, -1.0]).reshape(2, 2) for _ in range((CODE_CELLS // 2) ** 2)
        ]
        rows = [np.hstack(blocks[n : n + CODE_CELLS // 2]) for n in range(0, len(blocks), CODE_CELLS // 2)]
        return np.vstack(rows).astype(np.float32)


@dataclass(frozen=True)
class Canary:
    """A clip. `cuts`: the frames before which a hard cut lies."""

    people: Sequence[Person]
    count: int = 100
    size: tuple[int, int] = (320, 240)
    rate: Fraction = Fraction(25)
    cuts: frozenset[int] = frozenset()
    format: PixelFormat = YUV420P
    orientation: Orientation = UPRIGHT

    def time(self, n: int) -> float:
        return float(n / self.rate)

    def scene(self, n: int) -> int:
        return sum(n >= cut for cut in self.cuts)

    def present(self, n: int) -> list[tuple[Person, Box]]:
        """Who is in frame n and where, back to front."""
        found = [(person, person.box(self.time(n))) for person in self.people]
        return [(person, box) for person, box in found if box is not None]

    def luma(self, n: int) -> Float32[np.ndarray, "h w"]:
        """The displayed picture, 0 to 1."""
        picture = _background(self.size, self.scene(n)).copy()
        for person, box in self.present(n):
            _paint(picture, person, box)
        return picture

    def frame(self, n: int) -> Frame:
        """A frame of its own memory, in the clip's pixel format and orientation."""
        peak = (1 << self.format.depth) - 1
        # limited range without the ends, so that black is a solid cover and nothing else
        luma = _unturned((self.luma(n) * 0.8 + 0.1) * peak, self.orientation)
        first = np.ascontiguousarray(luma.round().astype(self.format.dtype))
        height, width = first.shape
        chroma = (-(-height >> self.format.log2_chroma_h), -(-width >> self.format.log2_chroma_w))
        planes: list[Plane] = [first]
        if self.format.family == "rgb":
            planes += [first.copy(), first.copy()]
        elif self.format.family == "yuv":
            rng = np.random.default_rng(n)
            planes += [rng.integers(peak // 4, peak // 2, chroma).astype(self.format.dtype) for _ in range(2)]
        period = 1 / self.rate
        return Frame(n, n, period, tuple(planes), self.format, Colour(full_range=False), self.orientation)

    def frames(self) -> Iterator[Frame]:
        return (self.frame(n) for n in range(self.count))


@dataclass(frozen=True)
class ScriptedDetector:
    """Sees everyone in a canary clip, except where it was told to fail.

    misses: (seed of the person, frame); every: looks at each k-th frame only; weak: frames in which
    a person scores low; jitter: standard deviation of the box, of its size.
    """

    canary: Canary
    misses: frozenset[tuple[int, int]] = frozenset()
    weak: frozenset[tuple[int, int]] = frozenset()
    every: int = 1
    jitter: float = 0.03

    def find(self, n: int) -> tuple[Face, ...] | None:
        if n % self.every:
            return None
        return tuple(
            Face(self._seen(box, person, n), 0.2 if (person.seed, n) in self.weak else 0.9)
            for person, box in self.canary.present(n)
            if (person.seed, n) not in self.misses and _inside(box, self.canary.size) > 0.5
        )

    def find_all(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Look | None]]:
        for frame in frames:
            faces = self.find(frame.index)
            yield frame, None if faces is None else Look(faces)

    def observations(self) -> list[Observation]:
        canary = self.canary
        return [Observation(n, n / canary.rate, self.find(n), n in canary.cuts) for n in range(canary.count)]

    def _seen(self, box: Box, person: Person, n: int) -> Box:
        rng = np.random.default_rng((person.seed, n))
        dx, dy, dw, dh = rng.normal(0, self.jitter, 4) * (box.width, box.height, box.width, box.height)
        x, y = box.centre
        w, h = (box.width + dw) / 2, (box.height + dh) / 2
        return Box(x + dx - w, y + dy - h, x + dx + w, y + dy + h)


@dataclass(frozen=True)
class Leak:
    frame: int
    person: int  # its seed
    correlation: float = field(compare=False)


def leaks(canary: Canary, shown: Iterable[tuple[int, Plane]], threshold: float = LEAK) -> list[Leak]:
    """Where a person's code is visible in `shown`, pairs of frame number and luma as stored."""
    return [
        Leak(n, person.seed, seen)
        for n, luma in shown
        for person, seen in visible(canary, n, luma)
        if seen >= threshold
    ]


def visible(canary: Canary, n: int, luma: Plane) -> list[tuple[Person, float]]:
    """The correlation of each person's code with what the picture shows at the person's place.
    People who are mostly outside the picture or behind another are left out."""
    picture = _turned(luma.astype(np.float32), canary.orientation)
    present = canary.present(n)
    result = []
    for place, (person, box) in enumerate(present):
        hidden = max((box.intersection(other) / box.area for _, other in present[place + 1 :]), default=0.0)
        if hidden < 0.3 and _inside(box, canary.size) > 0.5:
            result.append((person, correlation(picture, person, box)))
    return result


def correlation(picture: Float32[np.ndarray, "h w"], person: Person, box: Box) -> float:
    """Of the person's code with the inner face at `box`, the best of all displacements by up to a pixel."""
    part, there = _around(picture, box)
    pattern, mask = _face(person, there, part.shape, INNER)
    shifts = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    return max(_correlate(np.roll(part, shift, (0, 1))[mask], pattern[mask]) for shift in shifts)


def misses(person: int, *stretches: tuple[int, int]) -> frozenset[tuple[int, int]]:
    """Planted dropouts of one person: (first frame, length)."""
    return frozenset((person, n) for first, length in stretches for n in range(first, first + length))


def still(x: float, y: float, side: float) -> Callable[[float], Box | None]:
    """Somebody who does not move."""
    return lambda time: face_box(x, y, side)


def walk(x: float, y: float, vx: float, vy: float, side: float) -> Callable[[float], Box | None]:
    """Somebody who walks: velocity in pixels a second."""
    return lambda time: face_box(x + vx * time, y + vy * time, side)


def face_box(x: float, y: float, side: float) -> Box:
    return Box(x - side / 2, y - side * 0.6, x + side / 2, y + side * 0.6)


def _correlate(a: Float32[np.ndarray, " n"], b: Float32[np.ndarray, " n"]) -> float:
    if a.size < 16:
        return 0.0
    x, y = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / norm if norm > 1e-3 else 0.0


def _around(picture: Float32[np.ndarray, "h w"], box: Box) -> tuple[Float32[np.ndarray, "a b"], Box]:
    """A view of the picture with a margin around the box, and the box in it."""
    x0, y0 = max(0, int(box.x0) - 2), max(0, int(box.y0) - 2)
    part = picture[y0 : max(0, int(box.y1) + 3), x0 : max(0, int(box.x1) + 3)]
    return part, Box(box.x0 - x0, box.y0 - y0, box.x1 - x0, box.y1 - y0)


def _face(
    person: Person, box: Box, shape: tuple[int, ...], part: float
) -> tuple[Float32[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """The code on the picture's grid, and where the inner `part` of the face is."""
    height, width = shape
    x = (np.arange(width) + 0.5 - box.x0) / max(box.width, 1e-6)
    y = (np.arange(height) + 0.5 - box.y0) / max(box.height, 1e-6)
    columns = np.clip((x * CODE_CELLS).astype(int), 0, CODE_CELLS - 1)
    rows = np.clip((y * CODE_CELLS).astype(int), 0, CODE_CELLS - 1)
    mask = ((2 * x - 1) ** 2)[None, :] + ((2 * y - 1) ** 2)[:, None] <= part * part
    return person.code[np.ix_(rows, columns)], mask


def _paint(picture: Float32[np.ndarray, "h w"], person: Person, box: Box) -> None:
    part, there = _around(picture, box)
    pattern, mask = _face(person, there, part.shape, 1.0)
    part[mask] = 0.5 + 0.25 * pattern[mask]


@lru_cache(maxsize=4)
def _background(size: tuple[int, int], scene: int) -> Float32[np.ndarray, "h w"]:
    rng = np.random.default_rng(1000 + scene)
    coarse = rng.uniform(0.1, 0.9, (6, 8)).astype(np.float32)
    smooth: Float32[np.ndarray, "h w"] = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    picture: Float32[np.ndarray, "h w"] = np.clip(smooth, 0, 1)
    return picture


def _inside(box: Box, size: tuple[int, int]) -> float:
    return box.intersection(Box(0, 0, *size)) / box.area


def _turned(stored: Float32[np.ndarray, "h w"], orientation: Orientation) -> Float32[np.ndarray, "h w"]:
    mirrored = stored[:, ::-1] if orientation.mirrored else stored
    shown: Float32[np.ndarray, "h w"] = np.rot90(mirrored, -orientation.quarter_turns)
    return shown


def _unturned(shown: Float32[np.ndarray, "h w"], orientation: Orientation) -> Float32[np.ndarray, "h w"]:
    turned: Float32[np.ndarray, "h w"] = np.rot90(shown, orientation.quarter_turns)
    return turned[:, ::-1] if orientation.mirrored else turned

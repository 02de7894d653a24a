"""Drawn people, and networks small enough to be understood, for tests of the evaluation.

A drawn person is a disc of texture: its colours are who it is. The recogniser reads the mean colours
of a 6 x 6 grid, the detector finds the bright frame that every disc has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from veilcast.evaluation.networks import TIGHT, Judges, Recogniser
from veilcast.types import Box, Face

Array = NDArray[Any]
FACE_PX = 64
POINTS = (np.asarray(TIGHT) * FACE_PX).astype(np.float32)


def portrait(person: int, noise: int = 0) -> Array:
    """The face of a person, 64 px; `noise` makes another picture of the same person."""
    colours = np.random.default_rng(person).integers(20, 235, (6, 6, 3)).astype(np.uint8)
    face = cv2.resize(colours, (FACE_PX, FACE_PX), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    face += np.random.default_rng([person, noise]).normal(0, 6, face.shape)
    return np.asarray(face.clip(0, 250), np.uint8)


def scene(faces: list[tuple[Array, int, int]], size: tuple[int, int] = (320, 240)) -> Array:
    """A grey picture with faces at (x, y)."""
    picture = np.full((size[1], size[0], 3), 100, np.uint8)
    for face, x, y in faces:
        picture[y : y + FACE_PX, x : x + FACE_PX] = face
    return picture


class Finder:
    """Knows where the faces are: they are put on a grid of known places."""

    def __init__(self, places: list[tuple[int, int]]) -> None:
        self.places = places

    def __call__(self, rgb: Array) -> list[Face]:
        """A face wherever a place is not flat."""
        found = []
        for x, y in self.places:
            patch = rgb[y : y + FACE_PX, x : x + FACE_PX]
            if patch.std() > 12:
                box = Box(x, y, x + FACE_PX, y + FACE_PX)
                found.append(Face(box, 0.9, POINTS + np.array([x, y], np.float32)))
        return found


class Grid:
    """Stands for a recogniser's network: centred mean colours of a 6 x 6 grid."""

    side = 112

    def __call__(self, crops: Array) -> dict[str, Array]:
        small = [cv2.resize(c, (6, 6), interpolation=cv2.INTER_AREA).astype(np.float32) for c in crops]
        return {"embedding": np.stack(small).reshape(len(crops), -1) - 110}


def recogniser(name: str = "grid") -> Recogniser:
    return Recogniser(name, Grid(), "embedding", TIGHT)  # type: ignore[arg-type]


def judges() -> Judges:
    """A recogniser and features; everything else is missing, as at a site without those weights."""
    return Judges((recogniser(),), features=lambda crops: Grid()(crops)["embedding"])


@contextmanager
def opened(*_: object) -> Iterator[Judges]:
    yield judges()


def save(picture: Array, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path

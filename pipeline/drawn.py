"""A drawn face, and the check that the networks find it where it is: health is a right answer, not an
answer."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

import numpy as np

from veilcast.errors import EngineError
from veilcast.types import Box, Face, Frame, PixelFormat, Rgb

HEAD = Box(107, 103, 149, 157)  # where it is
OVERLAP = 0.4  # of what is found with it, at least
FACE_PX = 80  # side of the drawn head's square


class Finder(Protocol):
    def find(self, frame: Frame) -> Sequence[Face] | None: ...


def looked_at(finder: Finder) -> str:
    """What a finder that starts anew says of the drawn face. Raises EngineError where that is wrong."""
    found = finder.find(frame(0)) or ()
    if len(found) != 1 or found[0].box.iou(HEAD) < OVERLAP:
        seen = ", ".join(str(face.box) for face in found) or "nothing"
        raise EngineError(
            f"expected one face in {HEAD}, found {seen}: the networks do not work on this machine"
        )
    return f"score {found[0].score:.2f}, overlap {found[0].box.iou(HEAD):.2f}"


def frame(index: int) -> Frame:
    """The drawn face as frame `index` of a stream of 25 frames a second."""
    rgb = drawn()
    planes = tuple(rgb[:, :, channel] for channel in range(3))
    return Frame(index, index, Fraction(1, 25), planes, PixelFormat("rgb24", "rgb", 8))


def drawn() -> Rgb:
    """A picture (256, 256, 3) of one face, made of ellipses."""
    import cv2

    head = np.full((200, 200, 3), (150, 170, 190), np.uint8)

    def oval(x: int, y: int, rx: int, ry: int, colour: tuple[int, int, int]) -> None:
        cv2.ellipse(head, (x, y), (rx, ry), 0, 0, 360, colour, -1, cv2.LINE_AA)

    def arc(x: int, y: int, rx: int, ry: int, ends: tuple[int, int], colour: tuple[int, int, int]) -> None:
        cv2.ellipse(head, (x, y), (rx, ry), 0, *ends, colour, 3, cv2.LINE_AA)

    hair, skin, cheek = (60, 40, 30), (222, 180, 150), (226, 170, 145)
    oval(100, 85, 62, 75, hair)
    oval(100, 105, 52, 68, skin)
    oval(100, 50, 50, 26, hair)
    for x in (78, 122):
        oval(x, 125, 14, 10, cheek)
        oval(x, 95, 12, 6, (245, 245, 245))
        oval(x, 95, 6, 6, (70, 50, 40))
        arc(x, 80, 15, 5, (190, 350), hair)
        arc(x, 93, 13, 7, (180, 360), (120, 80, 60))
    arc(100, 118, 10, 6, (20, 160), (190, 140, 115))
    cv2.line(head, (96, 95), (92, 116), (200, 155, 130), 2, cv2.LINE_AA)
    oval(100, 142, 20, 7, (175, 85, 85))
    oval(100, 141, 20, 2, (110, 40, 40))
    picture = np.full((256, 256, 3), (120, 125, 130), np.uint8)
    corner = slice((256 - FACE_PX) // 2, (256 + FACE_PX) // 2)
    soft = cv2.GaussianBlur(head, (0, 0), 1.2)
    picture[corner, corner] = cv2.resize(soft, (FACE_PX, FACE_PX), interpolation=cv2.INTER_AREA)
    return picture

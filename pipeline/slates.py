"""The picture that is shown instead of a camera's, with the reason in words. It is made of a reason and a
size alone: nothing of any frame can be in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import cv2
import numpy as np

from veilcast.types import Plane

BACKGROUND, TEXT = 16, 180  # luma, limited range
FALLBACK_SIZE = (640, 360)  # of a camera that has never been seen


class Reason(StrEnum):
    STARTING = "starting"  # pictures come but none has been checked yet
    CONNECTING = "connecting"
    LOST = "lost"
    OVERLOAD = "overload"
    DAMAGED = "damaged"  # until the next clean key frame
    FAULT = "fault"
    COVERED = "covered"  # a policy asked for the whole picture
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Card:
    """One slate in the output. `pts` in ticks of the session; `size` (width, height)."""

    pts: int
    reason: Reason
    size: tuple[int, int]


@lru_cache(maxsize=32)
def luma(reason: Reason, size: tuple[int, int]) -> Plane:
    """The card as it is drawn, read-only; chroma is neutral."""
    width, height = size
    picture = np.full((height, width), BACKGROUND, np.uint8)
    text = reason.value.upper()
    scale = min(width / 320, height / 180)
    (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    place = ((width - wide) // 2, (height + high) // 2)
    thickness = max(1, round(scale * 1.5))
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, TEXT, thickness, cv2.LINE_AA)
    picture.flags.writeable = False
    return picture

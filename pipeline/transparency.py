"""What an alpha channel shows. A picture is seen over something, so that its shades can be in the alpha as
well as in the colours: black with alpha = 255 - luma is the picture itself, over white.

Alpha that has two values (a cut-out), apart from a soft edge here and there, shows a silhouette at most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np

from veilcast.pipeline.pixels import picture, to_rgb
from veilcast.types import Frame, Picture, PixelFormat, Plane, Rgb

SHADED_PX = 100  # a face that a detector finds has more pixels

Shown = Callable[[tuple[int, int]], Rgb | Picture]  # the picture at a size (width, height)


def ways(frame: Frame) -> Sequence[Shown]:
    """All that can be seen in a frame: its colours, and where its alpha has shades, what it is over black and
    over white."""
    plain = partial(picture, frame)
    if not frame.format.alpha or not is_shaded(frame.planes[-1]):
        return (plain,)
    return (plain, partial(_over, 0, frame), partial(_over, 255, frame))


def is_shaded(alpha: Plane) -> bool:
    """Whether samples of alpha have more than two values."""
    low, high = alpha.min(), alpha.max()
    return int(np.count_nonzero((alpha > low) & (alpha < high))) > SHADED_PX


def veil(frame: Frame) -> Frame:
    """The alpha channel of a frame that has one, as a grey picture."""
    layout = PixelFormat("gray", "grey", frame.format.depth)
    return Frame(
        frame.index, frame.pts, frame.time_base, frame.planes[-1:], layout, orientation=frame.orientation
    )


def _over(level: int, frame: Frame, size: tuple[int, int]) -> Rgb:
    weight = to_rgb(veil(frame), size)
    shown: Rgb = cv2.multiply(to_rgb(frame, size), weight, scale=1 / 255)
    return cv2.add(shown, 255 - weight) if level else shown

"""A persona's face from rendering to rendering. Two of one person differ by more than what the face does
meanwhile, in skin, light and brows; so what the one before looked like goes little by little. Mouth and eyes
are the new one's at once: they are what it was rendered for. So is the rim, where it meets the picture."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from veilcast.arrays import Float32
from veilcast.pipeline import warp
from veilcast.pipeline.likeness import Mask, reduced, well_inside
from veilcast.types import Rgb

FRAMES = 6  # until nothing is left of the one before
_CELLS = 64  # a side: where it may be seen is measured there
_EYES_AND_MOUTH = (
    (33, 133, 159, 145, 160, 144, 158, 153),
    (263, 362, 386, 374, 387, 373, 385, 380),
    (61, 291, 0, 17, 37, 267, 84, 314, 40, 270, 91, 321),
)
_AROUND = 5  # cells: how much wider those are taken


@dataclass(frozen=True, slots=True)
class Appearance:
    """A face as it was rendered, and what is still seen of the one before."""

    pose: warp.Pose
    rgb: Rgb = field(repr=False)
    former: Float32[np.ndarray, "s s 3"] | None = field(default=None, repr=False)  # minus this one, levels

    def shown(self, index: int) -> Rgb:
        """As it looks in a frame, in the pose that it was rendered for."""
        left = 1 - (index - self.pose.index + 1) / (FRAMES + 1)
        if self.former is None or not 0 < left < 1:
            return self.rgb
        # cv2 rounds to the nearest and keeps what the type cannot hold at its ends
        mixed: Rgb = cv2.add(self.rgb, left * self.former, dtype=cv2.CV_8U)
        return mixed

    def carried(self, now: warp.Pose) -> Rgb:
        """As another frame's pose moves it."""
        return warp.carry(self.shown(now.index), self.pose, now)


def renewed(before: Appearance | None, pose: warp.Pose, rgb: Rgb, core: Mask) -> Appearance:
    """A new rendering (side, side, 3) after the one before, where that can be bent to its pose. `core`: 1
    over what is replaced."""
    if before is None or before.pose is pose or not warp.may_bend(before.pose, pose):
        return Appearance(pose, rgb)
    bent = warp.carry(before.shown(pose.index), before.pose, pose)
    former = cv2.subtract(bent, rgb, dtype=cv2.CV_32F)
    return Appearance(pose, rgb, cv2.multiply(former, cv2.merge([_seen(pose, core)] * 3)))


def _seen(pose: warp.Pose, core: Mask) -> Mask:
    """How much of the one before may be seen."""
    small = reduced(core, _CELLS)
    moving = np.zeros_like(small)
    for part in _EYES_AND_MOUTH:
        corners = pose.mesh[list(part), :2] * (len(small) / pose.side)
        hull = cv2.convexHull(np.rint((corners - 0.5) * 16).astype(np.int32))
        cv2.fillConvexPoly(moving, hull, 1.0, shift=4)
    moving = cv2.GaussianBlur(cv2.dilate(moving, np.ones((_AROUND, _AROUND), np.uint8)), (0, 0), 1.0)
    seen: Mask = cv2.resize(well_inside(small) * (1 - moving), core.shape, interpolation=cv2.INTER_LINEAR)
    return seen

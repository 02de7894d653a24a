"""What a tracker is, and what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from veilcast.arrays import UInt8
from veilcast.types import Boxes, Face


@dataclass(frozen=True, slots=True)
class Observation:
    """One frame as a tracker sees it. `faces`: None = the detector did not look at this frame;
    `cut`: a hard cut lies between the previous frame and this one; `faint`: the boxes of all that the
    detector could take for a face, None = nobody says, and then nothing is believed to be gone; `cells`: the
    picture in a few hundred cells of luma, None = all are alike."""

    index: int
    time: Fraction  # seconds, exact
    faces: tuple[Face, ...] | None
    cut: bool = False
    faint: Boxes | None = None
    cells: UInt8[np.ndarray, "h w"] | None = field(default=None, repr=False)

"""What a tracker is, and what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from veilcast.types import Boxes, Face, Track


@dataclass(frozen=True, slots=True)
class Observation:
    """One frame as a tracker sees it. `faces`: None = the detector did not look at this frame;
    `cut`: a hard cut lies between the previous frame and this one; `faint`: the boxes of all that the
    detector could take for a face, None = nobody says, and then nothing is believed to be gone."""

    index: int
    time: Fraction  # seconds, exact
    faces: tuple[Face, ...] | None
    cut: bool = False
    faint: Boxes | None = None


class Tracker(Protocol):
    """Follows faces strictly in order. Times and not frame counts decide, so that 10 and 60 frames
    a second behave alike."""

    def update(self, index: int, time: Fraction, faces: Sequence[Face] | None) -> tuple[Track, ...]:
        """The tracks in this frame. `faces` None = not looked at: prediction only, no miss counted."""
        ...

    def cut(self) -> None:
        """A hard cut before the next frame: end all tracks."""
        ...

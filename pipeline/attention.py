"""Which faces of a track get a persona: those whose mesh can be relied on. It must not change from frame to
frame, since a face that comes and goes draws every eye, and a head that shows none for a while, from behind
or out of focus, is looked at only now and then.

A face that gets none is veiled. Nothing here decides whether a face is hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veilcast.pipeline.checks import PRESENCE
from veilcast.pipeline.landmarks import Mesh, size_px, yaw

MIN_FACE_PX = 24.0  # brow to chin; a smaller face is veiled: nobody would see who the new one is
MAX_YAW = float(np.radians(65))  # a head turned further is veiled: the model has seen too few profiles
# of a face that is being drawn: how far beyond these limits it goes on being drawn
_STAYS_PRESENCE, _STAYS_PX, _STAYS_YAW = 0.3, 0.9 * MIN_FACE_PX, MAX_YAW + float(np.radians(4))
_AGAIN = 4  # looks in a row that see a face draw it again; fewer where fewer had missed it
_TIRED, _EVERY = 3, 4  # after so many misses only every fourth frame is looked at


@dataclass(slots=True)
class Attention:
    """What is remembered of the looks at one track."""

    drawn: bool = True  # a face is drawn from its first look on
    missed: int = 0  # looks that saw no face to be drawn, less those that drew one since
    hits: int = 0  # looks in a row that saw one

    def due(self, index: int) -> bool:
        """Whether the frame of this index is worth a look."""
        return self.missed < _TIRED or self.hits > 0 or index % _EVERY == 0

    def see(self, mesh: Mesh | None) -> bool:
        """After a look: whether the face is drawn in this frame."""
        if not _fit(mesh, self.drawn and self.hits > 0):
            self.drawn, self.missed, self.hits = False, self.missed + 1, 0
            return False
        self.hits += 1
        if self.drawn:
            self.missed = max(self.missed - 1, 0)
        elif self.hits >= min(self.missed, _AGAIN):
            self.drawn, self.missed = True, min(self.missed, _AGAIN)
        return self.drawn


def _fit(mesh: Mesh | None, drawn: bool) -> bool:
    """`drawn`: the face was drawn a moment ago."""
    if mesh is None or not mesh.presence >= (_STAYS_PRESENCE if drawn else PRESENCE):
        return False
    smallest, furthest = (_STAYS_PX, _STAYS_YAW) if drawn else (MIN_FACE_PX, MAX_YAW)
    return size_px(mesh.points) >= smallest and yaw(mesh.points) <= furthest

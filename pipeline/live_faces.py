"""Synthetic faces for a stream: personas are issued as people appear, since nobody can look ahead to all of
them. Until somebody has been met the cover is solid.

A persona lasts as long as its track: the same person under a new track gets a new face, so less can be
linked than in a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np

from veilcast.errors import VeilcastError
from veilcast.pipeline.cover import NO_FACES, Painter
from veilcast.pipeline.overload import Level
from veilcast.pipeline.studio import Studio
from veilcast.types import Frame, Track

TRIES = 6  # looks at a track before it stays solid
REMEMBERED = 200  # people that a new persona keeps away from, and tracks that looks are counted of


class LiveFaces:
    """The painters of one stream, frame after frame. `nonce` names the session."""

    def __init__(self, studio: Studio, nonce: bytes) -> None:
        self._studio, self._nonce = studio, nonce
        self._connection = 0
        self._tries: dict[int, int] = {}
        self.restart()

    def restart(self) -> None:
        """Another connection: tracks are counted anew, and so are people."""
        self._connection += 1
        self._tries.clear()
        self._studio.forget()

    def painters(self, frame: Frame, tracks: Sequence[Track], level: Level) -> Mapping[int, Painter]:
        """For `cover`; a face without a painter is covered solid. Raises EngineError where the generator is
        lost: the process is to be replaced."""
        if not tracks:
            return NO_FACES
        self._forget([track.id for track in tracks])
        with suppress(VeilcastError, ValueError, StopIteration, np.linalg.LinAlgError):
            self._meet(frame, tracks)  # who could not be met is covered solid
        return self._studio.next_painters(frame, tracks, hurry=level >= Level.STEPS)

    def _forget(self, present: Sequence[int]) -> None:
        """Whoever has gone, once there are many: a camera may run for months without another connection."""
        if len(self._studio.known) > REMEMBERED:
            self._studio.forget(present)
        if len(self._tries) > REMEMBERED:
            self._tries = {track: self._tries[track] for track in present if track in self._tries}

    def _meet(self, frame: Frame, tracks: Sequence[Track]) -> None:
        """Issues a persona to one new person a frame, so that a crowd does not stop the stream."""
        known = self._studio.known
        for track in tracks:
            seen = track.score is not None and track.landmarks is not None
            if track.id not in known and seen and self._tries.get(track.id, 0) < TRIES:
                self._tries[track.id] = self._tries.get(track.id, 0) + 1
                self._studio.meet_one(frame, track, self._nonce + self._connection.to_bytes(8, "big"))
                return

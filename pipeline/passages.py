"""Smoothing of a file in passages, so that memory does not grow with its length.

A passage ends at a hard cut, which no track crosses, and after many frames without one. In that case
neighbouring passages share some seconds, so that each frame is smoothed with what lies before and after
it, and tracks keep their ids across the seam.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

from veilcast.config import Tracking
from veilcast.trackers.base import Observation
from veilcast.trackers.smoothing import Forward, backward, unknown
from veilcast.types import Box, Track, TrackState

PASSAGE_FRAMES = 6000
UNSEEN = 0  # the id of what covers a frame that nobody looked at
SAME_IOU = 0.5


class Passages:
    """Takes observations in order, gives the tracks of each frame in order, some frames later.

    settings, strong: as `smooth`; size: (width, height) of the displayed picture; frames: how many
    are smoothed at a time where there is no cut. The forward pass is done as they come, beside the search.
    """

    def __init__(
        self, settings: Tracking, size: tuple[int, int], strong: float, frames: int = PASSAGE_FRAMES
    ) -> None:
        self._settings = settings
        self._size = size
        self._strong = strong
        self._frames = frames
        self._seen: list[Observation] = []
        self._told = 0  # of `_seen`, those whose tracks were given; they are context now
        self._last: tuple[Track, ...] = ()  # as given, of the frame `_told - 1`
        self._ids = UNSEEN
        self._forward = self._begun()

    def push(self, observation: Observation) -> list[tuple[Track, ...]]:
        """The tracks of the frames that are settled now, in order; mostly none."""
        told: list[tuple[Track, ...]] = []
        if observation.cut:
            told = self.flush()
        self._seen.append(observation)
        self._forward.see(observation)
        settled = self._before(observation)
        if settled - self._told >= self._frames:
            told += self._settle(settled)
            self._forward = self._begun()
        return told

    def flush(self) -> list[tuple[Track, ...]]:
        """The tracks of all frames that are left: at a cut and at the end."""
        told = self._settle(len(self._seen))
        self._seen, self._told, self._last = [], 0, ()
        self._forward = self._begun()
        return told

    def _begun(self) -> Forward:
        """The forward pass over what is in `_seen`."""
        return Forward(self._settings, self._size, self._strong, self._seen)

    def _reach_s(self) -> float:
        """How far the cover of a frame depends on others, with room to spare."""
        s = self._settings
        return 2 * (s.coast_s + s.lead_s + s.lag_s + s.hold_s + s.bridge_s)

    def _before(self, observation: Observation) -> int:
        """How many of `_seen` are so long before `observation` that they do not depend on it."""
        start = float(observation.time) - self._reach_s()
        return bisect_left(self._seen, start, key=lambda seen: float(seen.time))

    def _settle(self, end: int) -> list[tuple[Track, ...]]:
        """Gives the tracks up to frame `end` of `_seen` and forgets what no later frame depends on."""
        if end <= self._told:
            return []
        placed = backward(self._forward.lives(), self._seen, self._settings, self._size, self._strong)
        blind = unknown(self._seen, self._settings)
        names = self._names(placed[self._told - 1] if self._told else ())
        told = []
        for tracks, unseen in zip(placed[self._told : end], blind[self._told : end], strict=True):
            named = tuple(replace(track, id=self._named(track.id, names)) for track in tracks)
            told.append((*named, self._whole_picture()) if unseen else named)
        self._last = told[-1]
        first = self._before(self._seen[end - 1])
        self._seen, self._told = self._seen[first:], end - first
        return told

    def _names(self, again: Sequence[Track]) -> dict[int, int]:
        """Ids of this passage -> ids as given before, from the frame that both know."""
        return {
            track.id: old.id for track in again for old in self._last if track.box.iou(old.box) > SAME_IOU
        }

    def _named(self, track: int, names: dict[int, int]) -> int:
        if track not in names:
            self._ids += 1
            names[track] = self._ids
        return names[track]

    def _whole_picture(self) -> Track:
        """A face so large that its cover leaves no corner free."""
        width, height = self._size
        box = Box(-width / 2, -height / 2, width * 1.5, height * 1.5)
        return Track(UNSEEN, box, None, TrackState.SMOOTHED, 0)

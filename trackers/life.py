"""The life of one track: born by a detection, carried by its motion, ended by time or a cut."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from veilcast.config import Tracking
from veilcast.trackers import kalman
from veilcast.trackers.assignment import hull
from veilcast.types import Box, Face, Points, Track, TrackState

NEW_SPEED = 5.0  # heads a second that a face may move before its speed is known
CONFIRMED_HITS = 3  # detections from which a track is believed to be a face


@dataclass(frozen=True, slots=True)
class Hit:
    """A detection that belongs to a track. `cover` holds it and its duplicates."""

    index: int
    time: Fraction
    face: Face
    cover: Box


@dataclass(slots=True)
class Life:
    """One track. `hits` is trimmed to what its owner needs; `seen` counts them all."""

    id: int
    segment: int  # number of cuts before it
    hits: list[Hit]
    state: kalman.State  # at the last hit
    seen: int = 1
    misses: int = 0  # looked-at frames since the last hit
    _foreseen: tuple[Fraction, kalman.State] | None = field(default=None, init=False, compare=False)

    @property
    def confirmed(self) -> bool:
        return self.seen >= CONFIRMED_HITS

    @property
    def last(self) -> Hit:
        return self.hits[-1]

    def predicted(self, time: Fraction) -> kalman.State:
        if self._foreseen is None or self._foreseen[0] != time:  # asked for several times in each frame
            self._foreseen = time, kalman.predict(self.state, float(time - self.last.time))
        return self._foreseen[1]

    def place(self, time: Fraction) -> tuple[Box, float]:
        """Where it should be, and how far from there it may be, in pixels. Nobody knows yet how fast a
        new face moves: those close to the camera, or passed by a camera that turns, cross many times
        their own size a second."""
        predicted = self.predicted(time)
        reach_px = kalman.spread_px(predicted)
        if self.seen == 1:
            elapsed_s = float(time - self.last.time)
            reach_px = max(reach_px, NEW_SPEED * elapsed_s * kalman.size_px(predicted))
        return kalman.box_of(predicted), reach_px

    def see(self, hit: Hit) -> None:
        self.state = kalman.update(self.predicted(hit.time), hit.face.box)
        self.hits.append(hit)
        self._foreseen = None
        self.seen += 1
        self.misses = 0

    def is_over(self, time: Fraction, settings: Tracking, size: tuple[int, int]) -> bool:
        """Whether it is given up. A track that nobody looked for is not."""
        if self.misses == 0:
            return False
        patience_s = settings.coast_s if self.confirmed else settings.lone_s
        if self._is_lost(time, settings, size):
            patience_s += settings.hold_s
        return time - self.last.time > patience_s

    def snapshot(self, index: int, time: Fraction, settings: Tracking, size: tuple[int, int]) -> Track:
        if self.last.index == index:
            box = hull([self.last.cover, kalman.box_of(self.state)])
            state = TrackState.CONFIRMED if self.confirmed else TrackState.TENTATIVE
            return Track(self.id, box, self.last.face.landmarks, state, 0, self.last.face.score)
        predicted = self.predicted(time)
        points = moved(self.last.face.landmarks, self.last.face.box, kalman.box_of(predicted))
        state = TrackState.COASTING if self.confirmed else TrackState.TENTATIVE
        if self._is_lost(time, settings, size):
            state = TrackState.LOST
        return Track(self.id, grown(predicted, settings), points, state, self.misses)

    def _is_lost(self, time: Fraction, settings: Tracking, size: tuple[int, int]) -> bool:
        return (
            self.confirmed
            and self.misses > 0
            and time - self.last.time > settings.coast_s
            and not at_border(kalman.box_of(self.predicted(time)), size)
        )


@dataclass(slots=True)
class Ids:
    """Counts tracks from 1, for one stream instance."""

    next: int = field(default=1)

    def take(self) -> int:
        self.next += 1
        return self.next - 1


def grown(state: kalman.State, settings: Tracking, share: float = 1.0) -> Box:
    """The box, larger on each side by what the centre may be off, or by a `share` of that."""
    box = kalman.box_of(state)
    margin = share * settings.growth * kalman.spread_px(state)
    x = min(margin, settings.max_growth * box.width)
    y = min(margin, settings.max_growth * box.height)
    return Box(box.x0 - x, box.y0 - y, box.x1 + x, box.y1 + y)


def moved(points: Points | None, source: Box, target: Box) -> Points | None:
    """Landmarks that were found in `source`, carried with the box to `target`."""
    if points is None or not (source.width > 0 and source.height > 0):
        return None
    scale = np.array([target.width / source.width, target.height / source.height])
    origin = np.array([source.x0, source.y0])
    carried: Points = ((points - origin) * scale + np.array([target.x0, target.y0])).astype(np.float32)
    return carried


def lies(points: Points | None) -> bool:
    """Whether a face with these five points (eyes, nose, corners of the mouth) is on its side or upside down:
    turned by more than an eighth."""
    if points is None:
        return False
    right, down = points[3:].mean(axis=0) - points[:2].mean(axis=0)
    return bool(down < abs(right))


def at_border(box: Box, size: tuple[int, int]) -> bool:
    """Whether a face here may have left a picture of `size` (width, height) pixels: it touches the
    border or would with half its size more."""
    x, y = box.width / 2, box.height / 2
    return box.x0 < x or box.y0 < y or box.x1 > size[0] - x or box.y1 > size[1] - y

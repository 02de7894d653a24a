"""From arrivals to what is known of them, a look-ahead later: the part of a session that starts anew with
each connection and each change of the picture's size."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from veilcast.config import Config
from veilcast.pipeline.cuts import CutFinder
from veilcast.pipeline.overload import Level
from veilcast.pipeline.receive import Arrival
from veilcast.trackers.base import Observation
from veilcast.trackers.smoothing import LookAhead
from veilcast.types import Face, Frame, Track

LEAST_RATE, MOST_RATE = 1.0, 120.0


class Finder(Protocol):
    """What looks for faces in a stream; live_finder.py has it."""

    level: Level

    def find(self, frame: Frame) -> tuple[Face, ...] | None: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """An arrival with its tracks. `known`: somebody looked near enough to it in time."""

    arrival: Arrival
    tracks: tuple[Track, ...]
    known: bool


class Window:
    """Frames of one size and one connection, in order."""

    def __init__(self, config: Config, finder: Finder, size: tuple[int, int], usual_s: float) -> None:
        rate = min(max(1 / usual_s, LEAST_RATE), MOST_RATE)
        self.finder, self.size = finder, size
        self._reach = Fraction(str(config.tracking.lead_s))
        self._cuts = CutFinder()
        self._waiting: deque[Arrival] = deque()
        self._looks: deque[tuple[int, Fraction]] = deque()  # scene and time of each look near the window
        self._scenes: deque[int] = deque()
        self._scene = 0
        delay = round(config.live.look_ahead_s * rate)
        self._tracks = LookAhead(config.tracking, size, config.detect.thresh, delay)

    def push(self, arrival: Arrival) -> list[Seen]:
        """Takes the next picture; gives the one that is a look-ahead older, if any. Raises EngineError."""
        frame = arrival.frame
        cut = not frame.damaged and self._cuts.is_cut(frame)
        faces = None if frame.damaged else self.finder.find(frame)
        self._scene += cut
        self._waiting.append(arrival)
        self._scenes.append(self._scene)
        if faces is not None:
            self._looks.append((self._scene, frame.time))
        observation = Observation(frame.index, frame.time, faces, cut)
        return [self._seen(tracks) for _, tracks in self._tracks.push(observation)]

    def flush(self) -> list[Seen]:
        """What is left, at the end of the stream."""
        return [self._seen(tracks) for _, tracks in self._tracks.flush()]

    def abandon(self) -> list[Arrival]:
        """What is left, unlooked-after: it must not be shown."""
        left = list(self._waiting)
        self._waiting.clear()
        return left

    def _seen(self, tracks: tuple[Track, ...]) -> Seen:
        arrival, scene = self._waiting.popleft(), self._scenes.popleft()
        time = arrival.frame.time
        while self._looks and self._looks[0][1] < time - self._reach:
            self._looks.popleft()
        known = any(s == scene and abs(at - time) <= self._reach for s, at in self._looks)
        return Seen(arrival, tracks, known)

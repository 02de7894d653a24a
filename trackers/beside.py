"""Tracks of a stream: what is known of a frame, by the looks before and after it that have come. Looks may
come late (`Beside`), or with the frames, of which each then waits for some more (`LookAhead`)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from fractions import Fraction

from veilcast.config import Tracking
from veilcast.trackers.base import Observation
from veilcast.trackers.life import Life
from veilcast.trackers.online import KalmanTracker
from veilcast.trackers.smoothing import Path, place
from veilcast.types import Track

BEFORE = 2  # detections of a track before the oldest frame of interest that are remembered


class Beside:
    """Looks are given in order; between them, before them and beyond them every frame may be asked for.

    size: (width, height) of the displayed picture; strong: the score from which a detection starts a track.
    A segment counts the cuts before a frame; nothing is carried from one to another.
    """

    def __init__(self, settings: Tracking, size: tuple[int, int], strong: float = 0.0) -> None:
        self._settings, self._size = settings, size
        self._retired: list[Life] = []
        self._tracker = KalmanTracker(settings, size, strong, None, self._retired.append)
        self._segment = 0
        self._looks: list[Fraction] = []  # their times
        self._paths: dict[int, tuple[int, Path]] = {}  # by id, with the number of detections they are made of

    def look(self, seen: Observation, segment: int) -> None:
        """What was found in a frame; of one that was not looked at, that time has passed."""
        while self._segment < segment:
            self._tracker.cut()
            self._segment += 1
        if seen.faces is not None:
            self._looks.append(seen.time)
        self._tracker.advance(seen.index, seen.time, seen.faces)

    def tracks(self, index: int, time: Fraction, segment: int) -> tuple[Track, ...]:
        """The faces in a frame, by what is known so far."""
        later = len(self._looks) - bisect_right(self._looks, time)
        lives = [life for life in [*self._retired, *self._tracker.lives] if life.segment == segment]
        found = (self._place(life, index, time, later) for life in lives)
        return tuple(track for track in found if track is not None)

    def forget(self, time: Fraction) -> None:
        """Nobody will ask for a frame before `time` again."""
        keep_s = Fraction(self._settings.coast_s + self._settings.hold_s)
        self._retired[:] = [life for life in self._retired if life.last.time + keep_s >= time]
        lives = [*self._retired, *self._tracker.lives]
        for life in lives:
            past = bisect_left(life.hits, time, key=lambda hit: hit.time)
            del life.hits[: max(0, past - BEFORE)]
        del self._looks[: max(0, bisect_left(self._looks, time))]
        known = {life.id for life in lives}
        self._paths = {id: path for id, path in self._paths.items() if id in known}

    def _place(self, life: Life, index: int, time: Fraction, later: int) -> Track | None:
        misses = max(0, life.misses - later)
        path, settings = self._path(life), self._settings
        time_s = float(time - path.hits[0].time)
        return place(path, index, time_s, misses, settings, self._size, settings.coast_s)

    def _path(self, life: Life) -> Path:
        """Smoothed again only where there is a new detection."""
        known = self._paths.get(life.id)
        if known is None or known[0] != life.seen:
            known = self._paths[life.id] = (life.seen, Path.of(life))
        return known[1]


class LookAhead:
    """The tracks of a stream, `frames` frames late: a face is covered before its first detection and
    smoothly across gaps, as far as the window reaches. With frames = 0 it is the causal tracker."""

    def __init__(
        self, settings: Tracking, size: tuple[int, int], strong: float = 0.0, frames: int = 0
    ) -> None:
        self._known = Beside(settings, size, strong)
        self._frames = frames
        self._window: deque[tuple[Observation, int]] = deque()  # with the number of cuts before it
        self._segment = 0

    def push(self, seen: Observation) -> list[tuple[int, tuple[Track, ...]]]:
        """Takes the next frame; returns (index, tracks) of the frame that is `frames` older, if any."""
        self._segment += seen.cut
        self._known.look(seen, self._segment)
        self._window.append((seen, self._segment))
        return [self._emit()] if len(self._window) > self._frames else []

    def flush(self) -> Iterator[tuple[int, tuple[Track, ...]]]:
        """The frames that are left, at the end of the stream."""
        while self._window:
            yield self._emit()

    def _emit(self) -> tuple[int, tuple[Track, ...]]:
        seen, segment = self._window.popleft()
        tracks = self._known.tracks(seen.index, seen.time, segment)
        self._known.forget(seen.time)
        return seen.index, tracks

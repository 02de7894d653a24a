"""Tracks of a stream whose looks come late: what is known of any frame, by the looks that have come."""

from __future__ import annotations

from bisect import bisect_left
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
        """What was found in a frame; a frame that was not looked at is nobody's news."""
        if seen.faces is None:
            return
        while self._segment < segment:
            self._tracker.cut()
            self._segment += 1
        self._looks.append(seen.time)
        self._tracker.advance(seen.index, seen.time, seen.faces)

    def tracks(self, index: int, time: Fraction, segment: int) -> tuple[Track, ...]:
        """The faces in a frame, by what is known so far."""
        later = len(self._looks) - bisect_left(self._looks, time)
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
        return place(
            self._path(life), index, time, misses, self._settings, self._size, self._settings.coast_s
        )

    def _path(self, life: Life) -> Path:
        """Smoothed again only where there is a new detection."""
        known = self._paths.get(life.id)
        if known is None or known[0] != life.seen:
            known = self._paths[life.id] = (life.seen, Path.of(life))
        return known[1]

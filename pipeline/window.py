"""From arrivals to what is known of them: the part of a session that starts anew with each connection, each
change of the picture's size, each jump of the camera's clock.

A picture waits here until it is as old as the look-ahead, and until somebody has looked at it or at a later
one. Looks are made beside the stream (aside.py), one at a time; while one is under way pictures go on coming,
and those that nobody could look beyond in time are never shown.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from veilcast.config import Config
from veilcast.pipeline.aside import Aside
from veilcast.pipeline.cuts import CutFinder, Small, small_luma
from veilcast.pipeline.novelty import Watch
from veilcast.pipeline.overload import Level
from veilcast.pipeline.receive import Arrival
from veilcast.trackers.base import Observation
from veilcast.trackers.beside import Beside
from veilcast.types import Face, Frame, Track


class Finder(Protocol):
    """What looks for faces in a stream; live_finder.py has it."""

    level: Level

    def find(self, frame: Frame, urgent: bool = False, new: bool = False) -> tuple[Face, ...] | None:
        """The faces in a frame; None = it is too early for another look, unless it is urgent or shows what
        nobody has seen."""
        ...


@dataclass(frozen=True, slots=True)
class Seen:
    """An arrival with its tracks. `known`: somebody looked near enough to it. `late`: nobody looked beyond it
    in time, and its pixels may be under somebody's eyes at this moment: it must neither be shown nor written
    to."""

    arrival: Arrival
    tracks: tuple[Track, ...]
    known: bool
    late: bool = False


@dataclass(slots=True)
class _Waiting:
    arrival: Arrival
    scene: int
    small: Small | None  # None for a damaged one
    new: bool  # it shows what the look before it cannot have seen


class Window:
    """Frames of one size and one connection, in order. `now_s` is time.monotonic's clock, for tests."""

    def __init__(
        self,
        config: Config,
        finder: Finder,
        size: tuple[int, int],
        aside: Aside,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.finder, self.size = finder, size
        self._live, self._aside, self._now_s = config.live, aside, now_s
        self._reach = Fraction(str(config.tracking.lead_s))
        self._cuts, self._watch = CutFinder(), Watch()
        self._waiting: deque[_Waiting] = deque()
        self._looks: deque[tuple[int, Fraction]] = deque()  # scene and time of each look near the window
        self._looked = -1  # the newest frame that was looked at
        self._offered = -1  # the newest frame that the finder was asked about
        self._scene = 0
        self._starts: dict[int, Fraction] = {}  # of each scene that is in the window
        self._urgent = True  # somebody must look, whatever the schedule says
        self._ended = self._left = False
        tracking = config.tracking
        # looks may lie as far apart as a cover leads: who was seen once may have been there since the last
        patient = tracking.model_copy(update={"lone_s": max(tracking.lone_s, tracking.lead_s)})
        self._tracks = Beside(patient, size, config.detect.thresh)

    def push(self, arrival: Arrival) -> None:
        """Takes the next picture."""
        frame = arrival.frame
        small = None if frame.damaged else small_luma(frame)
        if small is not None and self._cuts.is_cut(small):
            self._scene += 1
            self._urgent = True
        new = small is not None and self._is_new(small)
        self._starts.setdefault(self._scene, frame.time)
        self._waiting.append(_Waiting(arrival, self._scene, small, new))
        self.look()

    def _is_new(self, small: Small) -> bool:
        self._watch.follow(small)
        return self._watch.is_foreign(small) or self._watch.is_new(small)

    def look(self) -> None:
        """Asks about a picture, if nobody is looking. To be called again with every answer."""
        if self._aside.is_busy or self._left or (chosen := self._choice()) is None:
            return
        frame, new = chosen.arrival.frame, chosen.new
        self._offered, urgent, self._urgent = frame.index, self._urgent or self._ended, False
        self._aside.give(
            lambda: self.finder.find(frame, urgent=urgent, new=new),
            lambda faces: self._found(chosen, faces),
        )

    def _choice(self) -> _Waiting | None:
        """The newest picture, that shows something new where any does, but not so far from the last look that
        those between are near neither: they may all have come at once."""
        sound = [w for w in self._waiting if not w.arrival.frame.damaged]
        new = [w for w in sound if w.arrival.frame.index > self._offered]
        if not new:  # at the end the last picture is looked at, whatever was said of it before
            return (
                sound[-1] if self._ended and sound and sound[-1].arrival.frame.index > self._looked else None
            )
        if not self._looks:
            return new[0]
        near = [w for w in new if w.arrival.frame.time - self._looks[-1][1] <= self._reach]
        return ([w for w in near if w.new] or near)[-1] if near else new[0]

    def due(self) -> Iterator[Seen]:
        """The pictures whose time has come, oldest first."""
        while self._waiting and (seen := self._judged(self._waiting[0])) is not None:
            self._waiting.popleft()
            yield seen

    @property
    def wait_s(self) -> float:
        """Until the next picture may be due, if nothing else happens; endless where none waits."""
        if not self._waiting:
            return float("inf")
        age_s = self._now_s() - self._waiting[0].arrival.arrived_s
        limit_s = self._live.look_ahead_s if age_s < self._live.look_ahead_s else self._live.max_latency_s
        return max(0.0, limit_s - age_s)

    def end(self) -> None:
        """Nothing more will come: the last picture is looked at, and the rest is due by then."""
        self._ended = True
        self.look()

    @property
    def is_empty(self) -> bool:
        return not self._waiting

    def abandon(self) -> list[Arrival]:
        """What is left, unlooked-after: it must not be shown, nor written to."""
        self._left = True
        left = [waiting.arrival for waiting in self._waiting]
        self._waiting.clear()
        return left

    def _found(self, looked: _Waiting, faces: tuple[Face, ...] | None) -> None:
        frame = looked.arrival.frame
        if faces is not None and not self._left:
            if looked.small is not None:
                self._watch.looked(looked.small)
            self._looked = frame.index
            self._looks.append((looked.scene, frame.time))
            self._tracks.look(Observation(frame.index, frame.time, faces), looked.scene)

    def _judged(self, waiting: _Waiting) -> Seen | None:
        """What is known of the oldest picture; None while it has to wait."""
        arrival, frame = waiting.arrival, waiting.arrival.frame
        age_s = self._now_s() - arrival.arrived_s
        if age_s > self._live.max_latency_s:
            self._forget(frame.time)
            return Seen(arrival, (), False, late=True)
        if not self._answered(frame) or (age_s < self._live.look_ahead_s and not self._ended):
            return None
        tracks = self._tracks.tracks(frame.index, frame.time, waiting.scene)
        self._forget(frame.time)
        return Seen(arrival, tracks, self._is_known(waiting.scene, frame.time))

    def _answered(self, frame: Frame) -> bool:
        """Whether somebody has looked at it or beyond it, or need not: what is damaged is covered whole."""
        return frame.damaged or self._looked >= frame.index

    def _forget(self, time: Fraction) -> None:
        self._tracks.forget(time)
        oldest = self._waiting[0].scene
        self._starts = {scene: at for scene, at in self._starts.items() if scene >= oldest}
        while self._looks and self._looks[0][1] < time - self._reach:
            self._looks.popleft()

    def _is_known(self, scene: int, time: Fraction) -> bool:
        """Whether looks of the same scene lie near on both sides: far from one, somebody may have come or
        gone, or was missed by the one look that there was. Nothing lies before a scene's start."""
        times = [at for s, at in self._looks if s == scene]
        after = next((at for at in times if at >= time), None)
        before = next((at for at in reversed(times) if at <= time), self._starts.get(scene))
        if after is None:  # the scene was over before the next look
            before = next((at for at in reversed(times) if at <= time), None)
        near_before = before is not None and time - before <= self._reach
        return near_before and (after is None or after - time <= self._reach)

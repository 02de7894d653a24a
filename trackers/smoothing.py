"""Backward in time: cover that leads and lags every detection.

`backward` has the whole file; a stream has what beside.py remembers. Both place each track in a frame with
`place`, from the detections before and after it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from math import lcm

from veilcast.config import Tracking
from veilcast.trackers import kalman
from veilcast.trackers.absence import FAINT, Absence, Resemblance
from veilcast.trackers.assignment import DOUBT_HEADS, apart_heads, hull
from veilcast.trackers.base import Observation
from veilcast.trackers.life import CONFIRMED_HITS, Hit, Life, at_border, grown, lies, moved
from veilcast.trackers.linking import bridge, extend_back
from veilcast.trackers.online import KalmanTracker
from veilcast.types import Box, Track, TrackState

# of a box's growth, whose cover is larger than the box besides: whole, half or none, benchmarks/recall.py
# finds the same faces exposed
GROWN = 0.25
CLEAR = 0.75  # score of a detection that leaves no doubt about a face
EQUAL_S = 1e-9  # what times may differ by that are the same
# seconds without a detection that a file's track waits for: what begins later is joined to it from both sides
PATIENCE_S = 0.6
DIGITS = 9  # of a distance in time: few distances, which kalman.py remembers


@dataclass(frozen=True, slots=True)
class Path:
    """A track as a curve in time: its detections and the smoothed state at each of them. Seconds count
    from its first detection, in `times` and in what its methods take."""

    id: int
    segment: int
    hits: tuple[Hit, ...]
    times: tuple[float, ...]  # of the hits
    states: tuple[kalman.State, ...]
    confirmed: bool

    @property
    def clear(self) -> bool:
        """Whether it was seen clearly once. A score without sense counts."""
        return any(not hit.face.score < CLEAR for hit in self.hits)

    @property
    def lies(self) -> bool:
        """Whether it was seen on its side or upside down once, as not every look sees it."""
        return any(lies(hit.face.landmarks) for hit in self.hits)

    @classmethod
    def of(cls, life: Life) -> Path:
        start = life.hits[0].time
        times = tuple(float(hit.time - start) for hit in life.hits)
        states = kalman.smooth([hit.face.box for hit in life.hits], times)
        confirmed = max(life.seen, len(life.hits)) >= CONFIRMED_HITS
        return cls(life.id, life.segment, tuple(life.hits), times, tuple(states), confirmed)

    def at(self, time_s: float) -> tuple[kalman.State, Hit]:
        """The state at any time, and the detection from which landmarks are taken."""
        after = bisect_right(self.times, time_s)
        if after == 0 or self.times[after - 1] == time_s or after == len(self.times):
            near = max(after - 1, 0)
            away_s = round(time_s - self.times[near], DIGITS)
            return kalman.predict(self.states[near], away_s), self.hits[near]
        gap_s = self.times[after] - self.times[after - 1]
        share = (time_s - self.times[after - 1]) / gap_s
        state = kalman.between(self.states[after - 1], self.states[after], gap_s, share)
        return state, self.hits[after - 1] if share < 0.5 else self.hits[after]

    def doubtful(self, time_s: float) -> list[Box]:
        """Between the first two detections, where they may be two people: both boxes, to be covered
        until the second. They may be where they lie far apart and the third does not bear them out."""
        if len(self.hits) < 2 or not 0 < time_s < self.times[1]:
            return []
        first, second = self.hits[0].face.box, self.hits[1].face.box
        x, y = second.centre
        if len(self.hits) > 2:  # where a face that moves on evenly was before
            share = self.times[1] / (self.times[2] - self.times[1])
            u, v = self.hits[2].face.box.centre
            x, y = x - (u - x) * share, y - (v - y) * share
        return [first, second] if apart_heads(first, (x, y)) > DOUBT_HEADS else []

    def lead_s(self, settings: Tracking) -> float:
        return settings.lead_s if self.confirmed else settings.lone_s

    def is_lost(self, lag_s: float, size: tuple[int, int]) -> bool:
        """Whether it ends in the middle of the picture: where its prediction is when the lag is over."""
        end = kalman.predict(self.states[-1], lag_s)
        return self.confirmed and not at_border(kalman.box_of(end), size)


def place(
    path: Path,
    index: int,
    time_s: float,
    misses: int,
    settings: Tracking,
    size: tuple[int, int],
    lag_s: float,
) -> Track | None:
    """The track in one frame; None where it is not there, or has left the picture.

    time_s: from the path's first detection on; misses: looked-at frames since its last detection; lag_s: how
    long it is carried after the last one.
    """
    if time_s < -path.lead_s(settings) - EQUAL_S:
        return None
    late_s = time_s - path.times[-1] - EQUAL_S
    lag_s = lag_s if path.confirmed else settings.lone_s
    lost = late_s > lag_s and misses > 0
    if lost and (late_s > lag_s + settings.hold_s or not path.is_lost(lag_s, size)):
        return None
    state, hit = path.at(time_s)
    box = kalman.box_of(state)
    if hit.index == index:
        kind = TrackState.CONFIRMED if path.confirmed else TrackState.TENTATIVE
        return Track(path.id, hull([hit.cover, box]), hit.face.landmarks, kind, 0, hit.face.score)
    cover = hull([grown(state, settings, GROWN), *path.doubtful(time_s)])
    if not cover.intersection(Box(0, 0, *size)):
        return None
    kind = TrackState.LOST if lost else TrackState.SMOOTHED
    return Track(path.id, cover, moved(hit.face.landmarks, hit.face.box, box), kind, misses)


class Forward:
    """The forward pass over observations as they come: all tracks with all their detections."""

    def __init__(
        self,
        settings: Tracking,
        size: tuple[int, int],
        strong: float = 0.0,
        observations: Sequence[Observation] = (),
    ) -> None:
        self._ended: list[Life] = []
        patient = settings.model_copy(update={"coast_s": min(settings.coast_s, PATIENCE_S)})
        self._tracker = KalmanTracker(patient, size, strong, history=None, retired=self._ended.append)
        for seen in observations:
            self.see(seen)

    def see(self, seen: Observation) -> None:
        if seen.cut:
            self._tracker.cut()
        self._tracker.advance(seen.index, seen.time, seen.faces)

    def lives(self) -> list[Life]:
        """All tracks, in the order of their ids; they end here."""
        self._tracker.cut()
        return sorted(self._ended, key=lambda life: life.id)


def smooth(
    observations: Sequence[Observation], settings: Tracking, size: tuple[int, int], strong: float = 0.0
) -> list[tuple[Track, ...]]:
    """The tracks in every frame of a whole file, in the order of `observations`."""
    lives = Forward(settings, size, strong, observations).lives()
    return backward(lives, observations, settings, size, strong)


def backward(
    lives: list[Life],
    observations: Sequence[Observation],
    settings: Tracking,
    size: tuple[int, int],
    strong: float = 0.0,
) -> list[tuple[Track, ...]]:
    """The tracks in every frame, from those of the forward pass over the same observations.

    They go back along weak detections, gaps are bridged, each is smoothed (RTS), led by `lead_s`, lagged by
    `lag_s`, both `doubt_s` where it was never seen clearly, and all of that ends where looks say that nobody
    is there (absence.py); nothing crosses a hard cut.
    """
    doubtful = settings.model_copy(update=dict.fromkeys(("lead_s", "lag_s", "lone_s"), settings.doubt_s))
    extend_back(lives, observations, settings)
    paths = [Path.of(life) for life in bridge(lives, settings)]
    placed: list[list[Track]] = [[] for _ in observations]
    # in whole ticks: their differences are exact, and a fraction costs as much as all else together
    scale = lcm(*(seen.time.denominator for seen in observations))
    ticks = [int(seen.time * scale) for seen in observations]
    looks = list(accumulate(seen.faces is not None for seen in observations))
    segments = list(accumulate(seen.cut for seen in observations))
    scenes: dict[int, list[int]] = {}
    for n, seen in enumerate(observations):
        if seen.faces is not None and seen.faint is not None:
            scenes.setdefault(segments[n], []).append(n)
    position = {seen.index: n for n, seen in enumerate(observations)}
    alike = Resemblance(observations)
    for path in paths:
        spans = settings if path.clear else doubtful
        hits = [position[hit.index] for hit in path.hits]
        start = ticks[hits[0]]
        absent = absence(path, hits, observations, scenes.get(path.segment, []), strong, alike)
        for n in range(bisect_right(ticks, start - (path.lead_s(spans) + 1) * scale), len(ticks)):
            if segments[n] != path.segment:
                if segments[n] > path.segment:
                    break
                continue
            before = bisect_right(hits, n)
            misses = looks[n] - looks[hits[before - 1]] if before else 0
            time_s = (ticks[n] - start) / scale
            track = place(path, observations[n].index, time_s, misses, spans, size, spans.lag_s)
            if track is not None:
                if n not in absent:
                    placed[n].append(track)
            elif n > hits[-1]:
                break
    return [tuple(tracks) for tracks in placed]


def absence(
    path: Path,
    hits: Sequence[int],
    observations: Sequence[Observation],
    looks: Sequence[int],
    strong: float,
    alike: Resemblance,
) -> Absence:
    """Where the path is not, by its detections and the looks of its scene that speak of who is gone. hits,
    looks: places in `observations`."""

    def box_at(n: int) -> Box:
        state, _ = path.at(float(observations[n].time - path.hits[0].time))
        return kalman.box_of(state)

    looks = () if path.lies else looks
    faint = {n: hit.face.score < FAINT * strong for n, hit in zip(hits, path.hits, strict=True)}
    return Absence(observations, sorted({*looks, *hits}), faint, box_at, alike)


def unknown(observations: Sequence[Observation], settings: Tracking) -> list[bool]:
    """Which frames nobody knows anything about: no frame of the same scene within `lead_s` was looked
    at. A scene that is shorter than the detector's schedule is the usual case; unknown means covered."""
    scenes = list(accumulate(seen.cut for seen in observations))
    reach = Fraction(settings.lead_s)
    near = [False] * len(observations)
    for order in (range(len(near)), range(len(near) - 1, -1, -1)):
        last: tuple[int, Fraction] | None = None
        for n in order:
            seen = observations[n]
            if seen.faces is not None:
                last = (scenes[n], seen.time)
            if last is not None and last[0] == scenes[n] and abs(seen.time - last[1]) <= reach:
                near[n] = True
    return [not known for known in near]

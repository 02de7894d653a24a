"""From arrivals to the programme: the window, the cover, the gate, and what gives way under load. All of it
is done in the session's own thread; only looks are made beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from fractions import Fraction

from veilcast.config import Config
from veilcast.pipeline.aside import Aside
from veilcast.pipeline.cover import NO_FACES, Painter
from veilcast.pipeline.fates import Fates
from veilcast.pipeline.gate import SafeFrame, release
from veilcast.pipeline.live_stats import Stats
from veilcast.pipeline.overload import Level, Overload
from veilcast.pipeline.program import Program
from veilcast.pipeline.receive import Arrival
from veilcast.pipeline.shapes import Region, Whole
from veilcast.pipeline.slates import Reason
from veilcast.pipeline.stages import Covers
from veilcast.pipeline.watching import Engines, Watcher
from veilcast.pipeline.window import Seen, Window

NOT_YET = float("inf")
DRAWN_BY = 0.7  # of the time that is left behind the look-ahead: later, faces are solid rather than late


class Pictures:
    """Every arrival that is taken gets a fate, in order; what may be shown is given to the programme.

    warmed: called when the networks are ready for the first pictures.
    """

    def __init__(
        self, config: Config, program: Program, stats: Stats, aside: Aside, warmed: Callable[[], None]
    ) -> None:
        self.config, self._program, self._stats = config, program, stats
        self._aside, self._warmed = aside, warmed
        self.fates = Fates(stats)
        self.level = Level.FULL
        self.faces_now = self.tracks_seen = 0
        self._engines: Engines | None = None
        self._covers = Covers.of(config)
        self._overload = Overload(config.live.max_latency_s - config.live.look_ahead_s)
        self._window: Window | None = None
        self._sizes: set[tuple[int, int]] = set()  # that the networks are ready for
        self._ready_s = NOT_YET  # from when on delays count
        self._top_track = 0

    @property
    def is_warming(self) -> bool:
        return self._ready_s == NOT_YET

    @property
    def is_empty(self) -> bool:
        return self._window is None or self._window.is_empty

    @property
    def wait_s(self) -> float:
        return NOT_YET if self._window is None else self._window.wait_s

    def use(self, engines: Engines) -> None:
        self._engines = engines

    def take(self, arrival: Arrival) -> None:
        """The next picture of the camera."""
        if self.level is Level.SLATE:
            self.abandon("overload")
            return self._slate(arrival)
        if self._window is None or arrival.anew or self._window.size != arrival.frame.displayed_size:
            self._begin(arrival)
        assert self._window is not None
        self._window.finder.level = self.level
        self._window.push(arrival)

    def pump(self) -> None:
        """Whatever is due goes out. Raises what a gate raises."""
        window = self._window
        if window is None:
            return
        window.look()
        for seen in window.due():
            self._emit(seen)

    def end(self) -> None:
        """Nothing more will come; what waits is due soon."""
        if self._window is not None:
            self._window.end()

    def abandon(self, reason: str) -> None:
        """Drops what is in the window: nobody will ever have looked beyond it."""
        window, self._window = self._window, None
        for arrival in window.abandon() if window else ():
            self.fates.drop(arrival.frame.index, reason)

    def _begin(self, arrival: Arrival) -> None:
        """A new connection, size or clock: nothing that was known holds."""
        self.abandon("lost")
        assert self._engines is not None
        size = arrival.frame.displayed_size
        self._program.sized(size)
        self._program.because(Reason.STARTING)
        finder = self._engines.finder()
        if size not in self._sizes:
            self._warm(finder, arrival)
        self._window = Window(self.config, finder, size, self._aside)
        if self._engines.faces:
            self._engines.faces.restart()

    def _warm(self, finder: Watcher, arrival: Arrival) -> None:
        """Compiling takes long, and is no overload."""
        size = arrival.frame.displayed_size
        self._sizes.add(size)
        self._ready_s = NOT_YET

        def ready(_: object) -> None:
            self._ready_s = time.monotonic()
            self.fates.overrun = False
            self._warmed()

        self._aside.give(lambda: finder.warm(arrival.frame), ready)

    def _emit(self, seen: Seen) -> None:
        """The next picture, covered, to the programme."""
        arrival, frame = seen.arrival, seen.arrival.frame
        if seen.late:
            self.fates.drop(frame.index, "late")
        else:
            wanted = self._wanted(seen)
            faces = self._faces(seen)
            self.fates.reached(frame.index)
            safe = release(frame, wanted, self.config.cover, self.fates.ledger, faces=faces)
            self._shown(safe, arrival)
            self._count(seen)
        self._adapt(arrival)

    def _wanted(self, seen: Seen) -> tuple[Region, ...]:
        if not seen.known:
            return (Whole("nobody looked"),)
        return self._covers.regions(seen.arrival.frame, seen.tracks, start=Fraction(0))

    def _faces(self, seen: Seen) -> Mapping[int, Painter]:
        faces, live = self._engines.faces if self._engines else None, self.config.live
        if faces is None or self.level >= Level.SOLID or seen.arrival.frame.damaged:
            return NO_FACES
        age_s, spare_s = time.monotonic() - seen.arrival.arrived_s, live.max_latency_s - live.look_ahead_s
        if age_s > live.look_ahead_s + DRAWN_BY * spare_s:
            self._stats.count("covered solid for want of time")
            return NO_FACES
        return faces.painters(seen.arrival.frame, seen.tracks, self.level)

    def _slate(self, arrival: Arrival) -> None:
        self.fates.reached(arrival.frame.index)
        whole = (Whole("overload"),)
        self._shown(release(arrival.frame, whole, self.config.cover, self.fates.ledger), arrival)
        self._adapt(arrival)

    def _shown(self, safe: SafeFrame, arrival: Arrival) -> None:
        carrier = arrival.picture if self.config.live.captions == "keep" else None
        self._program.show(safe, arrival.pts, arrival.arrived_s, carrier)

    def _count(self, seen: Seen) -> None:
        self.faces_now = len(seen.tracks)
        newest = max((track.id for track in seen.tracks), default=0)
        if newest > self._top_track:
            self.tracks_seen += newest - self._top_track
            self._top_track = newest

    def _adapt(self, arrival: Arrival) -> None:
        """What gives way, from what this picture had to wait beyond the look-ahead."""
        now_s, live = time.monotonic(), self.config.live
        if arrival.arrived_s < self._ready_s:
            return
        delay_s = now_s - arrival.arrived_s - live.look_ahead_s
        if self.fates.overrun:  # pictures were lost before anybody looked: as late as can be
            delay_s, self.fates.overrun = live.max_latency_s, False
        before, self.level = self.level, self._overload.saw(delay_s, now_s)
        if before is not self.level:
            self._stats.count(f"level {self.level.name.lower()}")
            self._ready_s = now_s  # what came before is late by what has just given way
            if Level.SLATE in (before, self.level):
                self.abandon("overload")

"""One camera's session: receive, look, cover, gate, publish, with a bounded delay.

    feed (thread) -> inbox -> this thread: window, cover, gate -> programme -> outlets (a thread each)

Only what `gate.release` made reaches the programme; whatever fails on the way leaves the programme with a
card that says why. Every picture that came has a fate in the ledger, lost ones too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

from veilcast.config import Config
from veilcast.errors import ConfigError, WorkerHung
from veilcast.pipeline.addresses import Address
from veilcast.pipeline.backoff import Backoff
from veilcast.pipeline.clocks import TICKS, Clock
from veilcast.pipeline.cover import NO_FACES, Painter
from veilcast.pipeline.feed import Connect, Feed
from veilcast.pipeline.gate import release
from veilcast.pipeline.inbox import Event, Inbox
from veilcast.pipeline.ledger import Fate, Ledger
from veilcast.pipeline.live_stats import Stats
from veilcast.pipeline.mixer import Mixer
from veilcast.pipeline.outlet import Outlet
from veilcast.pipeline.overload import Level, Overload
from veilcast.pipeline.program import Program
from veilcast.pipeline.publish import Output
from veilcast.pipeline.receive import Arrival, Sound
from veilcast.pipeline.shapes import Region, Whole
from veilcast.pipeline.slates import Reason
from veilcast.pipeline.stages import Covers
from veilcast.pipeline.window import Finder, Seen, Window
from veilcast.types import Frame, Track

MOST_WAITING = 32  # pictures between the receiver and the networks
CANARY_EVERY_S = 30.0
PREVIEW_PX = 640  # the preview's width at most


class Watcher(Finder, Protocol):
    """A finder that can also be made ready, and checked."""

    def warm(self, frame: Frame) -> None: ...


class Faces(Protocol):
    """What draws synthetic faces; live_faces.py has it."""

    def painters(self, frame: Frame, tracks: Sequence[Track], level: Level) -> Mapping[int, Painter]: ...

    def restart(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Engines:
    """What a session looks and draws with. `finder` makes one for each connection; `canary` raises
    EngineError where the networks no longer say what they should."""

    finder: Callable[[], Watcher]
    faces: Faces | None = None
    canary: Callable[[], None] = lambda: None


def check_config(config: Config) -> None:
    """Raises ConfigError for settings that mean nothing, or something dangerous, in a stream."""
    if config.start_s is not None or config.end_s is not None:
        raise ConfigError("start_s and end_s are for files: a live stream is covered from end to end")
    if config.cover.allow_keep:
        raise ConfigError("allow_keep is for files: nobody can mark a face of a live stream")
    if config.live.look_ahead_s >= config.live.max_latency_s:
        raise ConfigError("live.look_ahead_s must be less than live.max_latency_s, of which it is a part")


class Session:
    """`run` until `stop`, or until the end of a file. Raises EngineError, PrivacyTripped, WorkerHung:
    then the process is to be replaced."""

    def __init__(
        self,
        source: Address,
        outputs: Sequence[Output],
        config: Config,
        connect: Callable[[Clock, float, Callable[[Sound], None] | None], Connect],
        size: tuple[int, int] | None = None,
    ) -> None:
        check_config(config)
        live = config.live
        self.config, self.source = config, source
        self.start_s = time.monotonic()
        self.stats = Stats()
        self.ledger = Ledger()
        self._clock = Clock()
        self._inbox = Inbox(MOST_WAITING)
        delay = round(live.max_latency_s * TICKS)
        self._mixer = Mixer(delay) if live.audio == "keep" else None
        self.outlets = [
            Outlet(
                output,
                Backoff(live.backoff_s, live.backoff_max_s),
                self._mixer if output.has_sound else None,
                self._written if number == 0 else lambda shown: None,
            )
            for number, output in enumerate(outputs)
        ]
        self.program = Program(
            self.outlets, self.start_s, delay, live.slate_after_s, self.stats, self._mixer, size
        )
        connected = connect(self._clock, self.start_s, self._heard if self._mixer else None)
        backoff = Backoff(live.backoff_s, live.backoff_max_s)
        self.feed = Feed(connected, self._inbox, self._clock, backoff, paced=source.kind == "file")
        self._covers = Covers.of(config)
        self._overload = Overload(live.max_latency_s - live.look_ahead_s)
        self._window: Window | None = None
        self._next = 0  # the number of the picture that is due
        self._warmed: set[tuple[int, int]] = set()
        self._overrun = False
        self._ready_s = 0.0  # from when on delays count
        self._stop = False
        self.told = ""
        self.canary_s: float | None = None  # when the networks last gave the right answer
        self.faces_now = self.tracks_seen = 0
        self._top_track = 0
        self.level = Level.FULL

    # -- from outside

    def stop(self) -> None:
        self._stop = True

    def open(self) -> None:
        """On air with a card, and connecting: before anything heavy is loaded."""
        for outlet in self.outlets:
            outlet.start()
        self.program.start()
        if self.source.is_remote:
            self.feed.start()

    def close(self) -> None:
        self.feed.stop()
        self.program.stop()

    def check_alive(self) -> None:
        """Raises WorkerHung where a library has not come back, PrivacyTripped where a gate said no."""
        live, now_s = self.config.live, time.monotonic()
        # opening may wait for an answer several times, reading for one packet
        if self.feed.is_alive and now_s - self.feed.beat_s > 3 * live.connect_s + live.stall_s + live.hang_s:
            raise WorkerHung(f"reading from {self.source} hangs")
        for outlet in self.outlets:
            if outlet.fatal is not None:
                raise outlet.fatal
            if now_s - outlet.beat_s > live.connect_s + live.hang_s:
                raise WorkerHung(f"writing to {outlet.output.address} hangs")

    def status(self) -> dict[str, Any]:
        reason = self.program.reason
        return self.stats.snapshot() | {
            "state": reason.value if reason else "live",
            "told": self.told,
            "level": self.level.name.lower(),
            "frames_in": self.feed.frames,
            "connections": self.feed.connections,
            "connected": self.feed.connected,
            "camera": self.feed.facts,
            "size": self.feed.size,
            "jumps": self._clock.jumps,
            "faces": self.faces_now,
            "tracks": self.tracks_seen,
            "ledger": {fate.value: self.ledger.counts[fate] for fate in Fate},
            "waiting": self.feed.frames - self.ledger.counts.total(),
            "canary_age_s": None if self.canary_s is None else round(time.monotonic() - self.canary_s, 1),
            "outputs": [outlet.status() for outlet in self.outlets],
        }

    # -- the work

    def run(self, engines: AbstractContextManager[Engines]) -> None:
        """Until `stop` or the end of a file. `engines` is opened when the card is already on air."""
        with engines as ready:
            self._engines = ready
            self._canary()
            if not self.source.is_remote:
                self.feed.start()
            while not self._stop:
                item = self._inbox.get(0.1)
                if isinstance(item, Arrival):
                    self._take(item)
                elif isinstance(item, Event) and self._happened(item):
                    return
                self._canary()

    def _happened(self, event: Event) -> bool:
        """True at the end of everything."""
        self.told = event.told
        if event.reason is Reason.ENDED:
            for seen in self._window.flush() if self._window else ():
                self._emit(seen)
        self._abandon("lost")
        self.program.hide(event.reason)
        return event.reason is Reason.ENDED

    def _take(self, arrival: Arrival) -> None:
        if self.level is Level.SLATE:
            self._abandon("overload")
            self._slate(arrival, "overload")
        else:
            if self._window is None or self._window.size != arrival.frame.displayed_size:
                self._begin(arrival)
            assert self._window is not None
            self._window.finder.level = self.level
            for seen in self._window.push(arrival):
                self._emit(seen)
        now_s = time.monotonic()
        if arrival.arrived_s >= self._ready_s:
            self._adapt(now_s - arrival.arrived_s, now_s)

    def _begin(self, arrival: Arrival) -> None:
        """A new connection or size: nothing that was known holds."""
        self._abandon("lost")
        size = arrival.frame.displayed_size
        self.program.sized(size)
        self.program.because(Reason.STARTING)
        finder = self._engines.finder()
        if size not in self._warmed:  # compiling takes long, and is no overload
            finder.warm(arrival.frame)
            self._warmed.add(size)
            self._ready_s = time.monotonic()
            self.feed.go.set()
        usual_s = self._clock.usual / TICKS
        self._window = Window(self.config, finder, size, usual_s)
        if self._engines.faces:
            self._engines.faces.restart()

    def _abandon(self, reason: str) -> None:
        """Drops what is in the window: nobody will ever have looked beyond it."""
        window, self._window = self._window, None
        for arrival in window.abandon() if window else ():
            self._drop(arrival.frame.index, reason)

    def _emit(self, seen: Seen) -> None:
        """The next picture, covered, to the programme."""
        arrival, frame = seen.arrival, seen.arrival.frame
        if time.monotonic() - arrival.arrived_s > self.config.live.max_latency_s:
            return self._drop(frame.index, "late")
        wanted = self._wanted(seen)
        faces = self._faces(seen)
        self._missing(frame.index)
        safe = release(frame, wanted, self.config.cover, self.ledger, faces=faces)
        self.faces_now = len(seen.tracks)
        newest = max((track.id for track in seen.tracks), default=0)
        self._shown(safe, arrival)
        if newest > self._top_track:
            self.tracks_seen += newest - self._top_track
            self._top_track = newest

    def _wanted(self, seen: Seen) -> tuple[Region, ...]:
        if not seen.known:
            return (Whole("nobody looked"),)
        return self._covers.regions(seen.arrival.frame, seen.tracks, start=Fraction(0))

    def _faces(self, seen: Seen) -> Mapping[int, Painter]:
        faces = self._engines.faces
        if faces is None or self.level >= Level.SOLID or seen.arrival.frame.damaged:
            return NO_FACES
        return faces.painters(seen.arrival.frame, seen.tracks, self.level)

    def _slate(self, arrival: Arrival, reason: str) -> None:
        self._missing(arrival.frame.index)
        safe = release(arrival.frame, (Whole(reason),), self.config.cover, self.ledger)
        self._shown(safe, arrival)

    def _shown(self, safe: Any, arrival: Arrival) -> None:
        carrier = arrival.picture if self.config.live.captions == "keep" else None
        self.program.show(safe, arrival.arrived_s, carrier)

    # -- fates

    def _missing(self, index: int) -> None:
        """Enters the pictures that were lost on the way here."""
        for lost in range(self._next, index):
            self.ledger.entry(lost, Fate.DROPPED, "not taken in time")
            self.stats.count("dropped: not taken in time")
            self._overrun = True
        self._next = index + 1

    def _drop(self, index: int, reason: str) -> None:
        self._missing(index)
        self.ledger.entry(index, Fate.DROPPED, reason)
        self.stats.count(f"dropped: {reason}")

    def settle(self) -> None:
        """After the end: whatever still waits is dropped, and the ledger must balance."""
        self._abandon("ended")
        self._missing(self.feed.frames)
        self.ledger.balance(self.feed.frames)

    # -- load and health

    def _adapt(self, delay_s: float, now_s: float) -> None:
        if self._overrun:  # pictures were lost before anybody looked: as late as can be
            delay_s, self._overrun = self.config.live.max_latency_s, False
        before, self.level = self.level, self._overload.saw(delay_s, now_s)
        if before is not self.level:
            self.stats.count(f"level {self.level.name.lower()}")
            if Level.SLATE in (before, self.level):
                self._abandon("overload")

    def _canary(self) -> None:
        now_s = time.monotonic()
        if self.canary_s is None or now_s - self.canary_s >= CANARY_EVERY_S:
            self._engines.canary()
            self.canary_s = time.monotonic()

    def _heard(self, sound: Sound) -> None:
        if self._mixer is not None:
            self._mixer.put(sound.pts, sound.samples)

    def _written(self, shown: Any) -> None:
        if shown.arrived_s is not None:
            self.stats.latency(shown.arrived_s)

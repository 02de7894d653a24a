"""One camera's session: receive, look, cover, gate, publish, with a bounded delay.

    feed (thread) -> inbox -> this thread: window, cover, gate -> programme -> outlets (a thread each)
                               looks: a thread beside it

Only what `gate.release` made reaches the programme; whatever fails on the way leaves the programme with a
card that says why. Every picture that came has a fate in the ledger, lost ones too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from veilcast.config import Config
from veilcast.errors import StreamLost, VeilcastError, WorkerHung
from veilcast.pipeline.addresses import Address
from veilcast.pipeline.aside import Answer, Aside
from veilcast.pipeline.backoff import Backoff
from veilcast.pipeline.clocks import TICKS, Clock
from veilcast.pipeline.feed import Connect, Feed
from veilcast.pipeline.inbox import Event, Inbox
from veilcast.pipeline.ledger import Fate
from veilcast.pipeline.live_pictures import Pictures
from veilcast.pipeline.live_stats import Stats
from veilcast.pipeline.mixer import Mixer
from veilcast.pipeline.outlet import Outlet, Shown
from veilcast.pipeline.program import Program
from veilcast.pipeline.publish import Output
from veilcast.pipeline.receive import Arrival, Sound
from veilcast.pipeline.slates import Reason
from veilcast.pipeline.watching import Engines, check_config

MOST_WAITING = 32  # pictures between the receiver and the window
CANARY_EVERY_S = 30.0
WARM_S = 120.0  # that the networks may take to get ready for a size, on a machine that is busy
LOOK_HANGS = 3  # times live.hang_s that one look may take
POLL_S = 0.1


class Session:
    """`run` until `stop`, or until the end of a file. Raises EngineError, PrivacyTripped, WorkerHung:
    then the process is to be replaced; and InputError for a file of which nothing could be shown."""

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
        self._clock = Clock()
        self._inbox = Inbox(MOST_WAITING)
        delay = round(live.max_latency_s * TICKS)
        self._mixer = Mixer(delay) if live.audio == "keep" else None
        self.outlets = [self._outlet(number, output) for number, output in enumerate(outputs)]
        self.program = Program(
            self.outlets, self.start_s, delay, live.slate_after_s, self.stats, self._mixer, size
        )
        connected = connect(self._clock, self.start_s, self._heard if self._mixer else None)
        backoff = Backoff(live.backoff_s, live.backoff_max_s)
        in_pieces = self.start_s if source.kind in ("hls", "http") else None
        is_file = source.kind == "file"
        self.feed = Feed(connected, self._inbox, self._clock, backoff, is_file, in_pieces)
        self._aside = Aside(self._inbox.put)
        self.pictures = Pictures(config, self.program, self.stats, self._aside, self.feed.go.set)
        self._stop = self._ending = False
        self._end: VeilcastError | None = None  # what a file's reading ended with
        self.told = ""
        self.canary_s: float | None = None  # when the networks last gave the right answer
        self._canary_due_s = 0.0

    def _outlet(self, number: int, output: Output) -> Outlet:
        """The first one is that by which latency is told."""
        live = self.config.live
        written = self._written if number == 0 else lambda shown: None
        backoff = Backoff(live.backoff_s, live.backoff_max_s)
        return Outlet(output, backoff, self._mixer if output.has_sound else None, written)

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
        self._aside.stop()

    def check_alive(self) -> None:
        """Raises WorkerHung where a library has not come back, PrivacyTripped where a gate said no."""
        live, now_s = self.config.live, time.monotonic()
        # opening may wait for an answer several times, reading for one packet
        if self.feed.is_alive and now_s - self.feed.beat_s > 3 * live.connect_s + live.stall_s + live.hang_s:
            raise WorkerHung(f"reading from {self.source} hangs")
        patience_s = WARM_S if self.pictures.is_warming else LOOK_HANGS * live.hang_s
        if self._aside.busy_s > patience_s:
            raise WorkerHung("looking for faces hangs")
        for outlet in self.outlets:
            if outlet.fatal is not None:
                raise outlet.fatal
            if now_s - outlet.beat_s > live.connect_s + live.hang_s:
                raise WorkerHung(f"writing to {outlet.output.address} hangs")

    def status(self) -> dict[str, Any]:
        reason, counts = self.program.reason, self.pictures.fates.ledger.counts
        return self.stats.snapshot() | {
            "state": reason.value if reason else "live",
            "told": self.told,
            "level": self.pictures.level.name.lower(),
            "frames_in": self.feed.frames,
            "connections": self.feed.connections,
            "connected": self.feed.connected,
            "camera": self.feed.facts,
            "size": self.feed.size,
            "jumps": self._clock.jumps,
            "faces": self.pictures.faces_now,
            "tracks": self.pictures.tracks_seen,
            "ledger": {fate.value: counts[fate] for fate in Fate},
            "waiting": self.feed.frames - counts.total(),
            "canary_age_s": None if self.canary_s is None else round(time.monotonic() - self.canary_s, 1),
            "outputs": [outlet.status() for outlet in self.outlets],
        }

    # -- the work

    def run(self, engines: AbstractContextManager[Engines]) -> None:
        """Until `stop` or the end of a file. `engines` is opened when the card is already on air."""
        with engines as ready:
            ready.canary()
            self._checked(None)
            self.pictures.use(ready)
            if not self.source.is_remote:
                self.feed.start()
            while not self._stop and not (self._ending and self.pictures.is_empty):
                self._step(ready)
        if self._ending:
            self.pictures.abandon("ended")
            self.program.hide(Reason.ENDED)
            self._check_shown()

    def _step(self, engines: Engines) -> None:
        item = self._inbox.get(min(POLL_S, self.pictures.wait_s))
        if isinstance(item, Arrival):
            self.told = ""  # what was lost is back
            self.pictures.take(item)
        elif isinstance(item, Event):
            self._happened(item)
        elif isinstance(item, Answer):
            item()
        self.pictures.pump()
        if time.monotonic() >= self._canary_due_s and not self._aside.is_busy:
            self._canary_due_s = float("inf")
            self._aside.give(engines.canary, self._checked)

    def _happened(self, event: Event) -> None:
        self.told = event.told
        if event.reason is Reason.ENDED:
            self._ending, self._end = True, event.error
            return self.pictures.end()
        self.pictures.abandon("lost")
        self.program.hide(event.reason)

    def _check_shown(self) -> None:
        """A file of which nobody has seen anything was not played."""
        counts, frames = self.pictures.fates.ledger.counts, self.feed.frames
        if counts[Fate.CLEAN] or counts[Fate.REDACTED]:
            return
        if self._end is not None and not isinstance(self._end, StreamLost):
            raise self._end
        why = f"{counts[Fate.SLATED]} of {frames} pictures were covered whole, {counts[Fate.DROPPED]} dropped"
        raise StreamLost(
            f"nothing of {self.source} was shown: {why if frames else 'no picture of it can be decoded'}; "
            "look at it with veilcast doctor --camera"
        )

    def _checked(self, _: object) -> None:
        """The networks have given the right answer."""
        self.canary_s = time.monotonic()
        self._canary_due_s = self.canary_s + CANARY_EVERY_S

    def settle(self) -> None:
        """After the end: whatever still waits is dropped, and the ledger must balance."""
        self.pictures.abandon("ended")
        self.pictures.fates.settle(self.feed.frames)

    def _heard(self, sound: Sound) -> None:
        if self._mixer is not None:
            self._mixer.put(sound.pts, sound.samples)

    def _written(self, shown: Shown) -> None:
        if shown.arrived_s is not None:
            self.stats.latency(shown.arrived_s)

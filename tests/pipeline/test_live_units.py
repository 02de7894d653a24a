"""The privacy of a live session, piece by piece and without a clock: what its mutants are caught by."""

from __future__ import annotations

import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.live_media import CLIP, write_file
from tests.oracle import Canary, Person, ScriptedDetector, leaks, misses, still, walk

from veilcast.config import Config, Cover, Limits, Live, overlay
from veilcast.errors import PrivacyTripped, StreamLost
from veilcast.pipeline import live_pictures
from veilcast.pipeline.addresses import parse_input, parse_output
from veilcast.pipeline.clocks import BASE, TICKS, Clock
from veilcast.pipeline.cover import cover
from veilcast.pipeline.gate import release
from veilcast.pipeline.ledger import Fate, Ledger
from veilcast.pipeline.live_stats import Stats
from veilcast.pipeline.overload import Level
from veilcast.pipeline.program import Program
from veilcast.pipeline.publish import Output, Publisher
from veilcast.pipeline.receive import Arrival, Receiver
from veilcast.pipeline.shapes import Ellipse, Whole
from veilcast.pipeline.slates import Card, Reason
from veilcast.pipeline.stages import Covers
from veilcast.pipeline.window import Seen, Window
from veilcast.types import Face, Frame


class Scripted:
    """A finder that knows the clip, frame number by frame number."""

    def __init__(self, detector: ScriptedDetector) -> None:
        self.level, self._detector = Level.FULL, detector

    def find(self, frame: Frame, urgent: bool = False, new: bool = False) -> tuple[Face, ...] | None:
        return self._detector.find(frame.index)


class Instead:
    """An `Aside` without a thread: what is given is answered when the test says so, `late` steps later."""

    def __init__(self, late: int = 0) -> None:
        self._late, self._given = late, list[list[Any]]()

    @property
    def is_busy(self) -> bool:
        return bool(self._given)

    def give(self, work: Any, done: Any) -> None:
        self._given.append([self._late, work, done])

    def step(self) -> None:
        for item in list(self._given):
            item[0] -= 1
            if item[0] < 0:
                self._given.remove(item)
                item[2](item[1]())


def arrival(frame: Frame) -> Arrival:
    """At its own time of a clock that the test turns."""
    ticks = round(frame.time * TICKS)
    moved = Frame(frame.index, ticks, BASE, frame.planes, frame.format, frame.colour)
    return Arrival(moved, float(frame.time), None, ticks)


def seen(
    canary: Canary,
    detector: ScriptedDetector,
    config: Config = Config(),  # noqa: B008
    late: int = 0,
) -> list[Seen]:
    """The whole clip through a window whose looks take `late` frames."""
    now_s, aside, found = 0.0, Instead(late), list[Seen]()
    window = Window(config, Scripted(detector), canary.size, aside, lambda: now_s)  # type: ignore[arg-type]
    for frame in canary.frames():
        now_s = float(frame.time)
        window.push(arrival(frame))
        aside.step()
        window.look()
        found += window.due()
    window.end()
    while not window.is_empty:
        aside.step()
        window.look()
        found += window.due()
        now_s += 0.04
    return found


@pytest.mark.parametrize(("late", "missed"), [(0, 4), (3, 0), (6, 0)])
def test_a_live_picture_is_covered_before_its_face_is_first_detected(late: int, missed: int) -> None:
    """Somebody enters, and is missed by quick looks, or looks are slow, or slower than the look-ahead."""
    canary = Canary([Person(1, walk(60, 90, 40, 0, 56), from_s=0.4)], 60)
    covers, ledger, shown = Covers.of(Config()), Ledger(), []
    for item in seen(canary, ScriptedDetector(canary, misses(1, (10, missed))), late=late):
        frame = item.arrival.frame
        if item.late:
            ledger.entry(frame.index, Fate.DROPPED, "late")
            continue
        wanted = covers.regions(frame, item.tracks, Fraction(0)) if item.known else (Whole("unknown"),)
        release(frame, wanted, Cover(), ledger)
        shown.append((frame.index, frame.planes[0]))
    assert len(shown) > canary.count / 2
    assert leaks(canary, shown) == []


def test_no_picture_leaves_before_somebody_has_looked_at_it_or_beyond() -> None:
    """A look that never comes back: nothing is shown, and what waited too long is not written to either."""
    canary = Canary([Person(1, walk(60, 90, 40, 0, 56))], 40)
    found = seen(canary, ScriptedDetector(canary), late=1000)
    assert len(found) == canary.count
    assert all(item.late for item in found)


@pytest.mark.parametrize("enters", range(7, 15))
def test_a_picture_behind_a_look_waits_for_the_next_one(enters: int) -> None:
    """Whenever somebody enters, right behind a look or before: the picture waits, though it is older than the
    look-ahead, and the face is known in it."""
    canary = Canary([Person(1, walk(60, 90, 40, 0, 56), from_s=enters / 25)], 40)
    found = seen(canary, ScriptedDetector(canary), late=4)
    by_index = {item.arrival.frame.index: item for item in found}
    assert all(by_index[n].tracks and not by_index[n].late for n in range(enters, 30))


@pytest.mark.parametrize("enters", range(17, 24))
def test_who_is_there_for_a_moment_between_two_live_looks_is_covered(enters: int) -> None:
    """Looks take five pictures each; somebody is there for three, whenever that is."""
    canary = Canary([Person(1, still(170, 120, 90), from_s=enters / 25, until_s=(enters + 2.5) / 25)], 40)
    by_index = {item.arrival.frame.index: item for item in seen(canary, ScriptedDetector(canary), late=4)}
    shown = [by_index[n] for n in range(enters, enters + 3)]
    assert all(item.late or item.tracks or not item.known for item in shown)


def test_pictures_far_from_any_look_on_one_side_are_not_known() -> None:
    """A network lets go of two seconds at once: looks lie far apart, whatever the time of day."""
    canary = Canary([Person(1, walk(60, 90, 40, 0, 56))], 100)
    patient = overlay(Config(), {"live.max_latency_s": 9})
    found = seen(canary, ScriptedDetector(canary, every=40), patient)
    known = [item.arrival.frame.index for item in found if item.known]
    assert known == [0, 40, 80]


def test_a_picture_that_nobody_looked_at_in_time_is_not_known() -> None:
    canary = Canary([Person(1, walk(60, 90, 40, 0, 56))], 60)
    patient = overlay(Config(), {"live.max_latency_s": 5})
    found = seen(canary, ScriptedDetector(canary, every=50), patient)
    known = {item.arrival.frame.index: item.known for item in found}
    assert known[0]
    assert known[50]
    assert not known[25]  # a second from either look, and cover leads and lags by .4 s


def test_a_live_output_takes_nothing_but_what_the_gate_let_through(tmp_path: Path) -> None:
    raw = CLIP.frame(0)
    with Publisher(Output(parse_output(str(tmp_path / "x.mkv")), Live()), (320, 240)) as publisher:
        for passed in (raw, arrival(raw), cover(raw, (), Cover()), raw.planes):
            with pytest.raises(PrivacyTripped, match="instead of a SafeFrame"):
                publisher.write(passed, 0)  # type: ignore[arg-type]


class Sink:
    """An outlet that only remembers."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    def put(self, shown: Any) -> None:
        self.items.append(shown.item)

    def stop(self) -> None: ...


def program(sink: Sink, slate_after_s: float = 1.0) -> Program:
    return Program([sink], time.monotonic(), 0, slate_after_s, Stats(), size=(320, 240))  # type: ignore[list-item]


def test_a_picture_that_is_covered_whole_is_shown_as_a_card() -> None:
    sink, ledger = Sink(), Ledger()
    on_air = program(sink)
    face = Ellipse(60, 90, 40, 40, 1)
    on_air.show(release(CLIP.frame(0), (face,), Cover(), ledger), 0, time.monotonic())
    on_air.show(release(CLIP.frame(1), (Whole("damaged"),), Cover(), ledger), 1, time.monotonic())
    assert type(sink.items[0]).__name__ == "SafeFrame"
    assert [getattr(item, "reason", "a picture") for item in sink.items[1:]] == [Reason.DAMAGED]
    assert on_air.reason is Reason.DAMAGED


def test_a_card_is_shown_when_pictures_stop() -> None:
    sink = Sink()
    on_air = program(sink, 0.1)
    safe = release(CLIP.frame(0), (Ellipse(60, 90, 40, 40, 1),), Cover(), Ledger())
    on_air.show(safe, 0, time.monotonic())
    on_air.start()
    end_s = time.monotonic() + 10
    while len(sink.items) < 2 and time.monotonic() < end_s:
        time.sleep(0.02)
    on_air.stop()
    assert [item.reason for item in sink.items[1:2]] == [Reason.LOST]


def test_a_live_cover_that_fails_is_a_slate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails in drawing, the picture leaves as a slate."""

    def broken(*rest: object) -> None:
        raise ValueError("secret")

    frame, ledger = CLIP.frame(0), Ledger()
    monkeypatch.setattr("veilcast.pipeline.gate.cover", broken)
    safe = live_pictures.__dict__["release"](frame, (Ellipse(60, 90, 40, 40, 1),), Cover(), ledger)
    assert safe.covered.regions == (Whole("cover failed: ValueError"),)
    assert len(np.unique(frame.planes[0])) == 1


def test_a_damaged_live_stream_is_marked_until_the_next_key_frame(tmp_path: Path) -> None:
    film = write_file(tmp_path / "clip.ts")
    data = bytearray(film.read_bytes())
    rng = np.random.default_rng(3)
    for at in rng.integers(len(data) // 4, len(data) // 2, 40):
        data[int(at)] ^= 0x55
    film.write_bytes(data)
    damaged: list[bool] = []
    with Receiver(parse_input(str(film)), Live(), Limits(), Clock(), time.monotonic(), 0) as receiver:
        frames = receiver.frames()
        with suppress(StreamLost):
            while True:
                item = next(frames)
                damaged.append(item.frame.damaged)
                if damaged[-2:] == [True, False]:  # it is over with a key frame and not before
                    assert item.picture.key_frame
    assert len(damaged) > CLIP.count / 2
    assert sum(damaged) >= 1


def test_a_card_holds_no_pixels() -> None:
    assert set(Card.__dataclass_fields__) == {"pts", "reason", "size"}

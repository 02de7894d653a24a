"""One live session from end to end over a real RTSP server: nobody is shown, whatever happens."""

from __future__ import annotations

import time
from pathlib import Path

import av
import numpy as np
import pytest
from tests.live_media import CLIP, served, shown, unredacted, write_file, write_units
from tests.live_session import CALM, KnowingFinder, decoded, played, read_back, running, wait_until
from tests.oracle import Canary, Person, walk

from veilcast.config import overlay
from veilcast.errors import EngineError
from veilcast.pipeline.overload import Level
from veilcast.pipeline.watching import Engines


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_units(tmp_path_factory.mktemp("camera") / "clip.units")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_file(tmp_path_factory.mktemp("film") / "clip.mp4")


def numbers(lumas: list[np.ndarray]) -> list[int]:
    return [n for n in shown(lumas) if n is not None]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_control_the_camera_shows_everybody(units: Path, transport: str) -> None:
    with served(units) as server:
        lumas = read_back(server.url("cam"), 60, transport)
    assert len(numbers(lumas)) >= 50
    assert len(unredacted(lumas)) > 80  # two people, but for those who are behind another


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_no_face_leaks_from_a_camera_to_a_server(units: Path, transport: str, tmp_path: Path) -> None:
    config = overlay(CALM, {"live.transport": transport})
    record = tmp_path / "record.ts"
    with (
        served(units) as server,
        running(server.url("cam"), server.url("live"), record, config=config) as run,
    ):
        run.pictures(5)
        back = read_back(server.url("back"), 60, transport)
        run.pictures(40)
    assert len(numbers(back)) > 40
    assert unredacted(back) == []
    everything = decoded(record)
    assert len(numbers(everything)) > 60
    assert unredacted(everything) == []


def test_nothing_but_slates_until_the_first_pictures_are_checked(film: Path, tmp_path: Path) -> None:
    class Slow(KnowingFinder):
        def warm(self, frame: object) -> None:
            time.sleep(2.0)

    played(film, tmp_path / "out.mkv", finder=Slow)
    seen = shown(decoded(tmp_path / "out.mkv"))
    first = next(n for n, what in enumerate(seen) if what is not None)
    assert first >= 2  # cards came before
    assert all(what is not None for what in seen[first : first + 60])
    assert unredacted(decoded(tmp_path / "out.mkv")) == []


def test_every_picture_of_a_file_that_is_played_leaves_covered(film: Path, tmp_path: Path) -> None:
    run = played(film, tmp_path / "out.mkv")
    lumas = decoded(tmp_path / "out.mkv")
    assert numbers(lumas)[-20:] == list(range(CLIP.count - 20, CLIP.count))
    assert unredacted(lumas) == []
    assert run.session.status()["ledger"]["redacted"] == CLIP.count


def test_a_camera_that_goes_away_leaves_a_slate_and_comes_back(units: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.ts"
    with served(units) as first, running(first.url("cam"), record) as run:
        run.pictures(20)
        gone_s = time.monotonic()
        first.process.kill()
        first.process.wait()
        run.state("lost")
        assert time.monotonic() - gone_s < 10
        run.until(lambda status: first.url("cam") in status["told"], "the reason")
        with served(units, "--port", str(first.port)) as second:
            assert second.port == first.port
            run.state("live")
            assert run.session.status()["told"] == ""
            run.pictures(20)
        assert run.session.status()["connections"] == 2
    lumas = decoded(record)
    seen = shown(lumas)
    pictures = [n for n, what in enumerate(seen) if what is not None]
    assert None in seen[pictures[0] : pictures[-1]]  # picture, slate, picture
    assert unredacted(lumas) == []


def test_a_camera_that_changes_its_size_is_shown_at_the_first_size(units: Path, tmp_path: Path) -> None:
    other = Canary(
        [Person(1, walk(90, 150, 45, 5, 84)), Person(2, walk(390, 240, -35, 0, 72))], 100, (480, 360)
    )
    larger = write_units(tmp_path / "larger.units", other)
    record = tmp_path / "record.ts"

    class Either:
        def __init__(self) -> None:
            self.level = Level.FULL
            self.small, self.large = KnowingFinder(every=1), KnowingFinder(other, every=1)

        def warm(self, frame: object) -> None: ...

        def find(self, frame, urgent=False, new=False):  # type: ignore[no-untyped-def]
            return (self.large if frame.size == (480, 360) else self.small).find(frame)

    with served(units) as first, running(first.url("cam"), record, finder=Either) as run:
        run.pictures(20)
        first.process.kill()
        first.process.wait()
        run.state("lost")
        with served(larger, "--port", str(first.port)):
            run.state("live")
            run.pictures(20)
    lumas = decoded(record)
    assert {luma.shape for luma in lumas} == {(240, 320)}
    # both clips scaled to one size: neither's people are to be seen
    small = Canary([Person(1, walk(60, 100, 30, 3.33, 56)), Person(2, walk(260, 160, -23.3, 0, 48))], 100)
    assert unredacted(lumas) == []
    assert unredacted(lumas, small) == []


def test_a_finder_that_fails_ends_the_session_and_shows_nobody(film: Path, tmp_path: Path) -> None:
    run = played(film, tmp_path / "out.mkv", finder=lambda: KnowingFinder(fail_at=30))
    assert len(run.errors) == 1
    lumas = decoded(tmp_path / "out.mkv")
    assert max(numbers(lumas)) < 31
    assert unredacted(lumas) == []


def test_networks_that_answer_wrongly_are_never_used(film: Path, tmp_path: Path) -> None:
    def wrong() -> None:
        raise EngineError("expected one face, found nothing")

    run = played(film, tmp_path / "out.mkv", engines=Engines(KnowingFinder, canary=wrong))
    assert isinstance(run.errors[0], EngineError)
    assert not (tmp_path / "out.mkv").exists() or numbers(decoded(tmp_path / "out.mkv")) == []


def test_what_gives_way_under_load_is_never_the_cover(units: Path, tmp_path: Path) -> None:
    """Looks that take longer than a picture may wait: the levels come in their order."""
    finders: list[KnowingFinder] = []

    def slow() -> KnowingFinder:
        finders.append(KnowingFinder(wait_s=1.2))
        return finders[-1]

    config = overlay(CALM, {"live.max_latency_s": 1.0})
    record = tmp_path / "record.ts"
    with served(units) as server, running(server.url("cam"), record, config=config, finder=slow) as run:
        run.until(lambda status: status["counts"].get("level slate", 0) > 0, "the slate")
        status = run.session.status()
    counts = status["counts"]
    assert {"level scales", "level steps", "level solid", "level slate"} <= set(counts)
    assert status["slates"].get("overload", 0) + status["slates"].get("starting", 0) > 0
    assert unredacted(decoded(record)) == []


def test_a_damaged_stream_is_a_slate_until_the_next_key_frame(tmp_path: Path) -> None:
    film = write_file(tmp_path / "clip.ts")
    data = bytearray(film.read_bytes())
    rng = np.random.default_rng(3)
    for at in rng.integers(len(data) // 4, len(data) * 3 // 4, 60):
        data[int(at)] ^= 0x55
    film.write_bytes(data)
    run = played(film, tmp_path / "out.mkv")
    lumas = decoded(tmp_path / "out.mkv")
    status = run.session.status()
    assert status["ledger"]["slated"] > 5
    assert status["slates"]["damaged"] > 0
    assert unredacted(lumas) == []


def test_a_clock_that_jumps_to_and_fro_shows_nobody(film: Path, tmp_path: Path) -> None:
    """Three clips in one stream, each with a clock of its own: an hour on, then back to the start."""
    parts = []
    for number, offset_s in enumerate((0, 3600, 10)):
        part = tmp_path / f"{number}.ts"
        with av.open(str(film)) as source, av.open(str(part), "w") as out:
            stream = out.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.pts = (packet.pts or 0) + round(offset_s / packet.time_base)
                    packet.dts += round(offset_s / packet.time_base)
                    packet.stream = stream
                    out.mux(packet)
        parts.append(part.read_bytes())
    (tmp_path / "jumps.ts").write_bytes(b"".join(parts))
    run = played(tmp_path / "jumps.ts", tmp_path / "out.mkv")
    lumas = decoded(tmp_path / "out.mkv")
    assert run.session.status()["jumps"] >= 2
    assert len(numbers(lumas)) > CLIP.count
    assert unredacted(lumas) == []


def test_a_bad_peer_is_told_without_end_and_without_its_words(tmp_path: Path) -> None:
    with running("rtsp://127.0.0.1:9/nothing", tmp_path) as run:
        run.until(lambda status: "failed" in status["told"], "a failure is told")
        wait_until(lambda: run.session.outlets[0].is_open, "the slate is on air")
        status = run.session.status()
    assert status["state"] == "connecting"
    assert numbers(decoded(*tmp_path.iterdir())) == []

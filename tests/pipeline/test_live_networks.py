"""A camera behind a bad network: whatever is lost on the way, nobody is shown, and the picture comes back."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.live_media import number, unredacted, write_units
from tests.live_session import CALM, decoded, read_back, running
from tests.networks import link

from veilcast.config import overlay

WATCHED_S = 6.0


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_units(tmp_path_factory.mktemp("camera") / "clip.units")


def numbered(path: Path) -> int:
    return sum(number(luma) is not None for luma in decoded(path))


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_control_what_comes_over_a_bad_network_shows_everybody(units: Path, transport: str) -> None:
    with link() as far, far.served(units) as server:
        far.lose(1)
        assert len(unredacted(read_back(server.url("cam"), 40, transport))) > 20


@pytest.mark.parametrize("percent", [1, 5, 20])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_nobody_is_shown_however_many_packets_are_lost(
    units: Path, transport: str, percent: int, tmp_path: Path
) -> None:
    config = overlay(CALM, {"live.transport": transport, "live.connect_s": 10, "live.stall_s": 2})
    record = tmp_path / "record.ts"
    with link() as far, far.served(units) as server, running(server.url("cam"), record, config=config) as run:
        run.pictures(5)  # before anything is lost
        far.lose(percent)
        time.sleep(WATCHED_S)
        run.until(lambda status: bool(status["outputs"][0]["open"]), "something is on air")
    assert numbered(record) >= 5
    assert unredacted(decoded(record)) == []


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_nobody_is_shown_over_a_link_that_is_too_narrow(units: Path, transport: str, tmp_path: Path) -> None:
    kbit = units.stat().st_size * 8 // 1000 // 4 // 3  # a third of what four seconds of the clip take
    config = overlay(CALM, {"live.transport": transport, "live.stall_s": 2})
    record = tmp_path / "record.ts"
    with link() as far, far.served(units) as server, running(server.url("cam"), record, config=config) as run:
        run.pictures(5)
        far.narrow(kbit)
        time.sleep(WATCHED_S)
    assert unredacted(decoded(record)) == []


def test_a_link_that_flaps_leaves_slates_and_the_picture_comes_back(units: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.ts"
    config = overlay(CALM, {"live.stall_s": 1})
    with link() as far, far.served(units) as server, running(server.url("cam"), record, config=config) as run:
        for _ in range(2):
            run.state("live")
            run.pictures(10)
            far.up(False)
            run.state("lost")
            far.up(True)
        run.state("live")
        run.pictures(10)
        assert run.session.status()["slates"]["lost"] > 0
    assert unredacted(decoded(record)) == []

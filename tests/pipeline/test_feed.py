"""A file that is played as if it were live: it waits until somebody looks, and has an end."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest
from tests.live_media import CLIP, shown, unredacted, write_file
from tests.live_session import KnowingFinder, decoded, played

from veilcast.config import Limits, Live
from veilcast.errors import StreamLost
from veilcast.pipeline.addresses import parse_input
from veilcast.pipeline.clocks import Clock
from veilcast.pipeline.receive import Receiver

PATIENCE_S = 0.4  # in place of a quarter of a minute


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_file(tmp_path_factory.mktemp("film") / "clip.mp4")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("veilcast.pipeline.receive.UNHEALTHY_S", PATIENCE_S)


def received(path: Path, waiting_s: float) -> int:
    """How many pictures come of a file whose first ones are each looked at for so long."""
    count = 0
    with (
        Receiver(parse_input(str(path)), Live(), Limits(), Clock(), time.monotonic(), 0) as receiver,
        suppress(StreamLost),
    ):
        for _ in receiver.frames():
            count += 1
            time.sleep(waiting_s if count <= 3 else 0)
    return count


@pytest.mark.usefixtures("impatient")
def test_who_takes_long_over_a_picture_is_not_taken_for_a_camera_that_shows_nothing(film: Path) -> None:
    assert received(film, 2 * PATIENCE_S) == CLIP.count


@pytest.mark.usefixtures("impatient")
def test_a_file_waits_however_long_the_networks_take_to_get_ready(film: Path, tmp_path: Path) -> None:
    class Slow(KnowingFinder):
        def warm(self, frame: object) -> None:
            time.sleep(4 * PATIENCE_S)

    run = played(film, tmp_path / "out.mkv", finder=Slow)
    lumas = decoded(tmp_path / "out.mkv")
    assert run.session.status()["ledger"]["redacted"] >= CLIP.count - 1
    assert sum(n is not None for n in shown(lumas)) > CLIP.count - 10
    assert unredacted(lumas) == []

"""A file that is played as if it were live: it waits until somebody looks, and has an end."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
from tests.live_media import CLIP, shown, unredacted, write_file
from tests.live_session import KnowingFinder, decoded, played

from veilcast.config import Limits, Live
from veilcast.errors import InputMissing, NotVideo, StreamLost, VeilcastError
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


def unplayable(folder: Path, film: Path) -> dict[str, Path]:
    """Files of which nothing can be shown."""
    (folder / "folder.mp4").mkdir()
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("Not a video.\n")
    with av.open(str(folder / "sound.mp4"), "w") as out:
        sound = out.add_stream("aac", rate=48000)
        assert isinstance(sound, av.AudioStream)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 48000
        out.mux(sound.encode(silence))
        out.mux(sound.encode(None))
    with av.open(str(film)) as source, av.open(str(folder / "damaged.mkv"), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None and not packet.is_keyframe:
                packet.stream = stream
                out.mux(packet)
    return {path.stem: path for path in [*folder.iterdir(), folder / "missing.mp4"]}


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("missing", InputMissing, "there is no file"),
        ("folder", InputMissing, "there is no file"),
        ("empty", NotVideo, "is not a video"),
        ("text", NotVideo, "is not a video"),
        ("sound", NotVideo, "sends no video"),
        ("damaged", StreamLost, "look at it with veilcast doctor"),
    ],
)
def test_a_file_of_which_nothing_can_be_shown_ends_with_the_reason(
    name: str, error: type[VeilcastError], told: str, film: Path, tmp_path: Path
) -> None:
    path = unplayable(tmp_path, film)[name]
    (met,) = played(path, tmp_path / "out.mkv").errors
    assert type(met) is error
    assert told in str(met)
    assert path.name in str(met)


def test_a_file_that_breaks_off_was_played_all_the_same(film: Path, tmp_path: Path) -> None:
    (tmp_path / "half.ts").write_bytes(write_file(tmp_path / "clip.ts").read_bytes()[:60_000])
    run = played(tmp_path / "half.ts", tmp_path / "out.mkv")
    assert run.errors == []
    assert run.session.status()["ledger"]["redacted"] > 5


@pytest.mark.parametrize(("name", "told", "code"), [("missing", "no file", 10), ("text", "not a video", 11)])
def test_the_command_ends_with_the_exit_code_of_a_file_that_cannot_be_played(
    name: str, told: str, code: int, film: Path, tmp_path: Path
) -> None:
    path = unplayable(tmp_path, film)[name]
    words = [sys.executable, "-m", "veilcast", "live", "--in", str(path), "--out", str(tmp_path / "out.mkv")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code
    assert told in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out.mkv").exists()

"""Every kind of output and input that is not RTSP, on loopback: the same pictures, covered."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
from tests.live_media import CLIP, number, shown, unredacted, write_file
from tests.live_session import CALM, decoded, played, running

from veilcast.config import overlay
from veilcast.types import Plane


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_file(tmp_path_factory.mktemp("film") / "clip.mp4", audio=True)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def listening(url: str, target: Path, *options: str) -> Iterator[None]:
    """What is sent to the address is in `target` when the block is left."""
    command = [sys.executable, "-m", "tests.listen", url, str(target), *options]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            time.sleep(2)  # until it listens
            yield
            process.wait(60)
        finally:
            process.kill()


def check(lumas: list[Plane], least: int = 50) -> None:
    assert sum(number(luma) is not None for luma in lumas) >= least
    assert unredacted(lumas) == []


def test_a_rolling_playlist_has_segments_of_a_second_at_most(film: Path, tmp_path: Path) -> None:
    config = overlay(CALM, {"live.playlist": 3})
    played(film, tmp_path / "index.m3u8", config=config)
    text = (tmp_path / "index.m3u8").read_text()
    durations = [float(line[8:].rstrip(",")) for line in text.splitlines() if line.startswith("#EXTINF:")]
    assert len(durations) == 3
    assert max(durations) <= 1.0
    # what rolled out is deleted; one or two more are kept for readers who are late
    assert len(list(tmp_path.glob("*.ts"))) <= 3 + 4
    check(decoded(*sorted(tmp_path.glob("*.ts"))), 30)


def test_a_folder_gets_a_file_every_so_often_each_complete(film: Path, tmp_path: Path) -> None:
    played(film, tmp_path, config=overlay(CALM, {"live.segment_s": 1}))
    files = sorted(tmp_path.iterdir())
    assert len(files) >= 3
    assert {path.suffix for path in files} == {".mkv"}
    lumas = decoded(*files)
    assert [n for n in shown(lumas) if n is not None][-30:] == list(range(CLIP.count - 30, CLIP.count))
    assert unredacted(lumas) == []


def test_mpegts_over_udp(film: Path, tmp_path: Path) -> None:
    port = free_port(socket.SOCK_DGRAM)
    with listening(f"udp://127.0.0.1:{port}", tmp_path / "got.mkv", "buffer_size=4000000"):
        played(film, f"udp://127.0.0.1:{port}")
    check(decoded(tmp_path / "got.mkv"))


def test_rtmp_to_a_server(film: Path, tmp_path: Path) -> None:
    port = free_port()
    with listening(f"rtmp://127.0.0.1:{port}/live/key", tmp_path / "got.mkv", "listen=1"):
        played(film, f"rtmp://127.0.0.1:{port}/live/key")
    check(decoded(tmp_path / "got.mkv"))


def test_sound_is_dropped_unless_it_is_kept(film: Path, tmp_path: Path) -> None:
    played(film, tmp_path / "silent.mp4")
    # the silence before the first picture is as long as the delay, and is encoded all at once
    keep = {"live.audio": "keep", "live.slate_after_s": 10, "live.max_latency_s": 4}
    played(film, tmp_path / "sound.mp4", config=overlay(CALM, keep))
    with av.open(str(tmp_path / "silent.mp4")) as silent, av.open(str(tmp_path / "sound.mp4")) as sound:
        assert [stream.type for stream in silent.streams] == ["video"]
        assert [stream.type for stream in sound.streams] == ["video", "audio"]
        heard = [np.asarray(frame.to_ndarray()) for frame in sound.decode(audio=0)]
    loud = [float(np.abs(piece).max()) > 0.1 for piece in heard]
    assert sum(loud) > 20  # of 187; before them is silence, as long as the slate was shown
    check(decoded(tmp_path / "sound.mp4"), 20)


def test_http_and_hls_inputs(film: Path, tmp_path: Path) -> None:
    """A web server's files, read as streams; the playlist is one of our own."""
    from tests.web import serving

    folder = tmp_path / "web"
    folder.mkdir()
    played(film, folder / "index.m3u8", config=overlay(CALM, {"live.playlist": 100}))
    write_file(folder / "clip.ts")
    with serving(folder) as port:
        for name in ("clip.ts", "index.m3u8"):
            record = tmp_path / f"{name}.mkv"
            with running(f"http://127.0.0.1:{port}/{name}", record) as run:
                run.until(lambda status: status["frames_in"] > 40, "pictures come")
                run.until(lambda status: status["counts"].get("pictures out", 0) > 20, "pictures leave")
            assert unredacted(decoded(record)) == []


def test_an_output_that_breaks_is_opened_again_and_holds_up_nobody(film: Path, tmp_path: Path) -> None:
    nowhere = f"rtsp://127.0.0.1:{free_port()}/live"
    run = played(film, tmp_path / "out.mkv", nowhere)
    check(decoded(tmp_path / "out.mkv"), CLIP.count - 5)
    status = run.session.status()["outputs"]
    assert status[1]["lost"] > 0
    assert "could not be written" in status[1]["told"]

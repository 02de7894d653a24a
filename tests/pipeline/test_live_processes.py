"""Cameras as processes: killed, stopped, replaced, reconfigured. Zones cover the people of the clip, so that
no network has to find them; the oracle looks at everything that was ever written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.live_media import served, shown, unredacted, write_file, write_units
from tests.live_session import CALM, decoded, wait_until
from tests.media import Clip, make

from veilcast.config import overlay
from veilcast.errors import ConfigError
from veilcast.pipeline.addresses import parse_input, parse_output
from veilcast.pipeline.cameras import Cameras
from veilcast.pipeline.keeper import Keeper
from veilcast.pipeline.live_job import Camera

# everything but the corner with the number
EVERYBODY = "0,12 320,12 320,240 0,240"
BUSY: dict[str, object] = {"live.max_latency_s": 25, "live.hang_s": 6, "zones": EVERYBODY}


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_units(tmp_path_factory.mktemp("camera") / "clip.units")


def camera(url: str, out: Path, name: str = "door", crf: int = 23) -> Camera:
    settings = overlay(CALM, BUSY | {"live.crf": crf})
    return Camera(name, parse_input(url), (parse_output(f"{out}/" if out.is_dir() else str(out)),), settings)


@contextmanager
def kept(asked: Camera) -> Iterator[Keeper]:
    events: list[tuple[str, dict[str, Any]]] = []
    keeper = Keeper(asked, lambda name, facts: events.append((name, facts)))
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop()


def until(keeper: Keeper, condition: Any, what: str) -> None:
    wait_until(lambda: condition(keeper.status()), what, keeper.status, most_s=120)


def umask() -> int:
    """As the user has it."""
    os.umask(own := os.umask(0))
    return own


def recorded(folder: Path) -> list[Any]:
    """Every picture of a folder, also of files that a killed process left behind."""
    lumas = []
    for path in sorted(folder.iterdir()):
        try:
            lumas += decoded(path)
        except (OSError, ValueError):
            continue
    return lumas


def test_a_camera_whose_process_is_killed_and_stopped_is_back_and_shows_nobody(
    units: Path, tmp_path: Path
) -> None:
    with served(units) as server, kept(camera(server.url("cam"), tmp_path)) as keeper:
        until(keeper, lambda s: s["state"] == "live", "the picture")
        for number, sent in enumerate((signal.SIGKILL, signal.SIGSTOP), 1):
            pid = keeper.status()["pid"]
            os.kill(pid, sent)
            until(keeper, lambda s, n=number: s["restarts"] == n, "the restart")
            until(keeper, lambda s, before=pid: s["state"] == "live" and s["pid"] != before, "the picture")
            assert not psutil.pid_exists(pid)
        assert keeper.status()["alarm"] is False
        # what waited in the processes that ended waits no more, and what came since is worked off
        until(keeper, lambda s: s["waiting"] < 100, "the backlog to be worked off")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o666 & ~umask()}
    lumas = recorded(tmp_path)
    assert sum(n is not None for n in shown(lumas)) > 20
    assert unredacted(lumas) == []


def test_what_was_recorded_into_one_file_is_there_after_its_process_was_killed(
    units: Path, tmp_path: Path
) -> None:
    with served(units) as server, kept(camera(server.url("cam"), tmp_path / "rec.mkv")) as keeper:
        until(keeper, lambda s: s["counts"].get("pictures out", 0) > 50, "a recording")
        os.kill(keeper.status()["pid"], signal.SIGKILL)
        until(keeper, lambda s: s["restarts"] == 1 and s["state"] == "live", "the picture")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rec-0001.mkv", "rec.mkv.part"]
    before, after = decoded(tmp_path / "rec.mkv.part"), decoded(tmp_path / "rec-0001.mkv")
    assert sum(n is not None for n in shown(before)) > 20
    assert any(n is not None for n in shown(after))
    assert unredacted(before + after) == []


def test_the_ladder_ends_in_a_held_slate_and_an_alarm(tmp_path: Path) -> None:
    """Weights that are not there: no restart can mend it, and the output shows the slate all the same."""
    (tmp_path / "models").mkdir()
    (tmp_path / "out").mkdir()
    film = write_file(tmp_path / "clip.mp4")
    asked = camera(str(film), tmp_path / "out")
    with kept(
        Camera(asked.name, asked.source, asked.outputs, asked.config, models=tmp_path / "models")
    ) as keeper:
        until(keeper, lambda s: s["alarm"] and s["slates"].get("fault", 0) > 10, "the held slate")
        status = keeper.status()
    assert status["state"] == "fault"
    assert "models pull" in status["error"]
    lumas = recorded(tmp_path / "out")
    assert lumas
    assert all(n is None for n in shown(lumas))


def test_what_changes_is_started_anew_and_the_rest_is_not_touched(units: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with served(units) as server, Cameras() as cameras:
        url = server.url("cam")
        first, second = camera(url, tmp_path / "a", name="a"), camera(url, tmp_path / "b", name="b")
        cameras.apply([first, second])
        wait_until(lambda: all(s["state"] == "live" for s in cameras.status()), "both", cameras.status, 120)
        before = {s["name"]: s["pid"] for s in cameras.status()}
        cameras.apply([first, camera(url, tmp_path / "b", name="b", crf=30)])
        with pytest.raises(ConfigError, match="same name"):
            cameras.apply([first, first])
        wait_until(lambda: all(s["state"] == "live" for s in cameras.status()), "both", cameras.status, 120)
        after = {s["name"]: s["pid"] for s in cameras.status()}
        assert after["a"] == before["a"]
        assert after["b"] != before["b"]
        cameras.apply([first])
        assert [s["name"] for s in cameras.status()] == ["a"]
        assert not psutil.pid_exists(after["b"])
    for name in ("a", "b"):
        lumas = recorded(tmp_path / name)
        assert sum(n is not None for n in shown(lumas)) > 5
        assert unredacted(lumas) == []


@contextmanager
def command(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], list[dict[str, Any]]]]:
    """`veilcast live`, and what it has logged so far is read at the end."""
    words = [sys.executable, "-m", "veilcast", "live", *map(str, arguments)]
    log: list[dict[str, Any]] = []
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, log
        finally:
            process.terminate()
            try:
                _, told = process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            log += [json.loads(line) for line in told.splitlines() if line.startswith("{")]
            log.append({"all": told})


SECRET = "pa55-w0rd-s3cret"


def test_cameras_from_a_file_with_a_password_that_nobody_sees(units: Path, tmp_path: Path) -> None:
    """The command, a protected camera, a change of the file while it runs, and SIGKILL at the end."""
    (tmp_path / "out").mkdir()
    (tmp_path / "login").write_text(f"anna:{SECRET}\n")
    with served(units, "--user", "anna", "--password", SECRET) as server:
        text = (
            f'zones = "{EVERYBODY}"\n[live]\nmax_latency_s = 25\nhang_s = 20\n[[camera]]\nname = "door"\n'
            f'in = "{server.url("cam")}"\nin_credentials = "login"\nout = "out/"\npreview = false\n'
        )
        (tmp_path / "cameras.toml").write_text(text)
        with command("--config", tmp_path / "cameras.toml") as (process, log):
            wait_until(lambda: _pictures(tmp_path / "out") > 0, "a recording", most_s=120)
            parent = psutil.Process(process.pid)
            child = parent.children()[0]
            for member in (parent, child):
                assert SECRET not in " ".join(member.cmdline())
                assert SECRET not in " ".join(member.environ().values())
            (tmp_path / "cameras.toml").write_text(text + "nonsense = 1\n")
            time.sleep(3)
            (tmp_path / "cameras.toml").write_text(text.replace("hang_s = 20", "hang_s = 21"))
            wait_until(lambda: not child.is_running(), "the camera is ended", most_s=120)
            wait_until(lambda: bool(parent.children()), "the camera is started anew", most_s=60)
            time.sleep(1)  # until that is told
        told = log.pop()["all"]
    events = [line["event"] for line in log]
    assert "reload refused" in events
    assert "reloaded" in events
    assert SECRET not in told
    assert unredacted(recorded(tmp_path / "out")) == []


def _pictures(folder: Path) -> int:
    return sum(path.stat().st_size > 20_000 for path in folder.iterdir())


def test_the_children_end_with_a_killed_parent(tmp_path: Path) -> None:
    make(tmp_path / "clip.mp4", Clip(frames=500))
    with command("--in", tmp_path / "clip.mp4", "--out", tmp_path / "out.mkv") as (process, _):
        parent = psutil.Process(process.pid)
        wait_until(lambda: bool(parent.children()), "the camera's process", most_s=60)
        child = parent.children()[0]
        process.kill()
        wait_until(lambda: not child.is_running(), "the child has ended", most_s=30)


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (["--in", "rtsp://a:b@127.0.0.1/x", "--out", "x.mkv"], "must not hold a user or a password", 3),
        (["--in", "gopher://x", "--out", "x.mkv"], "is not known", 3),
        (["--in", "x.mp4"], "name an output", 3),
        ([], "name a camera", 3),
        (["--in", "x.mp4", "--out", "none/x.mkv"], "does not exist", 21),
        (["--in", "x.mp4", "--out", "x.avi"], "must end in", 3),
        (["--in", "x.mp4", "--out", "x.mkv", "--look-ahead", "1"], "look_ahead_s must be less", 3),
        (["--config", "none.toml"], "cannot read the cameras file", 3),
        (["--config", "unseen.toml"], "camera door has no output", 3),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    arguments: list[str], told: str, code: int, tmp_path: Path
) -> None:
    (tmp_path / "unseen.toml").write_text('[[camera]]\nname = "door"\nin = "rtsp://127.0.0.1:9/cam"\n')
    words = [sys.executable, "-m", "veilcast", "live", *arguments]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == code
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_service_without_what_it_needs_is_one_sentence(tmp_path: Path) -> None:
    """The extra `live` is not installed."""
    (tmp_path / "fastapi.py").write_text("raise ModuleNotFoundError")
    words = ["live", "--in", "rtsp://127.0.0.1:9/cam", "--listen", "127.0.0.1:0"]
    done = subprocess.run(
        [sys.executable, "-m", "veilcast", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,  # which `python -m` imports from
    )
    assert done.returncode == 3
    assert "pip install 'veilcast[live]'" in done.stderr.splitlines()[-1]


def test_a_camera_that_freezes_is_a_slate_and_comes_back(units: Path, tmp_path: Path) -> None:
    """SIGSTOP of the camera itself: it holds its connection and says nothing."""
    with served(units) as server, kept(camera(server.url("cam"), tmp_path)) as keeper:
        until(keeper, lambda s: s["state"] == "live", "the picture")
        os.kill(server.process.pid, signal.SIGSTOP)
        until(keeper, lambda s: s["state"] == "lost", "the slate")
        os.kill(server.process.pid, signal.SIGCONT)
        until(keeper, lambda s: s["state"] == "live", "the picture")
        assert keeper.status()["restarts"] == 0
    assert unredacted(recorded(tmp_path)) == []


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_a_server_that_is_published_to_holds_up_no_other_output(
    units: Path, sent: signal.Signals, tmp_path: Path
) -> None:
    with served(units) as server, served() as sink:
        asked = camera(server.url("cam"), tmp_path)
        both = replace(asked, outputs=(*asked.outputs, parse_output(sink.url("live"))))
        with kept(both) as keeper:
            until(keeper, lambda s: s["state"] == "live" and s["outputs"][1]["open"], "both outputs")
            os.kill(sink.process.pid, sent)
            before = keeper.status()["counts"]["pictures out"]
            until(keeper, lambda s: s["counts"].get("pictures out", 0) > before + 50, "the recording goes on")
            assert keeper.status()["state"] == "live"
    assert unredacted(recorded(tmp_path)) == []


def test_a_parent_that_is_stopped_for_a_while_leaves_its_camera_on_air(units: Path, tmp_path: Path) -> None:
    with served(units) as server:
        (tmp_path / "out").mkdir()
        words = ["--in", server.url("cam"), "--out", f"{tmp_path / 'out'}/", "--zones", EVERYBODY]
        with command(*words, "--max-latency", "25") as (process, log):
            wait_until(lambda: _pictures(tmp_path / "out") > 0, "a recording", most_s=120)
            child = psutil.Process(process.pid).children()[0]
            process.send_signal(signal.SIGSTOP)
            try:
                time.sleep(12)
            finally:
                process.send_signal(signal.SIGCONT)
            time.sleep(2)
            assert child.is_running()
    assert "restarting" not in [line.get("event") for line in log]
    assert unredacted(recorded(tmp_path / "out")) == []

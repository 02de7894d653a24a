"""Health, metrics and the preview page: what they say of cameras that are well and of others."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.live_media import CLIP, write_file
from tests.live_session import wait_until

pytest.importorskip("fastapi", reason="the extra `live` is not installed")
pytest.importorskip("httpx", reason="fastapi's test client needs httpx")

import uvicorn
from fastapi.testclient import TestClient

from veilcast.errors import ConfigError
from veilcast.service import health
from veilcast.service.server import build, serving

WELL: dict[str, Any] = {
    "name": "door", "source": "rtsp://camera:554/x", "state": "live", "told": "", "alarm": False, "error": "",
    "age_s": 0.4, "canary_age_s": 12.0, "restarts": 1, "memory_bytes": 1000, "fps": 24.9, "faces": 2,
    "frames_in": 500, "connections": 2, "tracks": 7, "jumps": 0, "waiting": 5, "level": "scales",
    "latency_s": {"p50": 0.2, "p95": 0.31, "p99": None}, "slates": {"lost": 3},
    "counts": {"dropped: late": 1},
    "ledger": {"clean": 100, "redacted": 390, "slated": 4, "dropped": 1},
}  # fmt: skip


def client(*cameras: dict[str, Any], previews: Path | None = None) -> TestClient:
    return TestClient(build(lambda: cameras, previews), "http://localhost:8080")


def test_ready_is_a_right_answer_not_long_ago() -> None:
    assert client(WELL).get("/livez").status_code == 200
    assert client(WELL).get("/readyz").json() == {"ready": True, "cameras": {"door": ""}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"canary_age_s": None}, "have not been checked"),
        ({"canary_age_s": 999.0}, "last checked 999 s ago"),
        ({"age_s": 60.0}, "does not say"),
        ({"age_s": None}, "does not say"),
        ({"alarm": True, "error": "died"}, "held on the slate: died"),
    ],
)
def test_a_camera_that_cannot_cover_faces_is_not_ready(change: dict[str, Any], told: str) -> None:
    answer = client(WELL, WELL | {"name": "yard"} | change).get("/readyz")
    assert answer.status_code == 503
    assert told in answer.json()["cameras"]["yard"]
    assert answer.json()["cameras"]["door"] == ""


def test_a_camera_that_is_lost_is_ready_to_come_back_and_none_at_all_is_not() -> None:
    assert health.ready([WELL | {"state": "lost"}])[0]
    assert not health.ready([])[0]


def test_the_figures_are_there_for_prometheus() -> None:
    text = client(WELL).get("/metrics").text
    for line in (
        'veilcast_fps{camera="door"} 24.9',
        'veilcast_latency_seconds{camera="door",quantile="0.95"} 0.31',
        'veilcast_slates_total{camera="door",reason="lost"} 3.0',
        'veilcast_ledger_frames_total{camera="door",fate="redacted"} 390.0',
        'veilcast_unsettled_frames{camera="door"} 5.0',
        'veilcast_restarts_total{camera="door"} 1.0',
        'veilcast_connections_total{camera="door"} 2.0',
        'veilcast_tracks_total{camera="door"} 7.0',
        'veilcast_faces{camera="door"} 2.0',
        'veilcast_live{camera="door"} 1.0',
        'veilcast_overload_level{camera="door"} 1.0',
    ):
        assert line in text


def test_a_camera_that_has_said_nothing_yet_has_figures_too() -> None:
    silent = {"name": "x", "state": "starting", "alarm": False, "error": "", "age_s": None, "restarts": 0}
    assert 'veilcast_live{camera="x"} 0.0' in client(silent).get("/metrics").text


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/status"])
def test_who_asks_for_the_head_alone_is_answered_as_others_are(path: str) -> None:
    lost = WELL | {"name": "yard", "canary_age_s": None}
    with serving(("127.0.0.1", 0), lambda: [WELL, lost], None) as port:
        answers = []
        for method in ("GET", "HEAD"):
            line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            line.request(method, path)
            answer = line.getresponse()
            answers.append(
                (answer.status, answer.getheader("content-type"), answer.getheader("cache-control"))
            )
            body = answer.read()
            line.close()
    assert answers[0] == answers[1]
    assert answers[0][0] == (503 if path == "/readyz" else 200)
    assert body == b""


@pytest.mark.parametrize("path", ["door/../../x", "door/secret.txt", "door/live-1.m4s.x", "yard/live.m3u8"])
def test_nothing_but_the_preview_is_served(tmp_path: Path, path: str) -> None:
    (tmp_path / "door").mkdir()
    (tmp_path / "door" / "secret.txt").write_text("no")
    (tmp_path / "yard").mkdir()
    (tmp_path / "yard" / "live.m3u8").write_text("another's")
    assert client(WELL, previews=tmp_path).get(f"/hls/{path}").status_code == 404


def test_the_preview_is_served_and_scripts_come_from_here_alone(tmp_path: Path) -> None:
    (tmp_path / "door").mkdir()
    (tmp_path / "door" / "live.m3u8").write_text("#EXTM3U\n")
    answer = client(WELL, previews=tmp_path).get("/hls/door/live.m3u8")
    assert answer.text == "#EXTM3U\n"
    assert "script-src 'self'" in client(WELL).get("/").headers["content-security-policy"]


def test_it_listens_and_stops() -> None:
    with serving(("127.0.0.1", 0), lambda: [WELL], None) as port:
        answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=20)
        assert answer.status == 200
        answer.close()
    with pytest.raises(OSError, match=r"."):
        socket.create_connection(("127.0.0.1", port), timeout=2)


@pytest.mark.parametrize("path", ["/status", "/", "/hls/door/live.m3u8", "/metrics"])
def test_a_page_whose_name_leads_here_reads_nothing(path: str, tmp_path: Path) -> None:
    """DNS rebinding: a browser on this machine asks for a stranger's name, and gets here."""
    (tmp_path / "door").mkdir()
    (tmp_path / "door" / "live.m3u8").write_text("#EXTM3U\n")
    here = client(WELL, previews=tmp_path)
    for host in ("attacker.example", "attacker.example:8080", "localhost.attacker.example", ""):
        answer = here.get(path, headers={"Host": host})
        assert answer.status_code == 400
        assert "camera" not in answer.text
    for host in ("localhost", "127.0.0.1:8080", "[::1]:8080"):
        assert here.get(path, headers={"Host": host}).status_code == 200


def test_it_answers_to_its_own_address_and_to_names_that_are_given() -> None:
    def asked(port: int, host: str) -> int:
        request = urllib.request.Request(f"http://127.0.0.2:{port}/status", headers={"Host": host})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    with serving(("127.0.0.2", 0), lambda: [WELL], None, ["cameras.example", "*.site.example"]) as port:
        told = {
            host: asked(port, host)
            for host in ("127.0.0.2", "cameras.example", "a.site.example", "b.example")
        }
    assert list(told.values()) == [200, 200, 200, 400]


@pytest.mark.parametrize("ends", [True, False])
def test_a_service_that_does_not_start_is_told(ends: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(server: uvicorn.Server, sockets: object = None) -> None:
        while not (ends or server.should_exit):
            time.sleep(0.01)

    monkeypatch.setattr(uvicorn.Server, "run", run)
    monkeypatch.setattr("veilcast.service.server.STARTED_WITHIN_S", 0.2)
    with pytest.raises(ConfigError, match="does not start"), serving(("127.0.0.1", 0), lambda: [], None):
        pytest.fail("nobody serves")


def test_more_connections_than_it_holds_are_told_to_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("veilcast.service.server.MOST_CONNECTIONS", 3)
    with serving(("127.0.0.1", 0), lambda: [WELL], None) as port:
        idle = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(3)]
        try:
            time.sleep(0.5)  # until they are taken
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=20)
            assert caught.value.code == 503
        finally:
            for one in idle:
                one.close()


def test_the_page_shows_the_covered_picture_in_a_browser(tmp_path: Path) -> None:
    """The whole command with real networks, seen by headless Chromium."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    film = write_file(tmp_path / "long.mp4", CLIP, rounds=20)
    words = ["--in", str(film), "--listen", f"127.0.0.1:{port}", "--max-latency", "20"]
    command = [sys.executable, "-m", "veilcast", "live", *words]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _ready(port), "ready", most_s=120)
            seen, end_s = "", time.monotonic() + 60
            while not re.search(r'title="320 x 240, [1-9]', seen) and time.monotonic() < end_s:
                seen = _seen(browser, port, tmp_path)
            assert re.search(r'title="320 x 240, [1-9]', seen), seen[-3000:]
            for figure in ("pictures a second", "latency p50, p95, p99", "frames by fate", "restarts"):
                assert figure in seen
        finally:
            process.terminate()
            process.wait(60)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _seen(browser: str, port: int, home: Path) -> str:
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
    more = [f"--user-data-dir={home / 'profile'}", "--virtual-time-budget=10000", "--dump-dom"]
    words = [browser, *options, *more, f"http://127.0.0.1:{port}/"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False)
    return done.stdout

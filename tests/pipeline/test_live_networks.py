"""A camera behind a bad network: packets lost, a narrow link, a link that flaps, in network namespaces of
their own. Whatever arrives, nobody is shown."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.live_media import needs_server, shown, unredacted, write_units
from tests.live_session import CALM, decoded, running, wait_until

from veilcast.config import overlay

NAME, HERE, THERE = "veilcam", "10.77.31.1", "10.77.31.2"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


def inside(*words: str) -> None:
    ip("netns", "exec", NAME, *words)


@pytest.fixture(scope="module")
def link() -> Iterator[None]:
    """A namespace with a cable to it; skipped, visibly, where that is not allowed."""
    needs_server()
    try:
        ip("netns", "add", NAME)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("making network namespaces needs root and iproute2")
    try:
        try:
            ip("link", "add", "veilcam0", "type", "veth", "peer", "name", "veilcam1", "netns", NAME)
        except subprocess.CalledProcessError:
            pytest.skip("this kernel makes no pairs of network devices")
        ip("addr", "add", f"{HERE}/30", "dev", "veilcam0")
        ip("link", "set", "veilcam0", "up")
        inside("ip", "addr", "add", f"{THERE}/30", "dev", "veilcam1")
        inside("ip", "link", "set", "veilcam1", "up")
        inside("ip", "link", "set", "lo", "up")
        yield
    finally:
        subprocess.run(["ip", "link", "del", "veilcam0"], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", NAME], capture_output=True, check=False)


@contextmanager
def camera(units: Path) -> Iterator[str]:
    """The RTSP server inside the namespace; its address."""
    from tests.live_media import SERVER, SYSTEM_PYTHON

    command = ["ip", "netns", "exec", NAME, SYSTEM_PYTHON, str(SERVER), str(units), "--address", THERE]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PATH": "/bin:/sbin"},
    ) as process:
        assert process.stdout is not None
        try:
            yield f"rtsp://{THERE}:{int(process.stdout.readline())}/cam"
        finally:
            process.kill()


@contextmanager
def lossy(percent: int) -> Iterator[None]:
    """Drops so many of the camera's packets, at random."""
    rule = f"add rule inet veil out numgen random mod 100 < {percent} drop"
    try:
        for words in (
            "add table inet veil",
            "add chain inet veil out { type filter hook output priority 0; }",
            rule,
        ):
            inside("nft", words)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nft cannot drop packets here")
    try:
        yield
    finally:
        inside("nft", "delete table inet veil")


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_units(tmp_path_factory.mktemp("camera") / "clip.units")


@pytest.mark.parametrize(("transport", "percent"), [("udp", 1), ("udp", 5), ("udp", 20), ("tcp", 5)])
def test_nobody_is_shown_behind_a_link_that_loses_packets(
    link: None, units: Path, tmp_path: Path, transport: str, percent: int
) -> None:
    config = overlay(CALM, {"live.transport": transport, "live.connect_s": 10, "live.stall_s": 6})
    record = tmp_path / "record.ts"
    with camera(units) as url, running(url, record, config=config) as run:
        run.pictures(10)
        before = run.session.status()["frames_in"]
        with lossy(percent):
            run.until(lambda s: s["frames_in"] > before + 60 or s["state"] == "lost", "60 pictures or a loss")
            status = run.session.status()
    lumas = decoded(record)
    assert sum(n is not None for n in shown(lumas)) >= 10
    assert unredacted(lumas) == []
    if transport == "udp" and percent >= 5:
        assert status["ledger"]["slated"] + status["slates"].get("lost", 0) > 0


def test_a_link_that_flaps_leaves_a_slate_and_comes_back(link: None, units: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.ts"
    config = overlay(CALM, {"live.stall_s": 2, "live.connect_s": 3})
    with camera(units) as url, running(url, record, config=config) as run:
        for _ in range(2):
            run.pictures(15)
            inside("ip", "link", "set", "veilcam1", "down")
            wait_until(lambda: run.session.program.reason is not None, "the slate")
            time.sleep(2)
            inside("ip", "link", "set", "veilcam1", "up")
        run.pictures(15)
    lumas = decoded(record)
    assert unredacted(lumas) == []
    assert None in shown(lumas)


def test_a_link_that_is_too_narrow_shows_nobody(link: None, units: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.ts"
    limit = [
        "tc",
        "qdisc",
        "add",
        "dev",
        "veilcam1",
        "root",
        "tbf",
        "rate",
        "400kbit",
        "burst",
        "16kb",
        "latency",
        "400ms",
    ]
    config = overlay(CALM, {"live.transport": "udp", "live.connect_s": 10})
    with camera(units) as url, running(url, record, config=config) as run:
        run.pictures(10)
        try:
            inside(*limit)
        except subprocess.CalledProcessError:
            pytest.skip("tc cannot limit the link here")
        time.sleep(6)
        inside("tc", "qdisc", "del", "dev", "veilcam1", "root")
    assert unredacted(decoded(record)) == []

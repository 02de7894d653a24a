"""Hostile peers: forty scripts against the receiver. Each ends in a typed error, in bounded time, without a
picture that could be shown, and without a connection to anywhere else."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.live_media import served, write_units
from tests.live_session import CALM
from tests.pipeline import peers

from veilcast.config import Live, overlay
from veilcast.errors import ConfigError, StreamLost, VeilcastError
from veilcast.pipeline.addresses import Secret, parse_input
from veilcast.pipeline.clocks import Clock
from veilcast.pipeline.receiving import connecting
from veilcast.pipeline.relay import Relay, RtspWatch, located, permitted

SHORT = overlay(CALM, {"live.connect_s": 1.5, "live.stall_s": 1.5})
PLAYLIST = (
    "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\r\n#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
)
BOUND_S = 40.0  # on a machine that does much else; three times connect_s and some reading on a quiet one


def attempt(
    url: str, login: Secret | None = None, transport: str = "tcp"
) -> tuple[VeilcastError, int, float]:
    """What a connection ends with, how many sound pictures it brought, how long it took."""
    connect = connecting(parse_input(url, login), SHORT)(Clock(), time.monotonic(), None)
    start_s, sound = time.monotonic(), 0
    try:
        with connect(0) as receiver:
            for arrival in receiver.frames():
                sound += not arrival.frame.damaged
    except VeilcastError as error:
        return error, sound, time.monotonic() - start_s
    raise AssertionError("a hostile stream ended without an error")


def test_forty_hostile_peers_end_in_an_error_soon_and_lead_nowhere() -> None:
    assert len(peers.SCRIPTS) >= 40
    wrong: list[str] = []

    def one(name: str) -> None:
        with peers.witness() as (port, came), peers.peer(peers.SCRIPTS[name], port) as camera:
            try:
                error, sound, took_s = attempt(f"rtsp://127.0.0.1:{camera}/x")
            except AssertionError as failure:
                wrong.append(f"{name}: {failure}")
                return
            if came or sound or took_s > BOUND_S or str(port) in str(error):
                wrong.append(f"{name}: {len(came)} led away, {sound} shown, {took_s:.1f} s, {error}")

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(one, peers.SCRIPTS))
    assert wrong == []


def test_a_password_is_in_no_error(tmp_path: Path) -> None:
    secret = "s3cr3t-pa55"
    with peers.witness() as (port, _):
        for script in (
            "is not found",
            "closes at once",
            "speaks garbage",
            "wants credentials again and again",
        ):
            with peers.peer(peers.SCRIPTS[script], port) as camera:
                error, *_ = attempt(f"rtsp://127.0.0.1:{camera}/x?key={secret}", Secret(f"anna:{secret}"))
            chain: BaseException | None = error
            while chain is not None:
                assert secret not in f"{chain} {chain!r}"
                chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)


def test_a_camera_with_a_password_opens_with_it_alone(tmp_path: Path) -> None:
    units = write_units(tmp_path / "clip.units")
    with served(units, "--user", "anna", "--password", "s3cr3t") as server:
        config = overlay(CALM, {"live.connect_s": 20})
        address = parse_input(server.url("cam"), Secret("anna:s3cr3t"))
        with connecting(address, config)(Clock(), time.monotonic(), None)(0) as receiver:
            assert next(receiver.frames()).frame.size == (320, 240)
        error, *_ = attempt(server.url("cam"), Secret("anna:wrong"))
    assert isinstance(error, StreamLost)
    assert "wrong" not in str(error)


def test_a_host_that_is_not_allowed_is_not_reached() -> None:
    own = parse_input("http://127.0.0.1:80/x.m3u8")
    only = permitted(own, ())
    assert only("127.0.0.1", "127.0.0.1")
    with pytest.raises(StreamLost, match="allow_hosts"):
        located("localhost", 80, only)
    assert located("localhost", 80, permitted(own, ("127.0.0.0/8", "::1/128")))
    assert located("localhost", 80, permitted(own, ("LOCALHOST",)))
    with pytest.raises(ConfigError, match="neither a host nor a network"):
        permitted(own, ("not a host",))


@pytest.mark.parametrize(
    "redirect",
    ["HTTP/1.1 302 Found\r\nLocation: http://localhost:{}/x.ts\r\n\r\n",
     PLAYLIST + "#EXTINF:1,\nhttp://localhost:{}/x.ts\n#EXTINF:1,\nhttp://localhost:{}/y.ts\n",
     PLAYLIST + "#EXTINF:1,\nfile:///etc/passwd\n"],
    ids=["a redirect", "a playlist that names another host", "a playlist that names a file"],
)  # fmt: skip
def test_a_web_server_leads_nowhere_else(redirect: str) -> None:
    def script(sock: socket.socket, witness: int) -> None:
        peers.head(sock)
        sock.sendall(redirect.replace("{}", str(witness)).encode())

    with peers.witness() as (port, came), peers.peer(script, port) as camera:
        error, sound, _ = attempt(f"http://127.0.0.1:{camera}/x.m3u8")
    assert isinstance(error, StreamLost)
    assert (came, sound) == ([], 0)


@pytest.mark.parametrize(
    ("said", "trouble"),
    [(b"RTSP/1.0 302 Found\r\nLocation: x\r\n\r\n", "redirects"),
     (b"RTSP/1.0 200 OK\r\n" + b"x" * 20_000, "no end"),
     (b"RTSP/1.0 200 OK\r\nContent-Length: 70000\r\n\r\n", "length"),
     (b"SSH-2.0-x\r\n\r\n", "does not speak"),
     (b"RTSP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nabcdRTSP/1.0 301 x\r\n\r\n", "redirects")],
)  # fmt: skip
@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_what_a_peer_says_is_read_along_however_it_is_cut(said: bytes, trouble: str, piece: int) -> None:
    watch = RtspWatch()
    for at in range(0, len(said), piece):
        watch.feed(said[at : at + piece])
    assert trouble in watch.trouble


def test_the_relay_ends_with_its_block() -> None:
    with Relay(parse_input("rtsp://127.0.0.1:1/x"), Live()) as relay:
        place = ("127.0.0.1", relay.via.port)
        socket.create_connection(place).close()
    with pytest.raises(OSError, match=r"."):
        socket.create_connection(place, timeout=2)

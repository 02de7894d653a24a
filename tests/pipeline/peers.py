"""Forty ways in which a camera may misbehave, as scripts for a TCP server. Each takes the connection and the
port of a witness, a listener that nobody must ever be led to."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Script = Callable[[socket.socket, int], None]

SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n"
)
LONG_S = 30.0  # longer than anybody waits


def head(sock: socket.socket) -> bytes:
    """One request, up to the end of its head."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(4096)
        if not piece:
            raise ConnectionError
        data += piece
    return data


def answer(
    sock: socket.socket, request: bytes, more: str = "", body: str = "", status: str = "200 OK"
) -> None:
    found = [line for line in request.split(b"\r\n") if line.lower().startswith(b"cseq:")]
    cseq = found[0].split(b":")[1].strip().decode() if found else "1"
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    sock.sendall(f"RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n{more}{length}\r\n{body}".encode())


def until(sock: socket.socket, method: bytes, sdp: str = SDP, transport: str = "") -> bytes:
    """Answers as a camera should until `method` is asked for; gives that request."""
    transport = transport or "RTP/AVP/TCP;unicast;interleaved=0-1"
    while not (request := head(sock)).startswith(method):
        if request.startswith(b"OPTIONS"):
            answer(sock, request, "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n")
        elif request.startswith(b"DESCRIBE"):
            answer(sock, request, "Content-Type: application/sdp\r\n", sdp)
        elif request.startswith(b"SETUP"):
            answer(sock, request, f"Session: 1\r\nTransport: {transport}\r\n")
        else:
            answer(sock, request)
    return request


def playing(sock: socket.socket, **given: str) -> None:
    answer(sock, until(sock, b"PLAY", **given), "Session: 1\r\n")


def drip(sock: socket.socket, data: bytes, every_s: float = 0.2) -> None:
    for byte in data:
        sock.sendall(bytes([byte]))
        time.sleep(every_s)


def rtp(payload: bytes, number: int = 0, stamp: int = 0, kind: int = 96, channel: int = 0) -> bytes:
    packet = struct.pack(">BBHII", 0x80, 0x80 | kind, number & 0xFFFF, stamp & 0xFFFFFFFF, 7) + payload
    return b"$" + bytes([channel]) + struct.pack(">H", len(packet)) + packet


def _flood(sock: socket.socket, packet: Callable[[int], bytes], count: int = 3000) -> None:
    for n in range(count):
        sock.sendall(packet(n))
        if n % 50 == 0:
            time.sleep(0.01)


def _refuse(status: str, more: str = "") -> Script:
    return lambda sock, witness: answer(sock, head(sock), more.format(witness), status=status)


def _describe(body: str, more: str = "Content-Type: application/sdp\r\n") -> Script:
    def script(sock: socket.socket, witness: int) -> None:
        answer(sock, until(sock, b"DESCRIBE"), more.format(witness), body.format(witness))
        time.sleep(LONG_S)

    return script


def _setup(transport: str) -> Script:
    def script(sock: socket.socket, witness: int) -> None:
        playing(sock, transport=transport.format(witness))
        time.sleep(LONG_S)

    return script


def _say(data: bytes, then_s: float = LONG_S) -> Script:
    def script(sock: socket.socket, witness: int) -> None:
        head(sock)
        sock.sendall(data)
        time.sleep(then_s)

    return script


def _after_play(act: Callable[[socket.socket], None]) -> Script:
    def script(sock: socket.socket, witness: int) -> None:
        playing(sock)
        act(sock)
        time.sleep(LONG_S)

    return script


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _endless_head(sock: socket.socket, witness: int) -> None:
    sock.sendall(b"RTSP/1.0 200 OK\r\n")
    for n in range(100_000):
        sock.sendall(b"X-%d: %s\r\n" % (n, b"a" * 1000))


def _early(sock: socket.socket, witness: int) -> None:
    for n in range(1000):
        sock.sendall(rtp(b"\x65" + bytes(500), n))


def _options_for_ever(sock: socket.socket, witness: int) -> None:
    while True:
        answer(
            sock,
            head(sock),
            status="401 Unauthorized",
            more='WWW-Authenticate: Digest realm="x", nonce="y"\r\n',
        )


def unauthorised(sock: socket.socket, witness: int) -> None:
    """Says what it can do, and that nobody may do it: who reads and who publishes."""
    while True:
        request = head(sock)
        if request.startswith(b"OPTIONS"):
            answer(sock, request, "Public: OPTIONS, DESCRIBE, ANNOUNCE, SETUP, PLAY, RECORD\r\n")
        else:
            challenge = 'WWW-Authenticate: Digest realm="x", nonce="y"\r\n'
            answer(sock, request, challenge, status="401 Unauthorized")


def _drip_description(sock: socket.socket, witness: int) -> None:
    answer(sock, until(sock, b"DESCRIBE"), f"{SDP_TYPE}Content-Length: 900\r\n")
    drip(sock, SDP.encode() * 4)


def _stop_at_setup(sock: socket.socket, witness: int) -> None:
    until(sock, b"SETUP")
    time.sleep(LONG_S)


def _reset_in_midstream(sock: socket.socket) -> None:
    sock.sendall(rtp(b"\x65" + bytes(900)))
    _reset(sock)


def _noise(n: int) -> bytes:
    return rtp(bytes((n * k) % 256 for k in range(300)), n, n * 3600)


def _wander(n: int) -> bytes:
    return rtp(b"\x41\x9a", n * 7919, n * 2654435761)


def _question(n: int) -> bytes:
    return b"GET_PARAMETER rtsp://x RTSP/1.0\r\nCSeq: %d\r\n\r\n" % n


SDP_TYPE = "Content-Type: application/sdp\r\n"
EXTRA = "m=video 0 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\na=control:t\r\n"
SPROP = "a=fmtp:96 sprop-parameter-sets=////,////;packetization-mode=9\r\n"
TCP = "RTP/AVP/TCP;unicast;interleaved=0-1"
REDIRECT = "Location: rtsp://127.0.0.1:{}/elsewhere\r\n"
SCRIPTS: dict[str, Script] = {
    "says nothing": lambda sock, witness: time.sleep(LONG_S),
    "closes at once": lambda sock, witness: None,
    "resets at once": lambda sock, witness: _reset(sock),
    "drips its first answer": lambda sock, witness: drip(sock, b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n" * 9),
    "drips its description": _drip_description,
    "a head without end": _endless_head,
    "a line without end": _say(b"RTSP/1.0 200 " + b"O" * (1 << 20)),
    "redirects (301)": _refuse("301 Moved Permanently", REDIRECT),
    "redirects (302)": _refuse("302 Found", REDIRECT),
    "redirects (305)": _refuse("305 Use Proxy", REDIRECT),
    "redirects to a file": _refuse("302 Found", "Location: file:///etc/passwd\r\n"),
    "redirects its description": lambda sock, witness: answer(
        sock, until(sock, b"DESCRIBE"), REDIRECT.format(witness), status="302 Found"
    ),
    "redirects to itself": lambda sock, witness: answer(
        sock, head(sock), f"Location: rtsp://127.0.0.1:{sock.getsockname()[1]}/x\r\n", status="302 Found"
    ),
    "is not found": _refuse("404 Not Found"),
    "wants credentials again and again": _options_for_ever,
    "speaks HTTP": _say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    "speaks garbage": _say(bytes(range(256)) * 64),
    "speaks zeros": _say(bytes(1 << 16)),
    "announces a giant description": _describe("", SDP_TYPE + "Content-Length: 99999999999\r\n"),
    "sends a giant description": _describe(SDP + "a=x:" + "y" * (1 << 20) + "\r\n"),
    "two lengths": _describe(SDP, SDP_TYPE + "Content-Length: 10\r\n"),
    "a negative length": _describe("", SDP_TYPE + "Content-Length: -5\r\n"),
    "a description that is not one": _describe("<html>no</html>"),
    "an empty description": _describe(""),
    "a thousand streams": _describe(SDP + EXTRA * 500),
    "no video": _describe(SDP.replace("video", "audio").replace("H264/90000", "PCMU/8000")),
    "a codec that nobody knows": _describe(SDP.replace("H264", "EVIL")),
    "a control address elsewhere": _describe(SDP.replace("track1", "rtsp://127.0.0.1:{}/track1")),
    "a broken parameter set": _describe(SDP + SPROP),
    "a transport that was not asked for": _setup("RTP/AVP;unicast;client_port=1-2;server_port=1-2"),
    "a transport to somebody else": _setup(TCP + ";source=127.0.0.1;destination=10.9.9.9"),
    "channels out of range": _setup("RTP/AVP/TCP;unicast;interleaved=70000-70001"),
    "stops at SETUP": _stop_at_setup,
    "plays nothing": _after_play(lambda sock: None),
    "resets in mid-stream": _after_play(_reset_in_midstream),
    "garbage in packets": _after_play(lambda sock: _flood(sock, _noise)),
    "packets of no stream": _after_play(lambda sock: _flood(sock, lambda n: rtp(b"\x65x", n, channel=9))),
    "a giant packet that never ends": _after_play(
        lambda sock: sock.sendall(b"$\x00\xff\xff" + bytes(60_000))
    ),
    "drips its pictures": _after_play(lambda sock: drip(sock, rtp(b"\x65" + bytes(400)), 0.1)),
    "pictures before anything": _early,
    "time stamps that wander": _after_play(lambda sock: _flood(sock, _wander)),
    "asks questions of its own": _after_play(lambda sock: _flood(sock, _question, 200)),
}


@contextmanager
def peer(script: Script, witness: int) -> Iterator[int]:
    """A server whose every connection gets the script; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=act, args=(sock,), daemon=True).start()

    def act(sock: socket.socket) -> None:
        with sock, suppress(OSError, IndexError):
            sock.settimeout(LONG_S)
            script(sock, witness)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


@contextmanager
def witness() -> Iterator[tuple[int, list[object]]]:
    """A port that nobody must connect to, and who did."""
    listener, came = socket.create_server(("127.0.0.1", 0)), list[object]()

    def serve() -> None:
        while True:
            try:
                sock, who = listener.accept()
            except OSError:
                return
            came.append(who)
            sock.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1], came
    finally:
        listener.close()

"""A watch over every TCP peer: FFmpeg connects to a relay of ours on the loopback, and the relay to the
camera. So the addresses that can be reached, the time that a peer may take, and what it may say are ours to
decide, whatever it tells FFmpeg to do, whose own timeouts a peer that drips outlasts:

- it connects to the hosts that are allowed and to no others; a name is looked up here, once;
- an RTSP peer may not redirect, nor describe its stream at length;
- an HTTP peer may redirect, but each request comes through here again;
- a peer that drips, or says nothing, is cut off from outside;
- TLS is spoken here, with the certificate checked.
"""

from __future__ import annotations

import ipaddress
import re
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from veilcast.config import Live
from veilcast.errors import ConfigError, StreamLost
from veilcast.pipeline.addresses import Address

HEAD_BYTES = 16 << 10  # of one answer's head
BODY_BYTES = 64 << 10  # of one answer before the stream begins: a description
PREAMBLE_S = 3.0  # times connect_s: for everything before the first picture's bytes
CONNECTIONS = 64  # that one relay serves in its life at a time
CHUNK = 1 << 16
OURSELVES_S = 60.0  # that we may take to read on: what comes in pieces is read no faster than it is shown
POLL_S = 0.1


def permitted(address: Address, allow: Sequence[str]) -> Callable[[str, str], bool]:
    """Whether a host, named so and found at this IP, may be reached: the address's own host, and what
    `allow` names (hosts, or networks in CIDR). Raises ConfigError."""
    names, networks = {address.host.lower()}, []
    for entry in allow:
        try:
            networks.append(ipaddress.ip_network(entry, strict=False))
        except ValueError:
            if not re.fullmatch(r"[A-Za-z0-9_.-]+", entry):
                raise ConfigError(f'live.allow_hosts: "{entry}" is neither a host nor a network') from None
            names.add(entry.lower())

    def allowed(name: str, ip: str) -> bool:
        return name.lower() in names or any(ipaddress.ip_address(ip) in network for network in networks)

    return allowed


def located(host: str, port: int, allowed: Callable[[str, str], bool]) -> tuple[str, int]:
    """The IP to connect to. Raises StreamLost for a host that is unknown or not allowed."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise StreamLost(f"the host {host} is not known") from None
    for *_, place in found:
        ip = str(place[0]).partition("%")[0]
        if allowed(host, ip):
            return ip, port
    raise StreamLost(f"{host} is not among the hosts that may be reached (live.allow_hosts)")


@dataclass(slots=True)
class RtspWatch:
    """Reads along what an RTSP peer says, until the stream begins. `trouble` is set to a sentence."""

    _head: bytes = b""
    _body_left: int = 0
    _said: int = 0
    streaming: bool = False
    trouble: str = ""

    def feed(self, data: bytes) -> None:
        while data and not self.trouble and not self.streaming:
            if self._body_left:
                taken = min(self._body_left, len(data))
                self._body_left, data = self._body_left - taken, data[taken:]
                continue
            if not self._head and data[:1] == b"$":
                self.streaming = True
                return
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                if len(self._head) > HEAD_BYTES:
                    self.trouble = "its answer has no end"
                return
            head, data, self._head = self._head[:end], self._head[end + 4 :], b""
            self._judge(head)

    def _judge(self, head: bytes) -> None:
        match = re.match(rb"RTSP/\d\.\d (\d{3})", head)
        if match is None:
            if not re.match(rb"[A-Z_]{3,16} \S+ RTSP/\d\.\d", head):
                self.trouble = "it does not speak RTSP"
            return
        if match[1][:1] == b"3":
            self.trouble = "it redirects elsewhere"
        lengths = re.findall(rb"(?im)^content-length:\s*(\d{1,18})\s*$", head)
        self._body_left = int(lengths[0]) if lengths else 0
        self._said += self._body_left + len(head)
        if len(set(lengths)) > 1 or self._body_left > BODY_BYTES or self._said > 4 * BODY_BYTES:
            self.trouble = "it describes its stream at too great a length"


class Relay:
    """Listens on a loopback port for as long as the block lasts. Everything ends when it is left.

    `via` is what FFmpeg is told to open instead of the address; `proxy` is set for HTTP.
    """

    def __init__(self, address: Address, live: Live) -> None:
        self.address, self._live = address, live
        self._allowed = permitted(address, live.allow_hosts)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=8)
        self._listener.settimeout(POLL_S)
        self._stop = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.trouble = ""  # why a peer was cut off, last
        self._is_http = address.kind in ("http", "hls")
        port = self._listener.getsockname()[1]
        self.proxy = f"http://127.0.0.1:{port}" if self._is_http else None
        plain = {"rtsps": "rtsp", "https": "http"}.get(address.scheme, address.scheme)
        if self._is_http:
            self.via = address.at(address.host, address.port, plain)
        else:
            self.via = address.at("127.0.0.1", port, plain)
        self._thread = threading.Thread(target=self._accept, name="relay", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._listener.close()
        with self._lock:
            for sock in self._sockets:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(2)

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                inner, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            if len(self._sockets) > 2 * CONNECTIONS:
                inner.close()
                continue
            threading.Thread(target=self._serve, args=(inner,), name="relayed", daemon=True).start()

    def _serve(self, inner: socket.socket) -> None:
        self._keep(inner)
        outer: socket.socket | None = None
        try:
            inner.settimeout(self._live.connect_s)
            first = self._request(inner) if self._is_http else b""
            outer = self._connect(first)
            self._keep(outer)
            outer.sendall(self._cleaned(first))
            self._pump(inner, outer)
        except StreamLost as error:
            self.trouble = str(error)
        except (OSError, ValueError):
            pass  # the other side notices
        finally:
            for sock in filter(None, (inner, outer)):
                self._drop(sock)

    def _request(self, inner: socket.socket) -> bytes:
        """FFmpeg's own first words to its proxy, up to the end of the head."""
        head = b""
        while b"\r\n\r\n" not in head:
            data = inner.recv(CHUNK)
            head += data
            if not data or len(head) > HEAD_BYTES:
                raise StreamLost("an HTTP request made no sense")
        return head

    def _connect(self, first: bytes) -> socket.socket:
        host, port = self.address.host, self.address.port
        tls = self.address.scheme in ("https", "rtsps")
        if self._is_http:
            asked = urlsplit(first.split(b" ", 2)[1].decode("latin-1"))
            if asked.scheme != "http" or not asked.hostname:
                raise StreamLost(f"{self.address} asks for something other than plain HTTP")
            # our own address was made plain for FFmpeg; what another one says is meant
            tls = tls and (asked.hostname, asked.port or 80) == (host, port)
            host, port = asked.hostname, asked.port or 80
        place = located(host, port, self._allowed)
        outer = socket.create_connection(place, timeout=self._live.connect_s)
        if tls:
            try:
                return ssl.create_default_context().wrap_socket(outer, server_hostname=host)
            except (ssl.SSLError, OSError):
                outer.close()
                raise StreamLost(f"{self.address} has no certificate that can be trusted") from None
        return outer

    def _cleaned(self, first: bytes) -> bytes:
        """A request to a proxy as one to the server itself, for one answer."""
        if not first:
            return first
        method, url, rest = first.split(b" ", 2)
        parts = urlsplit(url.decode("latin-1"))
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head, _, body = rest.partition(b"\r\n\r\n")
        lines = [x for x in head.split(b"\r\n") if not re.match(rb"(?i)(proxy-)?connection:", x)]
        return b" ".join((method, path.encode("latin-1"), b"\r\n".join([*lines, b"Connection: close"]))) + (
            b"\r\n\r\n" + body
        )

    def _pump(self, inner: socket.socket, outer: socket.socket) -> None:
        """Passes bytes both ways until one side ends or the peer is cut off."""
        watch = RtspWatch() if self.address.kind == "rtsp" else None
        start_s = heard_s = time.monotonic()
        # over UDP the pictures do not come through here, so silence says nothing
        patience_s = None if watch and self._live.transport == "udp" else self._live.stall_s
        outer.settimeout(self._live.connect_s)
        inner.settimeout(OURSELVES_S)
        with selectors.DefaultSelector() as ready:
            ready.register(inner, selectors.EVENT_READ)
            ready.register(outer, selectors.EVENT_READ)
            while not self._stop.is_set():
                now_s = time.monotonic()
                if watch and not watch.streaming and patience_s is not None:
                    if now_s - start_s > PREAMBLE_S * self._live.connect_s:
                        raise StreamLost(f"{self.address} was cut off: its stream does not begin")
                elif patience_s is not None and now_s - heard_s > patience_s:
                    raise StreamLost(f"{self.address} was cut off: it says nothing")
                pending = isinstance(outer, ssl.SSLSocket) and outer.pending() > 0
                spoke = {key.fd for key, _ in ready.select(0 if pending else POLL_S)}
                pairs = ((inner, outer), (outer, inner))
                for source, target in pairs:
                    if source.fileno() not in spoke and not (pending and source is outer):
                        continue
                    data = source.recv(CHUNK)
                    if not data:
                        return
                    if source is outer and watch is not None and not watch.streaming:
                        watch.feed(data)
                        if watch.trouble:
                            raise StreamLost(f"{self.address} was cut off: {watch.trouble}")
                    target.sendall(data)
                    if source is outer:  # however long we took to pass it on
                        heard_s = time.monotonic()

    def _keep(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.add(sock)

    def _drop(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(sock)
        sock.close()

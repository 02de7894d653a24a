"""Where a live stream comes from and goes to, and the secrets that such an address may hold.

    rtsp://HOST/PATH  rtsps://...     a camera or server
    rtmp://HOST/APP/KEY
    http(s)://HOST/X.m3u8             HLS; any other http(s) address is read as it is
    udp://HOST:PORT                   MPEG-TS
    /dev/video0                       a local device
    FILE                              played as if it were live (in); one file (out)
    FOLDER/X.m3u8                     a rolling HLS folder (out)
    FOLDER/                           a new file every so often (out)

A password never stands on a command line, where every user of the machine can read it: it comes from a
file. `str(address)` is what people and logs are told.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from veilcast.errors import ConfigError, InputMissing

Kind = Literal["rtsp", "rtmp", "hls", "http", "udp", "device", "file", "segments"]

PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "http": 80, "https": 443}
SCHEMES: dict[str, Kind] = {
    "rtsp": "rtsp",
    "rtsps": "rtsp",
    "rtmp": "rtmp",
    "http": "http",
    "https": "http",
    "udp": "udp",
}
MAX_LENGTH = 2048


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that does not show itself, whoever prints or formats it."""

    _text: str = field(repr=False)

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"


@dataclass(frozen=True, slots=True)
class Address:
    """A checked address. Local ones have a `path` alone."""

    kind: Kind
    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""  # without the query
    _query: Secret | None = field(default=None, repr=False)
    credentials: Secret | None = field(default=None, repr=False)  # "user:password"

    @property
    def is_remote(self) -> bool:
        return bool(self.host)

    def reveal(self) -> str:
        """The whole address, secrets and all: for the library that connects, and nobody else."""
        if not self.is_remote:
            return self.path
        login = ""
        if self.credentials is not None:
            user, _, password = self.credentials.reveal().partition(":")
            login = f"{quote(user, safe='')}:{quote(password, safe='')}@"
        query = f"?{self._query.reveal()}" if self._query else ""
        return f"{self.scheme}://{login}{_bracketed(self.host)}:{self.port}{self.path}{query}"

    def at(self, host: str, port: int, scheme: str | None = None) -> Address:
        """The same stream, reached at another place: a relay of our own."""
        return Address(self.kind, scheme or self.scheme, host, port, self.path, self._query, self.credentials)

    def __str__(self) -> str:
        if not self.is_remote:
            return self.path
        path = self.path
        if self.kind == "rtmp":  # its last part is the key of the stream
            path = path.rsplit("/", 1)[0] + "/***"
        return f"{self.scheme}://{_bracketed(self.host)}:{self.port}{path}{'?***' if self._query else ''}"

    __repr__ = __str__


def parse_input(text: str, credentials: Secret | None = None) -> Address:
    """Raises ConfigError, which does not quote what may be secret."""
    if text.startswith("/dev/"):
        if not re.fullmatch(r"/dev/[A-Za-z0-9/_-]+", text):
            raise ConfigError("a device is named like /dev/video0")
        return Address("device", "", path=text)
    if "://" in text:
        return _remote(text, credentials, "input")
    if not text:
        raise ConfigError("an input is empty; name a camera, a device or a file")
    return Address("file", "", path=str(Path(text).absolute()))


def parse_output(text: str, credentials: Secret | None = None) -> Address:
    """Raises ConfigError, which does not quote what may be secret."""
    if "://" in text:
        address = _remote(text, credentials, "output")
        if address.kind in ("http", "hls"):
            raise ConfigError(
                f"{address} cannot be an output; write HLS into a folder (FOLDER/X.m3u8) and serve that"
            )
        return address
    if text.startswith("/dev/") or not text:
        raise ConfigError("an output is an address, a FOLDER/X.m3u8, a FOLDER/ or a file")
    path = str(Path(text).absolute())
    if text.endswith("/"):
        return Address("segments", "", path=path)
    return Address("hls" if text.endswith(".m3u8") else "file", "", path=path)


def check_readable(source: Address) -> None:
    """Raises InputMissing where a file that is to be played is not there."""
    if source.kind == "file" and (Path(source.path).is_dir() or not os.access(source.path, os.R_OK)):
        raise InputMissing(f"there is no file {source} that may be read; check its name and permissions")


def read_credentials(path: Path) -> Secret:
    """`user:password`, the first line of a file. Raises ConfigError."""
    try:
        line = path.read_text().split("\n")[0].strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"cannot read the credentials file {path}") from None
    if ":" not in line:
        raise ConfigError(f"the credentials file {path} must hold user:password in its first line")
    return Secret(line)


def holds_password(text: str) -> bool:
    """Whether an address as a person wrote it has a user or a password in it."""
    rest = text.partition("://")[2]
    return "@" in rest.split("/", 1)[0].split("?", 1)[0]


def _remote(text: str, credentials: Secret | None, what: str) -> Address:
    if len(text) > MAX_LENGTH or any(ord(c) < 33 or ord(c) == 127 for c in text):
        raise ConfigError(f"an {what} address is too long or has characters that no address has")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError(f"an {what} is not an address; write like rtsp://HOST:PORT/PATH") from None
    kind = SCHEMES.get(parts.scheme)
    if kind is None:
        raise ConfigError(
            f"{what} addresses begin with one of {', '.join(SCHEMES)}; {parts.scheme[:20]}: is not known"
        )
    if not re.fullmatch(r"[A-Za-z0-9_.:%-]+", host):
        raise ConfigError(f"an {what} address names no host; write like {parts.scheme}://HOST/PATH")
    if kind == "udp" and not port:
        raise ConfigError(f"an {what} address of udp needs a port: udp://HOST:PORT")
    if kind == "http" and parts.path.endswith((".m3u8", ".m3u")):
        kind = "hls"
    if parts.username is not None:
        credentials = Secret(f"{unquote(parts.username)}:{unquote(parts.password or '')}")
    query = Secret(parts.query) if parts.query else None
    return Address(kind, parts.scheme, host, port or PORTS[parts.scheme], parts.path, query, credentials)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

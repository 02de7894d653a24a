"""Where an archive lies: a folder, a file, a glob, or an object store by its URL (fsspec).

Names are relative to the root, parts joined by "/". A name that would lead out of a folder is refused:
keys of an object store may hold anything.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from veilcast.errors import ConfigError, InputMissing, StoreFailed

HEAD_BYTES = 4096  # that tell what a file is
CHUNK = 1 << 20
# an object is there whole or not at all
ATOMIC = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl")

Charge = Callable[[int], None]  # called with bytes before they are moved


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive. `stamp` changes when its content does."""

    name: str
    bytes: int
    stamp: str


class Store(Protocol):
    """A folder, wherever it is. Raises StoreFailed for what may go better the next time."""

    url: str  # for people

    def walk(self) -> Iterator[Entry]:
        """Every file, in the order of names."""
        ...

    def local(self, name: str) -> Path | None:
        """Where the file is on this machine; None where it has to be fetched."""
        ...

    def stamp(self, name: str) -> str | None:
        """As in its entry; None where there is no such file."""
        ...

    def head(self, name: str) -> bytes:
        """The first HEAD_BYTES of a file."""
        ...

    def fetch(self, name: str, path: Path, charge: Charge) -> None:
        """The file's content to `path`."""
        ...

    def put(self, path: Path, name: str, charge: Charge) -> None:
        """The content of `path` under a name that shows nothing until it is whole."""
        ...


def open_store(url: str, options: dict[str, Any] | None = None) -> Store:
    """The store at `url`, a path or fsspec URL that may end in a glob. Raises ConfigError."""
    if "://" not in url or url.startswith("file://"):
        return Folder(url.removeprefix("file://"))
    try:
        import fsspec

        root, pattern = split_glob(url)
        system, path = fsspec.core.url_to_fs(root, **(options or {}))
    except ImportError as error:
        raise ConfigError(
            f"{printable(url)} needs {error.name}: install veilcast[batch] and its fsspec driver"
        ) from None
    except ValueError:
        raise ConfigError(
            f"{printable(url)} is not a URL that fsspec knows, such as s3://bucket/folder"
        ) from None
    return Remote(url, system, path.rstrip("/"), pattern)


def printable(url: str) -> str:
    """Without what somebody wrote into it to be let in: a user and password, or a signature."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    host, slash, path = rest.partition("/")
    path, _, query = path.partition("?")
    signed = "=" in query  # else a wildcard
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}{'' if signed or not query else '?' + query}"


def split_glob(url: str) -> tuple[str, str]:
    """A path or URL up to its first part with a wildcard, and the rest ("" = there is none)."""
    parts = url.split("/")
    wild = next((i for i, part in enumerate(parts) if any(c in part for c in "*?[")), len(parts))
    return "/".join(parts[:wild]) or ("/" if url.startswith("/") else "."), "/".join(parts[wild:])


def matches(name: str, pattern: str) -> bool:
    """Whether a name is meant by a glob in which ** stands for any folders, none included."""
    if not pattern:
        return True
    return _parts_match(name.split("/"), pattern.split("/"))


def _parts_match(parts: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_parts_match(parts[i:], pattern[1:] or ["*"]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _parts_match(parts[1:], pattern[1:])


def is_safe(name: str) -> bool:
    """Whether a name stays below whatever folder it is put into."""
    parts = PurePosixPath(name).parts
    plain = name == "/".join(parts) and "\0" not in name
    return bool(parts) and plain and ".." not in parts and not name.startswith("/") and len(name) < 1024


class Folder:
    """Files of this machine; links are left alone, for they may lead anywhere."""

    def __init__(self, path: str) -> None:
        self.url = path
        whole = Path(path).absolute()
        if whole.exists():  # a file may be called "a[1].mp4"
            root, self._pattern = (str(whole), "") if whole.is_dir() else (str(whole.parent), whole.name)
            self._exact = not whole.is_dir()
        else:
            root, self._pattern = split_glob(str(whole))
            self._exact = False
        self.root = Path(root)

    @property
    def whole(self) -> Path:
        """What is read: the folder, or the one file."""
        return self.root / self._pattern if self._exact else self.root

    def walk(self) -> Iterator[Entry]:
        if self._exact:
            yield self._entry(self._pattern)
            return
        if not self.root.is_dir():
            raise InputMissing(f"there is no folder {self.root}; check the path")
        for name in sorted(self._names(str(self.root), "")):
            if matches(name, self._pattern):
                yield self._entry(name)

    def _names(self, folder: str, prefix: str) -> Iterator[str]:
        try:
            with os.scandir(folder) as found:
                for item in found:
                    if item.is_dir(follow_symlinks=False):
                        yield from self._names(item.path, f"{prefix}{item.name}/")
                    elif item.is_file(follow_symlinks=False):
                        yield prefix + item.name
        except PermissionError:
            raise InputMissing(f"the folder {folder} may not be read; check its permissions") from None

    def _entry(self, name: str) -> Entry:
        status = (self.root / name).stat()
        return Entry(name, status.st_size, f"{status.st_size} {status.st_mtime_ns}")

    def local(self, name: str) -> Path | None:
        return self.root / name

    def stamp(self, name: str) -> str | None:
        try:
            return self._entry(name).stamp
        except OSError:
            return None

    def head(self, name: str) -> bytes:
        try:
            with (self.root / name).open("rb") as file:
                return file.read(HEAD_BYTES)
        except OSError as error:
            raise InputMissing(f"cannot read {name}: {error.strerror}") from None

    def fetch(self, name: str, path: Path, charge: Charge) -> None:
        raise NotImplementedError("files of this machine are read where they are")

    def put(self, path: Path, name: str, charge: Charge) -> None:
        raise NotImplementedError("files of this machine are written where they belong")


class Remote:
    """Files behind fsspec. What goes wrong there is StoreFailed: another try may do."""

    def __init__(self, url: str, system: Any, root: str, pattern: str = "") -> None:
        self.url = printable(url)
        self._system, self._root, self._pattern = system, root, pattern
        protocol = system.protocol
        self._atomic = bool(
            set(ATOMIC) & {protocol} if isinstance(protocol, str) else set(ATOMIC) & {*protocol}
        )

    def walk(self) -> Iterator[Entry]:
        with self._said("listing", ""):
            self._system.invalidate_cache()
            found = self._system.find(self._root, detail=True)
        if not found:
            raise InputMissing(f"there is nothing at {self.url}; check the name")
        for path, facts in sorted(found.items()):
            name = path[len(self._root) :].lstrip("/") or path.rpartition("/")[2]
            if facts.get("type", "file") == "file" and matches(name, self._pattern):
                yield Entry(name, int(facts.get("size") or 0), _remote_stamp(facts))

    def local(self, name: str) -> Path | None:
        return None

    def stamp(self, name: str) -> str | None:
        with self._said("looking at", name):
            try:
                self._system.invalidate_cache()
                return _remote_stamp(self._system.info(self._path(name)))
            except FileNotFoundError:
                return None

    def head(self, name: str) -> bytes:
        with self._said("reading", name):
            return bytes(self._system.cat_file(self._path(name), start=0, end=HEAD_BYTES))

    def fetch(self, name: str, path: Path, charge: Charge) -> None:
        with self._said("reading", name):
            size = self._system.info(self._path(name))["size"]
            with self._system.open(self._path(name), "rb") as source, path.open("wb") as target:
                while chunk := source.read(CHUNK):
                    charge(len(chunk))
                    target.write(chunk)
        if path.stat().st_size != size:
            raise StoreFailed(f"{name} came with {path.stat().st_size} of its {size} bytes")

    def put(self, path: Path, name: str, charge: Charge) -> None:
        final = self._path(name)
        written = final if self._atomic else final + ".part"
        with self._said("writing", name):
            if not self._atomic:
                self._system.makedirs(final.rpartition("/")[0], exist_ok=True)
            charge(path.stat().st_size)
            self._system.put_file(str(path), written)
            if not self._atomic:
                self._system.mv(written, final)
            self._system.invalidate_cache()
            size = self._system.info(final)["size"]
        if size != path.stat().st_size:
            raise StoreFailed(f"{name} arrived with {size} of its {path.stat().st_size} bytes")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _said(self, doing: str, name: str) -> Iterator[None]:
        """What a driver raises, without its text: that may hold a key or a signed URL."""
        try:
            yield
        except FileNotFoundError:
            raise InputMissing(f"{name or self.url} is not there (any more)") from None
        except (InputMissing, StoreFailed):
            raise
        except PermissionError:
            raise InputMissing(
                f"no permission while {doing} {name or self.url}; check the credentials"
            ) from None
        except Exception as error:  # noqa: BLE001 (drivers raise what they like)
            raise StoreFailed(f"{doing} {name or self.url} failed ({type(error).__name__})") from None


def _remote_stamp(facts: dict[str, Any]) -> str:
    marks = (facts.get(key) for key in ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created"))
    mark = next((m for m in marks if m is not None), "")
    # drivers list a time as a number and tell it alone as a date, an ETag with and without its quotes
    text = str(mark.timestamp() if isinstance(mark, datetime) else mark).strip('"')
    return f"{facts.get('size')} {text}"

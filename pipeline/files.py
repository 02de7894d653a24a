"""Files on the way in and out: one name, one content, and nothing half-written under a final name."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from veilcast.errors import (
    ConfigError,
    DamagedMedia,
    DiskFull,
    InputMissing,
    InputTooLarge,
    NotWritable,
    OutputError,
    OutputExists,
)

_CHUNK = 1 << 20
PRIVATE = 0o600
_PART_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


Stamp = tuple[int, int, int]  # inode, bytes, nanoseconds of the last change


@dataclass(frozen=True, slots=True)
class Source:
    """An input that is readable as `path` while it is open, also in a child that is given `fds`."""

    name: str  # for people
    path: Path
    stamp: Stamp | None
    fds: tuple[int, ...] = ()

    def check_unchanged(self) -> None:
        """Raises DamagedMedia if the content is no longer the one that was opened: faces would have
        been looked for in another picture than the one that was covered."""
        if _stamp(self.path) != self.stamp:
            raise DamagedMedia(f"{self.name} changed while it was read; try again when nothing writes to it")

    def sha256(self) -> str:
        return sha256(self.path)


@contextlib.contextmanager
def open_source(name: str, max_bytes: int, stdin: BinaryIO) -> Iterator[Source]:
    """The file `name`; "-" is `stdin`, copied to a private file without a name that vanishes with this
    process. Raises InputMissing, InputTooLarge."""
    if name == "-":
        with _spooled(stdin, max_bytes) as file:
            path = Path(f"/proc/self/fd/{file.fileno()}")
            yield Source("standard input", path, _stamp(path), (file.fileno(),))
    else:
        yield _readable(name, max_bytes)


def _readable(name: str, max_bytes: int) -> Source:
    path = Path(name).absolute()
    if path.exists() and not path.is_file():
        raise InputMissing(f"{name} is not a regular file; pipe it in as - instead")
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise InputMissing(f"cannot read {name}: {error.strerror}") from None
    if size > max_bytes:
        raise InputTooLarge(f"{name} has {size} bytes, more than limits.max_bytes = {max_bytes}")
    return Source(name, path, _stamp(path))


def _stamp(path: Path) -> Stamp | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


@contextlib.contextmanager
def _spooled(stream: BinaryIO, max_bytes: int) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile(prefix="veilcast-") as file:  # no name, mode 0600: gone with the process
        size = 0
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > max_bytes:
                raise InputTooLarge(f"standard input is longer than limits.max_bytes = {max_bytes}")
            try:
                file.write(chunk)
            except OSError as error:
                raise translated(error, Path(tempfile.gettempdir())) from None
        file.flush()
        yield file


class Part:
    """The file that becomes `target`: `target.part` beside it, locked against a second run."""

    def __init__(self, target: Path, fd: int) -> None:
        self.target = target
        self.path = part_of(target)
        self._fd = fd

    def commit(self, overwrite: bool) -> None:
        """To the disk, then to its final name, then the folder to the disk."""
        try:
            os.fsync(self._fd)
            if not overwrite and self.target.exists():
                raise _exists(self.target)
            self.path.rename(self.target)
            _fsync_folder(self.target.parent)
        except OSError as error:
            raise translated(error, self.target) from None


@contextlib.contextmanager
def reserve(target: Path, overwrite: bool, private: bool = False) -> Iterator[Part]:
    """A `Part` for `target`; gone when the block is left, unless it was committed. `private`: nobody but its
    owner may read it.

    Raises OutputExists, NotWritable, DiskFull.
    """
    check_place(target)
    if not overwrite and target.exists():
        raise _exists(target)
    path = part_of(target)
    try:
        fd = os.open(path, _PART_FLAGS, PRIVATE if private else 0o666)
    except OSError as error:
        raise translated(error, target) from None
    except BaseException:  # a signal's exit, raised after the call made the file and before it had a name
        with contextlib.suppress(OSError):
            _drop(path, os.open(path, _PART_FLAGS & ~os.O_CREAT))
        raise
    try:
        if not (_locked(fd) and _same_file(path, fd)):  # else it became another run's output meanwhile
            raise OutputExists(f"another run is writing {target}; wait for it or name another file")
        os.ftruncate(fd, 0)
        if private:  # also where a killed run left it
            os.fchmod(fd, PRIVATE)
        yield Part(target, fd)
    finally:
        _drop(path, fd)


def _drop(path: Path, fd: int) -> None:
    """Closes the open file; removes it too unless it has its final name or belongs to another run."""
    try:
        if _same_file(path, fd) and _locked(fd):
            path.unlink(missing_ok=True)
    finally:
        os.close(fd)


def _locked(fd: int) -> bool:
    """Locks the open file against every other; false where another one holds it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same_file(path: Path, fd: int) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(path.lstat(), os.fstat(fd))
    return False


def check_place(target: Path) -> None:
    """Raises NotWritable where no file can come to lie under this name."""
    if target.is_dir():
        raise NotWritable(f"{target} is a folder; name a file in it")
    if target.exists() and not target.is_file():
        raise NotWritable(f"{target} is a device or a pipe, which a file would replace; name a file")
    if not target.parent.is_dir():
        raise NotWritable(f"the folder {target.parent} does not exist; make it first")


def check_apart(read: Iterable[Path], written: Iterable[Path]) -> None:
    """Raises ConfigError where a file to be written, under its final name or while it is none yet, is one
    that is read, or another one that is written, or standard output."""
    taken = [(path, "the input itself") for path in read]
    for target in written:
        if str(target) == "-":
            raise ConfigError(
                "nothing is written to standard output before it is checked; name a file, not -"
            )
        for path in (target, part_of(target)):
            for other, what in taken:
                if path.absolute() == other.absolute() or _same_content(path, other):
                    how = "" if path == target else f", which {target} is written as first,"
                    raise ConfigError(f"{path}{how} is {what}; name another output")
        taken += [(target, "another output of this run"), (part_of(target), "another output of this run")]


def _same_content(path: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.samefile(other)
    return False


def part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def write_durably(target: Path, data: bytes) -> None:
    """`data` as the whole content of `target`, on the disk when this returns."""
    with reserve(target, overwrite=True) as part:
        try:
            with part.path.open("wb") as file:
                file.write(data)
        except OSError as error:
            raise translated(error, target) from None
        part.commit(overwrite=True)


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def translated(error: OSError, target: Path) -> OutputError:
    """What the system said about writing `target`, as one of ours."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"no space left on the disk of {target}; free some or write elsewhere")
    if error.errno == errno.ENOENT:
        return NotWritable(f"the folder {target.parent} does not exist; make it first")
    return NotWritable(f"cannot write {target}: {error.strerror}")


def _exists(target: Path) -> OutputExists:
    return OutputExists(f"{target} exists; --overwrite replaces it")

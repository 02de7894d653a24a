"""A folder for temporary files that only this user can enter, with a short path, as sockets need it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "vc-ray-"


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A folder, mode 0700, for as long as the block lasts. Those of processes that were killed go too."""
    base = Path(tempfile.gettempdir())
    for old in base.glob(PREFIX + "*"):
        with contextlib.suppress(OSError), locked(old):
            shutil.rmtree(old)
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(locked(folder))
        yield folder


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Raises OSError where another process holds it, or where it is somebody else's."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            raise PermissionError(folder)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)

"""Compiled networks of the processor's backend, kept so that the next start is quick.

A file is a seal, the names of the network's tensors, and what the library exported. It is read by the
library's own parser, so it is opened only if this user's seal fits these very bytes under this very
key: the hash of the network, its settings, the precision, the library's version and the processor.
Whatever is wrong with a file, the network is compiled again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from veilcast.trt_engines.models import write_whole
from veilcast.trt_engines.seal import Seal

LIMIT_BYTES = 1 << 30  # of all files together; those that were not used for longest go first
_SEAL_BYTES = 32
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Compiled:
    """`names` of inputs, then outputs, as the network's file declares them."""

    names: tuple[str, ...]
    blob: bytes = field(repr=False)


class CompiledCache:
    """The files of one folder, which is this user's alone. Nothing here raises: a cache that cannot be
    read or written costs time only."""

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder, self._limit = folder, limit_bytes
        self._seal = Seal(folder)

    def get(self, *parts: str) -> Compiled | None:
        """What was kept under `parts`, all that decides what it is; None = nothing that can be trusted."""
        key = _key(parts)
        path = self._path(key)
        try:
            if not self._is_private():
                return None
            data = path.read_bytes()
            seal, body = data[:_SEAL_BYTES], memoryview(data)[_SEAL_BYTES:]
            if not self._seal.fits(seal, key.encode(), body):
                log.warning("%s is not what this user wrote: not used", path)
                return None
            os.utime(path)
        except OSError:
            return None
        head, _, blob = bytes(body).partition(b"\n")
        return Compiled(tuple(json.loads(head)), blob)

    def put(self, parts: Sequence[str], compiled: Compiled) -> None:
        """Keeps it for `get(*parts)`, unless it is too large for the folder."""
        key = _key(parts)
        body = json.dumps(compiled.names).encode() + b"\n" + compiled.blob
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self._is_private() or len(body) > self._limit:
                return
            write_whole(self._path(key), self._seal.of(key.encode(), body) + body)
            self._trim()
        except OSError as problem:
            log.debug("cannot keep a compiled network in %s: %s", self._folder, problem.strerror)

    def _trim(self) -> None:
        files = sorted(self._folder.glob("*.compiled"), key=lambda path: path.stat().st_mtime)
        total = sum(path.stat().st_size for path in files)
        for path in files:
            if total <= self._limit:
                return
            total -= path.stat().st_size
            path.unlink(missing_ok=True)

    def _is_private(self) -> bool:
        """Nobody else can put files here or take the key."""
        facts = self._folder.stat()
        return facts.st_uid == os.geteuid() and not facts.st_mode & 0o022

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.compiled"


def _key(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

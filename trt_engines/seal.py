"""A mark by which this user knows what he wrote: native code that came from elsewhere is not loaded."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

KEY = "engines.key"


class Seal:
    """Signs with a key in `folder` that this user alone can read, made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / KEY

    def of(self, *parts: bytes | memoryview) -> bytes:
        """32 bytes over the parts and their lengths. Raises OSError where the key cannot be read or made."""
        state = hmac.new(self._key(), digestmod=hashlib.sha256)
        for part in parts:
            state.update(len(part).to_bytes(8, "big"))
            state.update(part)
        return state.digest()

    def fits(self, seal: bytes, *parts: bytes | memoryview) -> bool:
        return hmac.compare_digest(seal, self.of(*parts))

    def _key(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            self._make()
            return self._path.read_bytes()

    def _make(self) -> None:
        """Several processes may come first: the key of one of them counts for all, whole from the start."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=self._path.parent, prefix=f".{KEY}.") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
            try:
                os.link(file.name, self._path)
            except FileExistsError:
                return

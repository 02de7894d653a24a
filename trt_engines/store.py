"""Built engines on disk: found by what they were built from, loaded only if their bytes are signed.

An engine is native code for one library version and one set of devices. Its key is the hash of the
network, the profile, the precision, the library and the targets; the manifest holds the SHA-256 of
each file and is signed with a key that only this user can read, so a file or a manifest that came
from elsewhere is refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from veilcast.errors import ModelCorrupt, ModelMissing
from veilcast.trt_engines.models import check, write_whole
from veilcast.trt_engines.seal import Seal

MANIFEST = "engines.json"


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides what an engine is."""

    name: str  # of the network, for people
    network_sha256: str
    profile: dict[str, tuple[tuple[int, ...], ...]]
    precision: str
    library: str  # name and exact version
    targets: tuple[str, ...]  # SM numbers, or the name of the device

    @property
    def key(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]


class EngineStore:
    """The engines of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, recipe: Recipe) -> bytes | None:
        """The engine built to this recipe, or None. Raises ModelCorrupt where its bytes were changed."""
        entry = self.entries().get(recipe.key)
        return None if entry is None else self._read(recipe.key, entry["sha256"])

    def put(self, recipe: Recipe, engine: bytes) -> Path:
        """Stores and signs; both files appear whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / f"{recipe.key}.engine"
        write_whole(path, engine)
        facts = {**asdict(recipe), "sha256": hashlib.sha256(engine).hexdigest(), "bytes": len(engine)}
        with self._alone():
            entries = {**self.entries(), recipe.key: facts}
            signed = {"engines": entries, "signature": self._sign(entries)}
            write_whole(self.folder / MANIFEST, json.dumps(signed, indent=1, sort_keys=True).encode())
        return path

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time adds to the list: none forgets what another has built meanwhile."""
        with (self.folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def entries(self) -> dict[str, dict[str, Any]]:
        """Facts of every engine by key. Raises ModelCorrupt where the signature is not this user's."""
        try:
            manifest = json.loads((self.folder / MANIFEST).read_bytes())
            entries: dict[str, dict[str, Any]] = manifest["engines"]
            signature = str(manifest["signature"])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError):
            raise ModelCorrupt(
                f"{self.folder / MANIFEST} cannot be read; delete the folder and build again"
            ) from None
        if not hmac.compare_digest(signature, self._sign(entries)):
            raise ModelCorrupt(
                f"{self.folder / MANIFEST} is not signed by this user; delete the folder and build again"
            )
        return entries

    def verify(self) -> int:
        """Checks every engine and returns how many there are. Raises ModelCorrupt, ModelMissing."""
        entries = self.entries()
        for key, entry in entries.items():
            self._read(key, entry["sha256"])
        return len(entries)

    def _read(self, key: str, sha256: str) -> bytes:
        path = self.folder / f"{key}.engine"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelMissing(
                f"cannot read {path}: {error.strerror}; run `veilcast engines build`"
            ) from None
        check(data, sha256, str(path))
        return data

    def _sign(self, entries: dict[str, dict[str, Any]]) -> str:
        text = json.dumps(entries, sort_keys=True).encode()
        return Seal(self.folder).of(text).hex()

"""The weights cache: files by role, written atomically, their hash checked on the bytes that are loaded.

The cache is one flat folder of files named as in the catalogue, so that a copy of it serves a site
without a network: `--models DIR`.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from veilcast.errors import ConfigError, ModelCorrupt, ModelMissing
from veilcast.trt_engines.catalogue import ROLES
from veilcast.trt_engines.fetch import download, extract
from veilcast.trt_engines.roles import Part, Release, Role

ENVIRONMENT = "VEILCAST_MODELS"
SHIPPED = Path(__file__).with_name("shipped")  # what no registry has and may be passed on


def default_folder() -> Path:
    """$VEILCAST_MODELS, else the user's cache."""
    chosen = os.environ.get(ENVIRONMENT)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(chosen) if chosen else cache / "veilcast" / "models"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file with the hash that it must have. Nothing is known of the file until `read`. `scales`: the table
    that this network is run in eight bits by."""

    path: Path
    sha256: str
    scales: ModelFile | None = None

    def read(self) -> bytes:
        """The bytes, checked. Raises ModelMissing, ModelCorrupt."""
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise ModelMissing(
                f"cannot read {self.path}: {error.strerror}; run `veilcast models pull {self.path.stem}`"
            ) from None
        check(data, self.sha256, str(self.path))
        return data


class Models:
    """The files of one folder. `fetch`: take what is missing from its registry, once."""

    def __init__(
        self, folder: Path | None = None, *, fetch: bool = False, roles: tuple[Role, ...] = ROLES
    ) -> None:
        self.folder = folder or default_folder()
        self._fetch = fetch
        self._roles = {role.name: role for role in roles}

    def file(self, name: str) -> ModelFile:
        """The role's file, fetched first where that is allowed. Raises ConfigError, ModelMissing."""
        role = self.role(name)
        path = self._place(role)
        if not path.exists():
            if not self._fetch:
                raise ModelMissing(f"no weights for {name} at {path}; run `veilcast models pull {name}`")
            pull([role], self.folder)
        return ModelFile(path, role.sha256)

    def path(self, name: str) -> Path:
        """Where the role's file lies, after its hash was checked. Raises ModelMissing, ModelCorrupt."""
        file = self.file(name)
        file.read()
        return file.path

    def bytes(self, name: str) -> bytes:
        """The role's bytes, checked. Raises ModelMissing, ModelCorrupt."""
        return self.file(name).read()

    def role(self, name: str) -> Role:
        try:
            return self._roles[name]
        except KeyError:
            raise ConfigError(f"no role called {name!r}; roles: {', '.join(self._roles)}") from None

    def status(self) -> Iterator[tuple[Role, str]]:
        """Each role with "missing", "ok" or "corrupt"."""
        for role in self._roles.values():
            yield role, self._state(role)

    def _place(self, role: Role) -> Path:
        """In the folder, or where it comes with the product."""
        own, shipped = self.folder / role.file, SHIPPED / role.file
        return shipped if shipped.exists() and not own.exists() else own

    def _state(self, role: Role) -> str:
        try:
            ModelFile(self._place(role), role.sha256).read()
        except ModelMissing:
            return "missing"
        except ModelCorrupt:
            return "corrupt"
        return "ok"


def verify(models: Models) -> int:
    """Checks every file that is there, or comes with the product, and returns how many are there. Raises
    ModelCorrupt for the first bad one, ModelMissing where none is there."""
    states = list(models.status())
    bad = [role for role, state in states if state == "corrupt"]
    if bad:
        raise ModelCorrupt(
            f"{models.folder / bad[0].file} does not have its SHA-256; delete it and pull it again"
        )
    good = sum(state == "ok" and (models.folder / role.file).exists() for role, state in states)
    if not good:
        raise ModelMissing(f"{models.folder} holds no pinned weights; `veilcast models pull` stores them")
    return good


def pull(
    roles: Iterable[Role], folder: Path, brought: Mapping[str, Path] | None = None, *, again: bool = False
) -> list[Path]:
    """Fetches, converts and stores the files of `roles`; a release that serves several is downloaded once.

    What is there and right is left alone unless `again`, and what comes with the product unless its parts
    are `brought`: files that a person supplies for parts that no registry has, by file name. Raises
    ModelMissing, ModelCorrupt; stores nothing unchecked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with tempfile.TemporaryDirectory(prefix="veilcast-models-") as scratch:
        source = _Source(Path(scratch), brought or {})
        for role in roles:
            path = folder / role.file
            if (SHIPPED / role.file).exists() and role.brought(brought or ()):
                continue
            if again or not _is_right(path, role.sha256):
                write_whole(path, build(role, source.parts(role)))
                written.append(path)
    return written


def build(role: Role, parts: list[bytes]) -> bytes:
    """The role's file from its parts, both checked against the catalogue. Raises ModelCorrupt."""
    for part, data in zip(role.parts, parts, strict=True):
        check(data, part.sha256, f"{part.release or 'the supplied file'}: {part.path}")
    data = role.convert(*parts) if role.convert else parts[0]
    check(data, role.sha256, f"{role.file} as converted here")
    return data


def check(data: bytes, sha256: str, what: str) -> None:
    """Raises ModelCorrupt unless `data` has that hash."""
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ModelCorrupt(
            f"{what} has SHA-256 {found[:16]}..., expected {sha256[:16]}...: not used; pull it again"
        )


class _Source:
    """Parts of releases; keeps each archive for as long as the pull lasts."""

    def __init__(self, scratch: Path, brought: Mapping[str, Path]) -> None:
        self._scratch = scratch
        self._brought = brought
        self._archives: dict[Release, Path] = {}

    def parts(self, role: Role) -> list[bytes]:
        return [self._part(role, part) for part in role.parts]

    def _part(self, role: Role, part: Part) -> bytes:
        if part.release is not None:
            return extract(self._archive(part.release), part)
        try:
            return self._brought[part.path].read_bytes()
        except (KeyError, OSError):
            raise ModelMissing(
                f"{role.name} needs {part.path}, which no registry has; give it with --from FILE"
            ) from None

    def _archive(self, release: Release) -> Path:
        if release not in self._archives:
            folder = self._scratch / str(len(self._archives))
            folder.mkdir()
            self._archives[release] = download(release, folder)
        return self._archives[release]


def _is_right(path: Path, sha256: str) -> bool:
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def write_whole(path: Path, data: bytes) -> None:
    """Readable by this user alone; under the final name all at once or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise

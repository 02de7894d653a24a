"""What a live session looks and draws with, and what may be asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from veilcast.config import Config
from veilcast.errors import ConfigError
from veilcast.pipeline.cover import Painter
from veilcast.pipeline.overload import Level
from veilcast.pipeline.window import Finder
from veilcast.types import Frame, Track


class Watcher(Finder, Protocol):
    """A finder that can also be made ready, and checked."""

    def warm(self, frame: Frame) -> None: ...


class Faces(Protocol):
    """What draws synthetic faces; live_faces.py has it."""

    def painters(self, frame: Frame, tracks: Sequence[Track], level: Level) -> Mapping[int, Painter]: ...

    def restart(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Engines:
    """What a session looks and draws with. `finder` makes one for each connection; `canary` raises
    EngineError where the networks no longer say what they should."""

    finder: Callable[[], Watcher]
    faces: Faces | None = None
    canary: Callable[[], None] = lambda: None


def check_config(config: Config) -> None:
    """Raises ConfigError for settings that mean nothing, or something dangerous, in a stream."""
    if config.start_s is not None or config.end_s is not None:
        raise ConfigError("start_s and end_s are for files: a live stream is covered from end to end")
    if config.cover.allow_keep:
        raise ConfigError("allow_keep is for files: nobody can mark a face of a live stream")
    if config.live.look_ahead_s >= config.live.max_latency_s:
        raise ConfigError("live.look_ahead_s must be less than live.max_latency_s, of which it is a part")

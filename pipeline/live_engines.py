"""Everything that a live session looks and draws with, opened together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from veilcast.config import Config
from veilcast.pipeline.drawn import looked_at
from veilcast.pipeline.live import Engines
from veilcast.pipeline.live_finder import LiveFinder, open_networks
from veilcast.trt_engines.models import Models


@contextmanager
def open_engines(config: Config, models: Path | None) -> Iterator[Engines]:
    """Raises ModelMissing, ModelCorrupt, EngineError, ConfigError."""
    store = Models(models) if models else Models(fetch=True)
    with open_networks(store) as networks:

        def canary() -> None:
            looked_at(LiveFinder(networks, config.detect))

        yield Engines(lambda: LiveFinder(networks, config.detect), None, canary)

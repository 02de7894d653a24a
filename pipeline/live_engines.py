"""Everything that a live session looks and draws with, opened together."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from veilcast.config import Config
from veilcast.pipeline.detect import open_networks
from veilcast.pipeline.drawn import looked_at
from veilcast.pipeline.live_faces import LiveFaces
from veilcast.pipeline.live_finder import LiveFinder
from veilcast.pipeline.watching import Engines
from veilcast.trt_engines.models import Models

PATIENCE_S = 5.0  # with a generator that does not answer


@contextmanager
def open_engines(config: Config, models: Path | None, shared: Path | None = None) -> Iterator[Engines]:
    """`shared`: the socket of a generator that renders for other cameras too. Raises ModelMissing,
    ModelCorrupt, EngineError, ConfigError."""
    store = Models(models) if models else Models(fetch=True)
    with open_networks(store, config.device) as networks, _faces(config, store, shared) as faces:

        def canary() -> None:
            looked_at(LiveFinder(networks, config.detect))

        yield Engines(lambda: LiveFinder(networks, config.detect), faces, canary)


@contextmanager
def _faces(config: Config, store: Models, shared: Path | None) -> Iterator[LiveFaces | None]:
    if config.cover.replacewith != "synthetic":
        yield None
        return
    from veilcast.pipeline.studio import Studio
    from veilcast.trt_engines.open import open_engine

    network = partial(open_engine, device=config.device)
    with Studio(config.synthetic, store, network, PATIENCE_S, shared) as studio:
        yield LiveFaces(studio, secrets.token_bytes(16))

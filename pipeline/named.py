"""What the files say that settings name. A journal that knew them by their names alone would take an output
for done that another zone, or another model, was meant for."""

from __future__ import annotations

from contextlib import suppress

from veilcast.config import Config
from veilcast.pipeline import zones
from veilcast.pipeline.generator_remote import manifest_hash


def contents(config: Config) -> str:
    """For a digest of the settings; "" where they name no file. Keys are none of it. Raises ConfigError for a
    file of zones that cannot be read; of a model that is not there, whoever opens it tells."""
    told = repr(zones.parse(config.zones)) if config.zones.endswith(".toml") else ""
    if config.synthetic.model is not None and config.cover.replacewith == "synthetic":
        with suppress(OSError):
            told += manifest_hash(config.synthetic.model)  # it has the hashes of the model's other files
    return told

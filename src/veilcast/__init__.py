"""veilcast: video anonymisation that people can trust."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veilcast.config import Config as Config
    from veilcast.pipeline.anonymizer import Anonymizer as Anonymizer
    from veilcast.pipeline.api import Extras as Extras
    from veilcast.pipeline.api import anonymize_file as anonymize_file

__version__ = "0.1.0"

# imported when they are asked for: `import veilcast` and `veilcast --help` cost nothing
_HOMES = {
    "Config": "veilcast.config",
    "Anonymizer": "veilcast.pipeline.anonymizer",
    "Extras": "veilcast.pipeline.api",
    "anonymize_file": "veilcast.pipeline.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'veilcast' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

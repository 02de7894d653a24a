"""What happens, as one line of JSON each on standard error. Nothing is logged but names, numbers and our
own sentences: no address with a secret, no library's text, nothing of a picture."""

from __future__ import annotations

import sys
from typing import Any

import structlog

_LOG = structlog.get_logger("veilcast.live")


def setup() -> None:
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.add_log_level,
            structlog.processors.EventRenamer("event"),
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def event(name: str, facts: dict[str, Any]) -> None:
    """`alarm` and errors are warnings; anything else is information."""
    (_LOG.warning if facts.get("alarm") or facts.get("error") else _LOG.info)(name, **facts)

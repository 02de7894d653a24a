"""How strong the covers are that keep something of a face. Apart from cover.py: the command asks before it
does anything, and need not load what draws."""

from __future__ import annotations

from veilcast import config

# above these a recogniser still matches faces at FAR 1e-3: benchmarks/cover_strength.py
SAFE_CELLS = 5
SAFE_LEVELS = 32


def weakness(settings: config.Cover) -> str | None:
    """A warning where mosaic or blur keeps enough of a face for a recogniser."""
    if settings.replacewith == "solid":
        return None
    if settings.cells <= SAFE_CELLS and settings.levels <= SAFE_LEVELS:
        return None
    return (
        f"--replacewith {settings.replacewith} with {settings.cells} cells and {settings.levels} levels may "
        f"leave faces recognisable; use at most {SAFE_CELLS} cells and {SAFE_LEVELS} levels, or solid"
    )

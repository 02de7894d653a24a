"""The evaluation clips beside the checkout, where there are any."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

SUFFIXES = {".mp4", ".mkv", ".avi", ".mpg", ".mov", ".webm"}


def clips_at_hand(names: Sequence[str] | None = None) -> list[Path]:
    """All clips, or those called `names`; ends the program where the folder is missing."""
    root = Path(__file__).resolve().parent.parent.parent
    folder = Path(os.environ.get("VEILCAST_SHARED", root / "shared")) / "videos"
    if not folder.is_dir():
        sys.exit(f"no evaluation clips at {folder}; name some, or set VEILCAST_SHARED")
    if names is not None:
        return [folder / name for name in names]
    return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)

"""A frame's way through decode, cover and encode, as short as it can be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests import media


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, media.Clip], Path]:
    """clips("name.mp4", Clip(...)) -> its path; made once a session."""
    folder = tmp_path_factory.mktemp("clips")
    made: dict[str, Path] = {}

    def clip(name: str, what: media.Clip) -> Path:
        key = f"{name} {what}"
        if key not in made:
            made[key] = media.make(folder / f"{len(made)}_{name}", what)
        return made[key]

    return clip

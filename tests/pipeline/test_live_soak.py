"""Two minutes of one camera: its process stays as it is, and nobody is shown. benchmarks/live_soak.py is the
long run."""

from __future__ import annotations

from pathlib import Path

from benchmarks.live_soak import soak
from tests.live_media import needs_server

MOST_GROWTH = 0.03  # of memory: what is 1 % in ten minutes is noise in two


def test_two_minutes_leave_a_camera_as_it_was(tmp_path: Path) -> None:
    needs_server()
    done = soak(120, tmp_path)
    assert done.control > 20  # the camera itself shows everybody
    assert done.leaks == 0
    assert done.pictures > 100
    assert done.spread("descriptors") <= 0
    assert done.spread("threads") <= 0
    assert done.spread("processes") <= 0
    assert done.growth <= MOST_GROWTH

"""The clips and faces that figures are measured on: which they are, and whether those at hand are those."""

from __future__ import annotations

import hashlib
import importlib
import re
from pathlib import Path

import pytest
from benchmarks import archive, clips, memory, picture_speed

BENCHMARKS = Path(clips.__file__).parent
_LINES = [line.split("  ", 1) for line in (BENCHMARKS / "shared.sha256").read_text().splitlines()]
HASHES = {name: digest for digest, name in _LINES}
VIDEOS = {Path(name).name for name in HASHES if name.startswith("videos/")}


def test_each_clip_has_its_hash_and_its_origin_told() -> None:
    table = (BENCHMARKS / "README.md").read_text().split("| clip |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| (\S+\.\w+) \| `\S+/\S+` \| `\S+` \|$", table, re.MULTILINE)) == VIDEOS


def test_what_benchmarks_take_is_listed() -> None:
    asked = {archive.CLIP, memory.SOURCE}.union(*picture_speed.CLIPS.values())
    for name in ("carrying", "face_stages", "peers", "quantised", "recall", "speed", "synthetic"):
        asked |= set(importlib.import_module(f"benchmarks.{name}").CLIPS)
    assert asked <= VIDEOS


@pytest.mark.shared
def test_the_folder_at_hand_holds_what_the_figures_are_of(shared: Path) -> None:
    found = {name: hashlib.sha256((shared / name).read_bytes()).hexdigest() for name in HASHES}
    assert found == HASHES

"""Built engines: found by what they were built from, refused when anything was changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from veilcast.errors import ModelCorrupt, ModelMissing
from veilcast.trt_engines.seal import KEY
from veilcast.trt_engines.store import MANIFEST, EngineStore, Recipe

RECIPE = Recipe("unet", "ab" * 32, {"x": ((1, 3), (8, 3), (16, 3))}, "fp16", "tensorrt-rtx 1.7", ("sm86",))


@pytest.fixture
def store(tmp_path: Path) -> EngineStore:
    store = EngineStore(tmp_path / "engines")
    store.put(RECIPE, b"native code")
    return store


def test_an_engine_is_found_by_its_recipe(store: EngineStore) -> None:
    assert store.find(RECIPE) == b"native code"
    assert EngineStore(store.folder).verify() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"network_sha256": "cd" * 32},
        {"profile": {"x": ((1, 3), (4, 3), (16, 3))}},
        {"precision": "bf16"},
        {"library": "tensorrt-rtx 1.8"},
        {"targets": ("sm89",)},
        {"targets": ("sm86", "sm89")},
    ],
)
def test_another_recipe_is_another_engine(store: EngineStore, change: dict[str, Any]) -> None:
    assert store.find(replace(RECIPE, **change)) is None


def test_a_changed_engine_is_refused(store: EngineStore) -> None:
    (store.folder / f"{RECIPE.key}.engine").write_bytes(b"native cod3")
    with pytest.raises(ModelCorrupt):
        store.find(RECIPE)
    with pytest.raises(ModelCorrupt):
        store.verify()


def test_an_engine_with_a_hash_that_fits_but_no_signature_is_refused(store: EngineStore) -> None:
    """Whoever swaps an engine can compute its hash, and cannot sign the list."""
    import hashlib

    (store.folder / f"{RECIPE.key}.engine").write_bytes(b"evil")
    manifest = json.loads((store.folder / MANIFEST).read_text())
    manifest["engines"][RECIPE.key]["sha256"] = hashlib.sha256(b"evil").hexdigest()
    (store.folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ModelCorrupt, match="not signed"):
        store.find(RECIPE)


def test_a_list_signed_by_another_user_is_refused(store: EngineStore) -> None:
    (store.folder / KEY).write_bytes(b"another user's key")
    with pytest.raises(ModelCorrupt, match="not signed"):
        store.entries()


@pytest.mark.parametrize("text", ["", "[]", '{"engines": {}}', "\0"])
def test_a_spoilt_list_is_refused(store: EngineStore, text: str) -> None:
    (store.folder / MANIFEST).write_text(text)
    with pytest.raises(ModelCorrupt):
        store.entries()


def test_a_lost_engine_says_what_to_run(store: EngineStore) -> None:
    (store.folder / f"{RECIPE.key}.engine").unlink()
    with pytest.raises(ModelMissing, match="engines build"):
        store.verify()


def test_files_are_the_users_alone(store: EngineStore) -> None:
    assert store.folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in store.folder.glob("engines.*"))
    assert all(path.stat().st_mode & 0o077 == 0 for path in store.folder.glob("*.engine"))

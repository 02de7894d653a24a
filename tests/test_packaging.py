"""Every folder of the product is `veilcast.<folder>`, and each import contract catches a violation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ["diffusion", "evaluation", "pipeline", "service", "trackers", "training", "trt_engines"]

VIOLATIONS = {
    "trackers/life.py": ["import veilcast.pipeline.plan", "layers"],
    "trt_engines/models.py": ["import veilcast.pipeline.plan", "layers"],
    "pipeline/plan.py": ["import veilcast.training", "layers"],
    "pipeline/cover.py": ["import av", "one file each for av, ray, filterpy and tensorrt"],
    "pipeline/stages.py": ["import ray", "one file each for av, ray, filterpy and tensorrt"],
    "trackers/assignment.py": ["import filterpy", "one file each for av, ray, filterpy and tensorrt"],
    "trt_engines/engine.py": ["import tensorrt", "one file each for av, ray, filterpy and tensorrt"],
    "pipeline/decode.py": ["import torch", "the default pipeline runs without torch"],
    "trackers/kalman.py": ["import torch", "the default pipeline runs without torch"],
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_has_its_relative_link(folder: str) -> None:
    link = ROOT / "src" / "veilcast" / folder
    assert link.is_symlink()
    assert link.readlink() == Path("../..") / folder
    assert link.resolve() == ROOT / folder


def test_no_module_is_named_like_a_library_that_it_imports() -> None:
    libraries = {"av", "cv2", "numpy", "ray", "torch", "filterpy", "onnx", "openvino", "typer", "rich"}
    names = {path.stem for folder in [*FOLDERS, "src/veilcast"] for path in (ROOT / folder).rglob("*.py")}
    assert not names & libraries


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, links and all, with the contracts."""
    copy = tmp_path_factory.mktemp("tree")
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in [*FOLDERS, "src"]:
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def lint(tree: Path) -> tuple[int, str]:
    script = Path(sys.executable).with_name("lint-imports")
    environment = os.environ | {"PYTHONPATH": str(tree / "src"), "COLUMNS": "200"}
    done = subprocess.run(
        [script, "--no-cache"], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_sources_keep_the_contracts(tree: Path) -> None:
    code, told = lint(tree)
    assert code == 0, told


@pytest.mark.parametrize("path", VIOLATIONS)
def test_a_planted_violation_is_caught(tree: Path, path: str) -> None:
    planted, contract = VIOLATIONS[path]
    file = tree / path
    original = file.read_text()
    try:
        file.write_text(f"{original}\n\n{planted}\n")
        code, told = lint(tree)
    finally:
        file.write_text(original)
    assert code == 1, told
    assert f"{contract} BROKEN" in told


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    """`veilcast --help` answers at once; training, evaluation and inference are imported when asked for."""
    code = (
        "import sys; from veilcast.cli import app; app(['--help'], standalone_mode=False);"
        "print(sorted({'torch', 'openvino', 'av', 'cv2', 'onnx', 'ray', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"

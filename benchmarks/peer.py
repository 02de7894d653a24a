"""deface 1.5.0, the peer that the figures are set beside, in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = ("deface==1.5.0", "onnx", "onnxruntime")
DEFAULT_FOLDER = Path.home() / ".cache" / "veilcast" / "peers" / "deface-1.5.0"


def environment(folder: Path = DEFAULT_FOLDER) -> Path:
    """The peer's command, installed once from PyPI."""
    command = folder / "bin" / "deface"
    if not command.exists():
        print(f"installing {REQUIREMENTS[0]} in {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        pip = [str(folder / "bin" / "pip"), "install", "-q"]
        subprocess.run([*pip, *REQUIREMENTS], check=True)
        # the wheel that deface asks for needs a display's libraries; the headless one does not
        subprocess.run([*pip[:1], "uninstall", "-q", "-y", "opencv-python"], check=True)
        subprocess.run([*pip, "--force-reinstall", "--no-deps", "opencv-python-headless"], check=True)
    return command


def run(source: Path, target: Path, *options: str) -> None:
    """The peer at its defaults, plus `options`. Raises CalledProcessError with what it said."""
    subprocess.run(
        [str(environment()), str(source), "-o", str(target), *options], check=True, capture_output=True
    )

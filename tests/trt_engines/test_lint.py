"""Networks as they are exported pass polygraphy's lint: what other builders stumble over is not in them.

Not in bfloat16: the lint runs each node in numpy, which has no such type, and fails on every one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.trt_engines.networks import group_norm_network
from tests.trt_engines.test_generator import (  # noqa: F401  fixtures
    decoder,
    exported,
    unet,
)

from veilcast.trt_engines.graphs import unrolled
from veilcast.trt_engines.network import half

pytest.importorskip("polygraphy", reason="polygraphy is an optional install")
pytest.importorskip("onnx_graphsurgeon", reason="polygraphy's lint needs onnx-graphsurgeon")


def lint(data: bytes, folder: Path) -> list[dict[str, object]]:
    """What polygraphy calls an error or a warning."""
    path, report = folder / "network.onnx", folder / "report.json"
    path.write_bytes(data)
    start = "from polygraphy.tools import main; raise SystemExit(main())"
    command = [sys.executable, "-c", start, "check", "lint", str(path), "-o", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert report.exists(), done.stderr[-1000:]
    found: list[dict[str, object]] = json.loads(report.read_text())["lint_entries"]
    return found


def test_the_lint_finds_what_is_broken(tmp_path: Path) -> None:
    broken = group_norm_network().replace(b"InstanceNormalization", b"InstanceNormalisation")
    assert any(entry["level"] == "exception" for entry in lint(broken, tmp_path))


@pytest.mark.parametrize("form", ["unet", "decoder", "both in one graph", "fp16"])
def test_the_generators_networks_are_clean(
    form: str,
    exported: dict[str, bytes],  # noqa: F811  a fixture
    tmp_path: Path,
) -> None:
    forms = {
        "both in one graph": lambda: unrolled(exported["unet"], exported["decoder"], [1, 0.5]),
        "fp16": lambda: half(exported["unet"], "fp16"),
    }
    data = forms[form]() if form in forms else exported[form]
    entries = lint(data, tmp_path)
    assert [entry for entry in entries if entry["level"] == "exception"] == []

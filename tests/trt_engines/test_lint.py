"""Networks as they are built pass polygraphy's lint: what other builders stumble over is not in them.

Not in bfloat16: the lint runs each node in numpy, which has no such type, and fails on every one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.trt_engines.networks import group_norm_network
from tests.trt_engines.shipped import onnx_bytes

from veilcast.trt_engines.graphs import unrolled
from veilcast.trt_engines.network import half
from veilcast.trt_engines.simplify import simplified

pytest.importorskip("polygraphy", reason="polygraphy is an optional install")
pytest.importorskip("onnx_graphsurgeon", reason="polygraphy's lint needs onnx-graphsurgeon")

# one process for all: it takes longer to start than to look
SCRIPT = """
import sys
from polygraphy.tools import main
for path in sys.argv[1:]:
    sys.argv = ["polygraphy", "check", "lint", path, "-o", path + ".json"]
    try:
        main()
    except SystemExit:
        pass
"""
SHIPPED = ("unet", "decoder", "closeup", "coarse", "identity", "expression")
CLEAN = (*SHIPPED, "sampler", "decoder in fp16")
BROKEN = "broken"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[dict[str, object]]]:
    """Network -> what the lint says of it."""
    networks = {name: simplified(onnx_bytes(name)) for name in SHIPPED}
    networks["sampler"] = unrolled(networks["unet"], networks["decoder"], [1, 0.5])
    networks["decoder in fp16"] = half(networks["decoder"], "fp16")
    networks[BROKEN] = group_norm_network().replace(b"InstanceNormalization", b"InstanceNormalisation")
    folder = tmp_path_factory.mktemp("lint")
    paths = {name: folder / f"{name}.onnx" for name in networks}
    for name, data in networks.items():
        paths[name].write_bytes(data)
    command = [sys.executable, "-c", SCRIPT, *map(str, paths.values())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    reports = {name: Path(f"{path}.json") for name, path in paths.items()}
    assert all(report.exists() for report in reports.values()), done.stderr[-1000:]
    return {name: json.loads(report.read_text())["lint_entries"] for name, report in reports.items()}


def errors(entries: list[dict[str, object]]) -> list[dict[str, object]]:
    return [entry for entry in entries if entry["level"] == "exception"]


def test_the_lint_finds_what_is_broken(found: Mapping[str, list[dict[str, object]]]) -> None:
    assert errors(found[BROKEN])


@pytest.mark.parametrize("name", CLEAN)
def test_the_generators_networks_are_clean(name: str, found: Mapping[str, list[dict[str, object]]]) -> None:
    assert errors(found[name]) == []

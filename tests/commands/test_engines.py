"""`veilcast engines` as a person uses it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.trt_engines.networks import conv_network, pictures
from typer.testing import CliRunner

from veilcast.commands.engines import app
from veilcast.errors import ModelCorrupt, VeilcastError


def veilcast(*arguments: object) -> str:
    """What `veilcast engines ARGUMENTS` prints. Raises what it raises."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "conv.onnx"
    path.write_bytes(conv_network())
    return path


def test_networks_are_built_listed_and_verified(network: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an optional install")
    store = ("--engines", tmp_path / "engines")
    build = ("build", network, "--target", 86, "--target", 89, "--precision", "fp16", "--precision", "bf16")
    told = veilcast(*build, *store)
    assert "conv fp16 sm86, sm89: built" in told
    assert "conv bf16 sm86, sm89: built" in told
    assert "conv fp16 sm86, sm89: there already" in veilcast(*build, *store)
    listed = veilcast("list", *store)
    assert listed.index("bf16") < listed.index("fp16")
    assert "2 engines are as they were built" in veilcast("verify", *store)
    engine = next((tmp_path / "engines").glob("*.engine"))
    engine.write_bytes(engine.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelCorrupt):
        veilcast("verify", *store)


def test_a_network_is_quantised_and_then_built(network: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="nncf is an optional install")
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an optional install")
    np.savez(tmp_path / "cases.npz", picture=pictures(8))
    for kind in ("int8", "fp8"):
        out = tmp_path / f"{kind}.onnx"
        given = ("quantise", network, "--inputs", tmp_path / "cases.npz", "--kind", kind, "-o", out)
        assert kind in veilcast(*given)
        told = veilcast("build", out, "--precision", kind, "--target", 89, "--engines", tmp_path / "engines")
        assert f"{kind} {kind} sm89: built" in told
    with pytest.raises(VeilcastError, match="not quantised to int8"):
        veilcast("build", network, "--precision", "int8", "--target", 89, "--engines", tmp_path / "engines")


def test_backends_are_measured_side_by_side(network: Path) -> None:
    told = veilcast("bench", network, "--batch", 2, "--threads", 1, "--seconds", 0.1)
    assert "Ceilings measured in this run" in told
    assert "onnxruntime f32" in told
    assert "| conv | 2 |" in told


@pytest.mark.parametrize("wrong", [("--precision", "fp4"), ("--size", "rgb")])
def test_what_makes_no_sense_is_told(network: Path, wrong: tuple[str, str]) -> None:
    result = CliRunner().invoke(app, ["build", str(network), *wrong])
    assert result.exit_code == 2
    assert wrong[1] in result.output

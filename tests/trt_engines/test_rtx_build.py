"""Ahead-of-time builds on a processor: that networks build, and that what cannot says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.trt_engines.networks import conv_network, group_norm_network

from veilcast.errors import EngineError, ModelCorrupt
from veilcast.trt_engines.build import build_all, profile
from veilcast.trt_engines.convert.graph import GraphWriter
from veilcast.trt_engines.rtx_build import BadProfile, UnsupportedNetwork, UnsupportedTarget, build
from veilcast.trt_engines.store import EngineStore

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an optional install")

TARGETS = (80, 86, 89, 120)
NETWORK = group_norm_network()
PROFILE = profile(NETWORK, (1, 8, 16))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_time_conditioned_block_builds_for_every_target(precision: Any) -> None:
    assert len(build(NETWORK, PROFILE, precision, TARGETS)) > 1000


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_layers_that_the_precision_lacks_run_in_float32(precision: Any) -> None:
    """Transposed convolutions and hard swish have no bfloat16 implementation there."""
    graph = GraphWriter("wide")
    kernel = np.random.default_rng(0).normal(size=(8, 8, 2, 2)).astype(np.float32)
    x = graph.conv("x", kernel.transpose(1, 0, 2, 3)[:, :, :1, :1].copy(), pads=[0] * 4)
    x = graph.node("ConvTranspose", graph.node("HardSwish", x), graph.constant(kernel), strides=[2, 2])
    graph.node("Relu", x, to="y")
    data = graph.bytes({"x": ["n", 8, "h", "w"]}, {"y": ["n", 8, "2h", "2w"]})
    assert build(data, profile(data, (1, 1, 4), {"x": (8, 32, 64)}), precision, TARGETS)


@pytest.mark.parametrize(
    ("shapes", "complaint"),
    [
        pytest.param({}, "lacks the input", id="missing"),
        pytest.param({**PROFILE, "t": ((8, 32), (1, 32), (16, 32))}, "does not fit", id="not in order"),
        pytest.param({**PROFILE, "t": ((1, 31), (8, 31), (16, 31))}, "does not fit", id="against the file"),
        pytest.param({**PROFILE, "t": ((1,), (8,), (16,))}, "2 dimensions", id="rank"),
        pytest.param({**PROFILE, "t": ((0, 32), (1, 32), (2, 32))}, "does not fit", id="empty"),
    ],
)
def test_a_bad_profile_is_refused(shapes: Any, complaint: str) -> None:
    with pytest.raises(BadProfile, match=complaint):
        build(NETWORK, shapes, "fp16", (86,))


@pytest.mark.parametrize(
    ("precision", "targets", "complaint"),
    [
        ("fp8", (80,), "SM 80 has no fp8"),
        ("bf16", (75,), "SM 75 has no bf16"),
        ("fp16", (90,), "not for SM 90"),
        ("fp16", (), "no target"),
    ],
)
def test_a_target_without_the_precision_is_refused(precision: Any, targets: Any, complaint: str) -> None:
    with pytest.raises(UnsupportedTarget, match=complaint):
        build(NETWORK, PROFILE, precision, targets)


def test_an_operator_without_an_implementation_is_refused() -> None:
    graph = GraphWriter("complex")
    graph.node("Det", "x", to="y")
    data = graph.bytes({"x": ["n", 3, 3]}, {"y": ["n"]})
    with pytest.raises(UnsupportedNetwork) as caught:
        build(data, profile(data, (1, 1, 1)), "fp16", (86,))
    assert "\n" not in str(caught.value)


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ModelCorrupt):
        build(b"text", PROFILE, "fp16", (86,))


def test_open_sizes_must_be_said() -> None:
    graph = GraphWriter("open")
    graph.node("Relu", "x", to="y")
    data = graph.bytes({"x": ["n", 3, "h", "w"]}, {"y": ["n", 3, "h", "w"]})
    with pytest.raises(EngineError, match="--size x="):
        profile(data, (1, 2, 4))
    assert profile(data, (1, 2, 4), {"x": (3, 8, 8)})["x"] == ([1, 3, 8, 8], [2, 3, 8, 8], [4, 3, 8, 8])


def test_several_engines_are_built_once_and_found_again(tmp_path: Path) -> None:
    store = EngineStore(tmp_path / "engines")
    networks = {"conv": conv_network()}
    first = list(build_all(networks, ["fp16", "bf16"], (86, 89), store))
    assert [built.fresh for built in first] == [True, True]
    again = list(build_all(networks, ["fp16", "bf16"], (86, 89), store))
    assert [built.fresh for built in again] == [False, False]
    assert store.verify() == 2

"""int8 through nncf: what is lost is measured, and what cannot be quantised says why."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from tests.trt_engines.networks import conv_network, conv_reference, pictures

from veilcast.errors import EngineError, ModelCorrupt
from veilcast.trt_engines.canary import F32_PLAIN, error
from veilcast.trt_engines.engine import Model, Settings
from veilcast.trt_engines.quantise import quantised

pytest.importorskip("nncf", reason="nncf is an optional install")

CALIBRATION = [{"picture": pictures(1, seed)} for seed in range(16)]


def answered(data: bytes, count: int = 5) -> dict[str, np.ndarray]:
    with F32_PLAIN.open(Model(data, ".onnx"), Settings()) as engine:
        return engine.run({"picture": pictures(count, seed=99)})


def test_an_int8_network_gives_the_numbers_within_its_steps() -> None:
    data = quantised(conv_network(), CALIBRATION)
    kinds = {node.op_type for node in onnx.load_model_from_string(data).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    right = conv_reference(pictures(5, seed=99))
    assert 1e-4 < error(answered(data), right) < 0.05  # eight bits were used, and they suffice here


def test_calibration_on_what_is_never_seen_costs_more() -> None:
    """The mutant: ranges that were set on inputs a tenth as large clip the rest away."""
    small = [{"picture": sample["picture"] / 10} for sample in CALIBRATION]
    right = conv_reference(pictures(5, seed=99))
    assert error(answered(quantised(conv_network(), small)), right) > 0.2


def test_layers_that_are_named_stay_as_they_are() -> None:
    data = quantised(conv_network(), CALIBRATION, ignored=[".*"])
    right = conv_reference(pictures(5, seed=99))
    assert error(answered(data), right) < 1e-4


def test_nothing_to_calibrate_with_and_no_network_are_told() -> None:
    with pytest.raises(EngineError, match="calibration inputs"):
        quantised(conv_network(), [])
    with pytest.raises(ModelCorrupt):
        quantised(b"no network", CALIBRATION)


def test_an_int8_network_builds_where_there_are_int8_tensor_cores() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an optional install")
    from veilcast.trt_engines.build import profile
    from veilcast.trt_engines.rtx_build import UnsupportedTarget, build

    data = quantised(conv_network(), CALIBRATION)
    shapes = profile(data, (1, 8, 16))
    assert len(build(data, shapes, "int8", (80, 89))) > 1000
    with pytest.raises(UnsupportedTarget, match="no int8"):
        build(data, shapes, "int8", (75,))

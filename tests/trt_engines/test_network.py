"""Networks before a build: checked, counted, narrowed to half precision."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.trt_engines.networks import conv_network, conv_reference, group_norm_network, pictures

from veilcast.errors import ModelCorrupt
from veilcast.trt_engines.canary import ORT
from veilcast.trt_engines.cost import cost
from veilcast.trt_engines.engine import Model, Settings
from veilcast.trt_engines.network import checked, half


def test_flop_of_a_convolution_are_counted_by_hand() -> None:
    found = cost(conv_network(), {"picture": (2, 3, 8, 8)})
    assert found.flop == 2 * (2 * 4 * 8 * 8) * (3 * 3 * 3)
    assert found.activations == 2 * 4 * 8 * 8
    assert found.weights >= 4 * 3 * 3 * 3 + 4
    assert found.bytes(2) == found.bytes(4) / 2


def test_flop_grow_with_the_batch_alone() -> None:
    shapes = {"x": (32, 16, 16), "t": (32,)}
    one, eight = (cost(group_norm_network(), {k: (n, *v) for k, v in shapes.items()}) for n in (1, 8))
    assert eight.flop == 8 * one.flop == 8 * 2 * (32 * 16 * 16) * (32 * 3 * 3)


def test_half_precision_keeps_the_border_and_the_numbers() -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is an optional install")
    data = half(conv_network(), "fp16")
    inner = {t.data_type for t in onnx.load_model_from_string(data).graph.initializer}
    assert inner == {TensorProto.FLOAT16}
    with ORT.open(Model(data, ".onnx"), Settings()) as engine:
        assert [str(spec.dtype) for spec in (*engine.inputs, *engine.outputs)] == ["float32"] * 3
        answer = engine.run({"picture": pictures(2)})
    np.testing.assert_allclose(answer["map"], conv_reference(pictures(2))["map"], atol=1e-2)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_is_well_formed(precision: str) -> None:
    checked(half(group_norm_network(), precision))  # type: ignore[arg-type]


def test_foreign_operators_and_outside_weights_are_refused() -> None:
    model = onnx.load_model_from_string(conv_network())
    foreign = onnx.ModelProto()
    foreign.CopyFrom(model)
    foreign.graph.node[0].domain = "com.example"
    foreign.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(ModelCorrupt, match=r"com\.example"):
        checked(foreign.SerializeToString())
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    tensor.ClearField("raw_data")
    with pytest.raises(ModelCorrupt):
        checked(model.SerializeToString())


@pytest.mark.parametrize("data", [b"", b"text", conv_network()[:100]])
def test_what_is_no_network_is_refused(data: bytes) -> None:
    with pytest.raises(ModelCorrupt, match="not a valid ONNX network"):
        checked(data)

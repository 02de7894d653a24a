"""What does not depend on an input is computed once; the numbers stay."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.trt_engines.networks import conv_network
from tests.trt_engines.shipped import OUTPUTS, inputs, onnx_bytes

from veilcast.errors import ModelCorrupt
from veilcast.trt_engines.canary import F32_PLAIN, error
from veilcast.trt_engines.engine import Model, Settings, Tensors
from veilcast.trt_engines.simplify import simplified


def run(data: bytes, values: Tensors) -> dict[str, np.ndarray]:
    with F32_PLAIN.open(Model(data, ".onnx"), Settings(threads=1)) as engine:
        return engine.run(values)


def nodes(data: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_model_from_string(data).graph.node]


def halved(output: str = "y") -> bytes:
    """y = x * w + 2 w, its weight stored narrow behind a cast, an identity on the way, one weight unused."""
    w = numpy_helper.from_array(np.array([1, 2, 3], np.float16), "w.half")
    two = numpy_helper.from_array(np.array([2], np.float32), "two")
    unused = numpy_helper.from_array(np.zeros(1000, np.float32), "unused")
    made = [
        helper.make_node("Cast", ["w.half"], ["w"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["w", "two"], ["w2"]),
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Mul", ["same", "w"], ["scaled"]),
        helper.make_node("Add", ["scaled", "w2"], [output]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", output)]
    graph = helper.make_graph(made, "halved", values[:1], values[1:], [w, two, unused])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(model.SerializeToString())


def test_constants_are_folded_and_what_is_unused_goes() -> None:
    data = simplified(halved())
    assert nodes(data) == ["Mul", "Add"]
    assert {tensor.name for tensor in onnx.load_model_from_string(data).graph.initializer} == {"w", "w2"}
    x = np.array([[1, 1, 1]], np.float32)
    np.testing.assert_array_equal(run(data, {"x": x})["y"], x * [1, 2, 3] + [2, 4, 6])


def test_there_is_nothing_left_to_fold_afterwards() -> None:
    once = simplified(halved())
    assert simplified(once) == once


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_numbers_of_the_shipped_networks_stay(name: str) -> None:
    data = simplified(onnx_bytes(name))
    assert len(nodes(data)) < len(nodes(onnx_bytes(name)))
    assert error(run(data, inputs(name, 2)), run(onnx_bytes(name), inputs(name, 2))) < 1e-6


def test_pairs_that_say_a_precision_stay() -> None:
    pytest.importorskip("nncf", reason="nncf is an optional install")
    from veilcast.trt_engines.quantise import quantised, quantised_kind

    data = quantised(conv_network(), [{"picture": np.ones((1, 3, 8, 8), np.float32)}])
    assert quantised_kind(simplified(data)) == "int8"


def test_what_is_no_network_is_told() -> None:
    with pytest.raises(ModelCorrupt):
        simplified(b"no network")

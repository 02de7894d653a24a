"""Networks of convolutions in eight bits, from a table of scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from veilcast.trt_engines.convert.eight_bits import eight_bits
from veilcast.trt_engines.open import open_engine

RNG = np.random.Generator(np.random.PCG64(5))
WEIGHTS = {
    "w1": RNG.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
    "b1": RNG.normal(0, 0.1, 8).astype(np.float32),
    "w2": RNG.normal(0, 0.3, (4, 8, 1, 1)).astype(np.float32),
    "w3": RNG.normal(0, 0.3, (4, 2, 2, 2)).astype(np.float32),
}


def network() -> bytes:
    """Two layers, one of which is added to itself, and one that enlarges."""
    nodes = [
        helper.make_node("Conv", ["rgb", "w1", "b1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"]),
        helper.make_node("Add", ["c", "c"], ["d"]),
        helper.make_node("ConvTranspose", ["d", "w3"], ["out"], strides=[2, 2]),
    ]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("rgb", kind, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("out", kind, [1, 2, 32, 32])],
        [numpy_helper.from_array(v, k) for k, v in WEIGHTS.items()],
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)]).SerializeToString())


def ranges() -> dict[str, np.ndarray]:
    """Scales by which no activation is cut off."""
    scales = {"rgb": 1.0, "b": 4.0, "c": 6.0, "d": 12.0}
    return {f"scale/{name}": np.array(scale, np.float32) for name, scale in scales.items()}


def answer(data: bytes) -> np.ndarray:
    picture = np.random.Generator(np.random.PCG64(6)).integers(0, 256, (1, 3, 16, 16)).astype(np.float32)
    with open_engine(data, backend="onnxruntime") as engine:
        return engine.run({"rgb": picture})["out"]


def off(data: bytes) -> float:
    right = answer(network())
    return float(np.linalg.norm(answer(data) - right) / np.linalg.norm(right))


def test_the_answer_in_eight_bits_is_nearly_the_same() -> None:
    assert off(eight_bits(network(), ranges())) < 0.03


@pytest.mark.parametrize("name", ["b", "c"])
def test_a_scale_that_cuts_activations_off_changes_it(name: str) -> None:
    wrong = {**ranges(), f"scale/{name}": ranges()[f"scale/{name}"] / 20}
    assert off(eight_bits(network(), wrong)) > 0.2


def test_weights_are_stored_in_eight_bits_and_the_table_s_bias_is_taken() -> None:
    model = onnx.load_from_string(eight_bits(network(), {**ranges(), "bias/a": WEIGHTS["b1"] + 1}))
    stored: dict[str, Any] = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert {name: stored[f"{name}.eight"].dtype for name in ("w1", "w2", "w3")} == dict.fromkeys(
        ("w1", "w2", "w3"), np.int8
    )
    assert not {"w1", "w2", "w3", "b1"} & set(stored)
    assert np.allclose(stored["bias/a"], WEIGHTS["b1"] + 1)


def test_what_is_never_negative_has_all_of_its_bits_above_zero() -> None:
    model = onnx.load_from_string(eight_bits(network(), ranges()))
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    kinds = {name: stored[f"{name}.zero"].dtype for name in ("rgb", "b", "c", "d")}
    assert kinds == {"rgb": np.uint8, "b": np.uint8, "c": np.int8, "d": np.int8}


def test_the_same_input_gives_the_same_bytes() -> None:
    assert eight_bits(network(), ranges()) == eight_bits(network(), ranges())

"""Networks of convolutions in eight bits, from a table of scales."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from veilcast.errors import ModelCorrupt
from veilcast.trt_engines.convert.eight_bits import eight_bits
from veilcast.trt_engines.engine import load
from veilcast.trt_engines.models import ModelFile
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
    assert off(eight_bits(network(), ranges(), pictures=("rgb",))) < 0.03


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
    model = onnx.load_from_string(eight_bits(network(), ranges(), pictures=("rgb",)))
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    kinds = {name: stored[f"{name}.zero"].dtype for name in ("rgb", "b", "c", "d")}
    assert kinds == {"rgb": np.uint8, "b": np.uint8, "c": np.int8, "d": np.int8}


def test_the_same_input_gives_the_same_bytes() -> None:
    assert eight_bits(network(), ranges(), pictures=("rgb",)) == eight_bits(
        network(), ranges(), pictures=("rgb",)
    )


def test_what_may_be_negative_keeps_its_sign_unless_it_is_a_picture() -> None:
    model = onnx.load_from_string(eight_bits(network(), ranges()))
    assert {t.name: t for t in model.graph.initializer}["rgb.zero"].data_type == onnx.TensorProto.INT8


def test_a_convolution_whose_input_has_no_scale_stays_as_it_is() -> None:
    without = {name: scale for name, scale in ranges().items() if name != "scale/b"}
    stored = {t.name for t in onnx.load_from_string(eight_bits(network(), without)).graph.initializer}
    assert "w2" in stored
    assert "w2.eight" not in stored


FULL = np.float32(255)


def bright_network(weight: float = 1.0, channels: int = 64) -> bytes:
    """Unsigned activations, as large as they get, times weights of one sign: the largest sums there are."""
    graph = helper.make_graph(
        [helper.make_node("Conv", ["rgb", "w"], ["sum"])],
        "bright",
        [helper.make_tensor_value_info("rgb", onnx.TensorProto.FLOAT, [1, channels, 8, 8])],
        [helper.make_tensor_value_info("sum", onnx.TensorProto.FLOAT, [1, channels, 8, 8])],
        [numpy_helper.from_array(np.full((channels, channels, 1, 1), weight, np.float32), "w")],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()
    return eight_bits(data, {"scale/rgb": np.array(1, np.float32)}, pictures=("rgb",))


@pytest.mark.parametrize("weight", [1.0, -2.0])
def test_sums_of_products_are_whole_on_this_processor(weight: float) -> None:
    with open_engine(bright_network(weight)) as engine:
        answer = engine.run({"rgb": np.full((1, 64, 8, 8), FULL)})["sum"]
    assert np.allclose(answer, 64 * FULL * weight, rtol=0.01)


def test_two_products_of_unsigned_activations_fit_in_16_bits() -> None:
    """What processors of AVX2 without VNNI add them in."""
    for data in (eight_bits(network(), ranges(), pictures=("rgb",)), bright_network(), bright_network(-2)):
        for weights in unsigned_weights(data):
            assert np.abs(weights).max() > 50  # no bit more is spared than must be
            for sign in (1, -1):
                pairs = np.sort((sign * weights).clip(0), axis=1)[:, -2:].sum(1)
                assert pairs.max() * 255 < 2**15


def unsigned_weights(data: bytes) -> list[np.ndarray]:
    """(out, in, kh, kw) of each convolution whose activations have no sign."""
    graph = onnx.load_from_string(data).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    kinds = {node.output[0]: stored[node.input[2]].dtype for node in graph.node if len(node.input) == 3}
    makers = {node.output[0]: node for node in graph.node}
    found = [
        stored[makers[node.input[1]].input[0]].astype(int)
        for node in convolutions
        if kinds.get(node.input[0]) == np.uint8
    ]
    assert found
    return found


def test_filters_of_one_channel_and_signed_activations_have_all_of_their_bits() -> None:
    signed = onnx.load_from_string(eight_bits(network(), ranges()))
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in signed.graph.initializer}
    assert np.abs(stored["w1.eight"]).max(axis=(1, 2, 3)).tolist() == [127] * 8
    (single,) = unsigned_weights(bright_network(channels=1))
    assert single.item() == 127


@pytest.fixture
def scaled(tmp_path: Path) -> ModelFile:
    """A network's file, and that of its scales."""
    table = io.BytesIO()
    np.savez_compressed(table, allow_pickle=False, **ranges())
    found = {}
    for name, data in {"a.onnx": network(), "a.scales.npz": table.getvalue()}.items():
        (tmp_path / name).write_bytes(data)
        found[name] = ModelFile(tmp_path / name, hashlib.sha256(data).hexdigest())
    return replace(found["a.onnx"], scales=found["a.scales.npz"])


def test_a_network_with_scales_is_run_in_eight_bits_unless_a_precision_is_asked_for(
    scaled: ModelFile, tmp_path: Path
) -> None:
    picture = {"rgb": np.random.Generator(np.random.PCG64(6)).integers(0, 256, (1, 3, 16, 16))}
    inputs = {name: value.astype(np.float32) for name, value in picture.items()}
    right = answer(network())
    cache = tmp_path / "engines"
    with (
        open_engine(scaled, cache=cache) as eight,
        open_engine(scaled, precision="f32", cache=cache) as plain,
    ):
        assert np.allclose(plain.run(inputs)["out"], right, rtol=1e-4, atol=1e-3)
        assert not np.allclose(eight.run(inputs)["out"], right, rtol=1e-4, atol=1e-3)


def test_other_scales_make_another_network_and_it_is_made_only_when_it_is_compiled(
    scaled: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(scaled)
    assert scaled.scales is not None
    bent = scaled.scales.path.read_bytes() + b" "
    scaled.scales.path.write_bytes(bent)
    other = load(replace(scaled, scales=ModelFile(scaled.scales.path, hashlib.sha256(bent).hexdigest())))
    monkeypatch.setattr("veilcast.trt_engines.convert.eight_bits.by_table", None)  # nobody makes it
    assert len({model.sha256, other.sha256, model.plain.sha256}) == 3


def test_scales_that_cannot_be_read_are_told_in_one_sentence(scaled: ModelFile) -> None:
    assert scaled.scales is not None
    scaled.scales.path.write_bytes(b"no table")
    broken = ModelFile(scaled.scales.path, hashlib.sha256(b"no table").hexdigest())
    with pytest.raises(ModelCorrupt, match="export the model again"):
        _ = load(replace(scaled, scales=broken)).data
    with pytest.raises(ModelCorrupt):  # nor are those of another hash even opened
        load(scaled)

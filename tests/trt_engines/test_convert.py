"""Foreign weights are read as data: right numbers from right files, a refusal from anything else."""

from __future__ import annotations

import io
import json
import pickle
import struct
from typing import Any

import numpy as np
import onnx
import pytest
from tests.trt_engines.networks import CHANNELS, SIDE, conv_network, conv_reference, pictures

from veilcast.errors import ModelCorrupt
from veilcast.trt_engines.canary import F32_PLAIN
from veilcast.trt_engines.convert import eight_bits
from veilcast.trt_engines.convert.elf import read_objects
from veilcast.trt_engines.convert.graph import GraphWriter
from veilcast.trt_engines.convert.literal import read_bytes
from veilcast.trt_engines.convert.named import rename
from veilcast.trt_engines.convert.safetensors_file import read_tensors as read_safetensors
from veilcast.trt_engines.convert.tfjs import read_weights, same_pads
from veilcast.trt_engines.convert.tflite_file import read_network
from veilcast.trt_engines.convert.torch_file import read_tensors
from veilcast.trt_engines.engine import Model, Settings


def test_a_written_graph_is_the_same_bytes_each_time() -> None:
    assert conv_network() == conv_network()


def test_quantised_shards_are_widened() -> None:
    data = bytes([0, 128, 255]) + np.array([1.5], "<f2").tobytes() + np.array([7], "<i4").tobytes()
    entries = [
        {
            "name": "a",
            "shape": [3],
            "dtype": "float32",
            "quantization": {"dtype": "uint8", "scale": 0.5, "min": -2},
        },
        {"name": "b", "shape": [], "dtype": "float32", "quantization": {"dtype": "float16"}},
        {"name": "c", "shape": [1], "dtype": "int32"},
    ]
    weights = read_weights([{"weights": entries}], data)
    np.testing.assert_array_equal(weights["a"], [-2, 62, 125.5])
    assert weights["b"] == np.float32(1.5)
    assert weights["c"].tolist() == [7]
    with pytest.raises(ModelCorrupt, match="ends inside c"):
        read_weights([{"weights": entries}], data[:-1])
    with pytest.raises(ModelCorrupt, match="does not name"):
        read_weights([{"weights": entries}], data + b"\0")


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"), [(224, 3, 2, (0, 1)), (112, 3, 1, (1, 1)), (7, 2, 2, (0, 1))]
)
def test_same_padding_puts_the_odd_sample_last(
    size: int, kernel: int, stride: int, pads: tuple[int, int]
) -> None:
    assert same_pads(size, kernel, stride) == pads


def test_names_and_sizes_are_given_to_a_foreign_network() -> None:
    data = rename(
        conv_network(),
        {"picture": ("rgb", ["n", 3, "h", "w"])},
        {"map": ("heat", ["n", 4, "h", "w"]), "mean": ("mean", ["n", 4])},
    )
    with F32_PLAIN.open(Model(data, ".onnx"), Settings()) as engine:
        answer = engine.run({"rgb": pictures(2)})
        assert (
            engine.run({"rgb": np.zeros((1, CHANNELS, 2 * SIDE, SIDE), np.float32)})["heat"].shape[2]
            == 2 * SIDE
        )
    np.testing.assert_allclose(answer["heat"], conv_reference(pictures(2))["map"], rtol=1e-4, atol=1e-5)
    with pytest.raises(ModelCorrupt):
        rename(b"\xff\xff", {}, {})


def test_bytes_in_a_python_file_are_read_without_running_it(tmp_path: Any) -> None:
    trap = tmp_path / "ran"
    source = f"open({str(trap)!r}, 'w')\nWEIGHTS = b'\\x00abc'\n".encode()
    assert read_bytes(source, "WEIGHTS") == b"\0abc"
    assert not trap.exists()
    for bad in (b"WEIGHTS = f()", b"WEIGHTS = 'text'", b"def", b"OTHER = b''"):
        with pytest.raises(ModelCorrupt):
            read_bytes(bad, "WEIGHTS")


def checkpoint(state: object) -> bytes:
    torch = pytest.importorskip("torch", reason="torch is an optional install")
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def test_a_torch_checkpoint_is_read_as_data() -> None:
    torch = pytest.importorskip("torch", reason="torch is an optional install")
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = {"plain": base, "turned": base.T, "part": base[1:3, ::2], "count": torch.tensor([7]), "none": 3}
    tensors = read_tensors(checkpoint(state))
    assert set(tensors) == {"plain", "turned", "part", "count"}
    for name, value in tensors.items():
        np.testing.assert_array_equal(value, state[name].numpy())


class Trap:
    """Runs code where a pickle is loaded."""

    fired = False

    def __reduce__(self) -> tuple[Any, ...]:
        return setattr, (Trap, "fired", True)


def test_a_checkpoint_that_would_run_code_is_refused_and_does_not() -> None:
    with pytest.raises(ModelCorrupt):
        read_tensors(checkpoint({"weight": Trap()}))
    with pytest.raises(ModelCorrupt):
        read_tensors(pickle.dumps(Trap()))
    assert not Trap.fired


def test_a_checkpoint_cut_anywhere_is_refused() -> None:
    torch = pytest.importorskip("torch", reason="torch is an optional install")
    data = checkpoint({"a": torch.ones(3, 3), "b": torch.zeros(2)})
    for end in range(0, len(data), 7):
        with pytest.raises(ModelCorrupt):
            read_tensors(data[:end])


@pytest.mark.parametrize("stride", [2, 50, 255])
def test_strides_that_reach_outside_their_storage_are_refused(stride: int) -> None:
    torch = pytest.importorskip("torch", reason="torch is an optional install")
    data = checkpoint({"a": torch.ones(100, 100)})
    assert read_tensors(data)["a"].shape == (100, 100)
    assert data.count(b"KdK\x01") == 1  # the strides 100 and 1 as pickled
    with pytest.raises(ModelCorrupt):
        read_tensors(data.replace(b"KdK\x01", b"KdK" + bytes([stride])))


def shared_object(objects: dict[str, bytes]) -> bytes:
    """A minimal ELF file that exports `objects`: null, data, names and symbols sections."""
    names, symbols, data = b"\0", struct.pack("<IBBHQQ", 0, 0, 0, 0, 0, 0), b""
    for name, value in objects.items():
        symbols += struct.pack("<IBBHQQ", len(names), 0x11, 0, 1, 0x1000 + len(data), len(value))
        names += name.encode() + b"\0"
        data += value
    at_data = 64
    at_names = at_data + len(data)
    at_symbols = at_names + len(names)
    at_sections = at_symbols + len(symbols)
    section = struct.Struct("<IIQQQQIIQQ")
    sections = b"".join(
        [
            section.pack(0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
            section.pack(0, 1, 0, 0x1000, at_data, len(data), 0, 0, 0, 0),
            section.pack(0, 3, 0, 0, at_names, len(names), 0, 0, 0, 0),
            section.pack(0, 11, 0, 0, at_symbols, len(symbols), 2, 0, 0, 24),
        ]
    )
    header = b"\x7fELF\x02\x01\x01" + bytes(33) + struct.pack("<Q", at_sections) + bytes(10)
    header += struct.pack("<HHH", 64, 4, 0)
    return header + data + names + symbols + sections


def test_exported_data_of_a_shared_object_is_read_without_loading_it() -> None:
    objects = {"weights": np.arange(4, dtype="<f4").tobytes(), "bias": b"\1\2"}
    data = shared_object(objects)
    assert read_objects(data) == objects
    for bad in (b"", b"\x7fELF\x01", data[:100]):
        with pytest.raises(ModelCorrupt):
            read_objects(bad)


def test_safetensors_are_read() -> None:
    header = json.dumps(
        {"a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}, "__metadata__": {}}
    ).encode()
    data = struct.pack("<Q", len(header)) + header + np.array([1, 2.5], "<f2").tobytes()
    assert read_safetensors(data)["a"].tolist() == [1, 2.5]
    for bad in (b"", data[:-1], data[:12]):
        with pytest.raises(ModelCorrupt):
            read_safetensors(bad)


@pytest.mark.parametrize("data", [b"", b"\0" * 64, b"\xff" * 64, bytes(range(256))])
def test_what_is_no_tflite_file_is_refused(data: bytes) -> None:
    with pytest.raises(ModelCorrupt):
        read_network(data)


def test_half_of_the_batch_is_half_of_the_batch() -> None:
    graph = GraphWriter("halves")
    first, second = graph.halves("x")
    graph.node("Sub", first, second, to="y")
    with F32_PLAIN.open(Model(graph.bytes({"x": ["n", 3]}, {"y": ["m", 3]}), ".onnx"), Settings()) as engine:
        x = np.arange(12, dtype=np.float32).reshape(4, 3)
        np.testing.assert_array_equal(engine.run({"x": x})["y"], x[:2] - x[2:])


def eight_bit_network(weights: np.ndarray) -> bytes:
    """y = conv(x, w) as nncf leaves it: `w` stored in int8, with a scale for each output channel."""
    scale = np.abs(weights).max(axis=(1, 2, 3)) / np.float32(127)
    levels = np.rint(weights / scale[:, None, None, None]).astype(np.int8)
    stored = {
        "q_output_w_1": levels,
        "scale_w_1": scale,
        "zero_point_w_1": np.zeros(len(scale), np.int8),
        "scale_x_1": np.float32(0.02),
        "zero_point_x_1": np.uint8(0),
    }
    make = onnx.helper.make_node
    value = onnx.helper.make_tensor_value_info
    nodes = [
        make("QuantizeLinear", ["x", "scale_x_1", "zero_point_x_1"], ["q_output_x_1"]),
        make("DequantizeLinear", ["q_output_x_1", "scale_x_1", "zero_point_x_1"], ["dq_x"]),
        make("DequantizeLinear", ["q_output_w_1", "scale_w_1", "zero_point_w_1"], ["dq_w"], axis=0),
        make("Conv", ["dq_x", "dq_w"], ["y"]),
    ]
    ends = [value(name, onnx.TensorProto.FLOAT, [1, 3, None, None]) for name in "xy"]
    tensors = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()]
    graph = onnx.helper.make_graph(nodes, "net", ends[:1], ends[1:], tensors)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    return bytes(model.SerializeToString(deterministic=True))


def float_network(weights: np.ndarray, name: str = "w") -> bytes:
    stored = [onnx.numpy_helper.from_array(weights, name)]
    graph = onnx.helper.make_graph([], "net", [], [], stored)
    return bytes(onnx.helper.make_model(graph).SerializeToString())


def test_the_weights_of_an_eight_bit_network_come_from_the_float_one() -> None:
    weights = np.random.default_rng(5).normal(size=(3, 3, 3, 3)).astype(np.float32)
    whole = eight_bit_network(weights)
    frame = eight_bits.framed(whole)
    assert len(frame) < len(whole) - 60
    again = onnx.load_from_string(eight_bits.filled(frame, float_network(weights)))
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in again.graph.initializer}
    for tensor in onnx.load_from_string(whole).graph.initializer:
        np.testing.assert_array_equal(stored[tensor.name], onnx.numpy_helper.to_array(tensor))
    with pytest.raises(ModelCorrupt, match="q_output_w_1"):
        eight_bits.filled(frame, float_network(weights, "other"))

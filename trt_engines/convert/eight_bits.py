"""A network of convolutions with eight-bit weights and activations, from a table of measured numbers.

Weights: one scale for each output channel, symmetric, and no finer than a processor can add (`_steps`).
Activations: the scales of the table that a calibration wrote (benchmarks/calibration.py), one for a tensor
or one for each of its channels where each is filtered by itself; and the biases that make up for what
rounding shifts on average. Same file and table in, same bytes out, so that the result can be pinned.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from veilcast.errors import ModelCorrupt
from veilcast.trt_engines.convert import named

if TYPE_CHECKING:
    import onnx

VERSION = 2  # of what comes out for the same network and table
OPSET, IR_VERSION = 13, 7  # the least: the first with one scale for each channel
CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1}  # of the weights: where the output channels lie
TAKES_SCALED = (*CHANNEL_AXIS, "Add")
NEVER_NEGATIVE = ("Relu", "Sigmoid")
TABLE = Path(__file__).with_name("centerface_eight_bits.npz")


def centerface(data: bytes) -> bytes:
    """CenterFace as `named.centerface` gives it, in eight bits."""
    with np.load(TABLE, allow_pickle=False) as table:
        return eight_bits(named.centerface(data), dict(table), pictures=("rgb",))


def by_table(data: bytes, table: bytes) -> bytes:
    """A network as our exporter writes it, in eight bits by the .npz that it wrote beside it. Raises
    ModelCorrupt."""
    from veilcast.trt_engines.simplify import simplified

    try:
        with np.load(io.BytesIO(table), allow_pickle=False) as found:
            return eight_bits(simplified(data), dict(found))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ModelCorrupt(
            f"the scales of a network cannot be read ({error}); export the model again"
        ) from None


def eight_bits(data: bytes, table: Mapping[str, np.ndarray], pictures: Collection[str] = ()) -> bytes:
    """ONNX bytes with pairs of quantise and dequantise. `table`, float32: "scale/TENSOR" of an activation,
    () or (channels,); "bias/TENSOR" (channels,) of the convolution that makes the tensor. `pictures`: inputs
    that are never below zero."""
    import onnx
    from onnx import numpy_helper

    scales = {name.removeprefix("scale/"): v for name, v in table.items() if name.startswith("scale/")}
    model = onnx.load_from_string(data)
    # the operators that these networks are made of mean the same in it
    opset = model.opset_import[0]
    opset.version = max(opset.version, OPSET)
    model.ir_version = IR_VERSION if opset.version == OPSET else model.ir_version
    graph = model.graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    unsigned = _unsigned(graph, pictures)
    added: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = [
        pair
        for value in graph.input
        if value.name in scales
        for pair in _scaled(value.name, scales[value.name], value.name in unsigned, added)
    ]
    for node in graph.node:
        if node.op_type in CHANNEL_AXIS and node.input[1] in weights and node.input[0] in scales:
            axis = CHANNEL_AXIS[node.op_type]
            values, positive = weights[node.input[1]], node.input[0] in unsigned
            nodes.append(_weights(node.input[1], values, axis, positive, added))
            node.input[1] = _inner(node.input[1])
        if (bias := f"bias/{node.output[0]}") in table:
            added.append(numpy_helper.from_array(table[bias], bias))
            node.input[2:] = [bias]
        if node.op_type in TAKES_SCALED:
            node.input[:] = [_inner(name) if name in scales else name for name in node.input]
        nodes.append(node)
        for name in node.output:
            if name in scales:
                nodes += _scaled(name, scales[name], name in unsigned, added)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*kept, *added])
    onnx.checker.check_model(model, full_check=True)
    result: bytes = model.SerializeToString(deterministic=True)
    return result


def _unsigned(graph: onnx.GraphProto, pictures: Collection[str]) -> set[str]:
    """Tensors that are never below zero: pictures, what a Relu leaves, sums of such."""
    found = set(pictures)
    for node in graph.node:  # in the order in which they are computed
        if node.op_type in NEVER_NEGATIVE or (node.op_type == "Add" and found >= set(node.input)):
            found |= set(node.output)
    return found


def _inner(name: str) -> str:
    return f"{name}.scaled"


def _scaled(
    name: str, scale: np.ndarray, unsigned: bool, added: list[onnx.TensorProto]
) -> Iterable[onnx.NodeProto]:
    """The two nodes that round a tensor to eight bits and back."""
    from onnx import helper, numpy_helper

    zero = np.zeros(scale.shape, np.uint8 if unsigned else np.int8)
    added += [
        numpy_helper.from_array(scale.astype(np.float32), f"{name}.scale"),
        numpy_helper.from_array(zero, f"{name}.zero"),
    ]
    fixed = [f"{name}.scale", f"{name}.zero"]
    axis = {"axis": 1} if scale.ndim else {}
    return (
        helper.make_node("QuantizeLinear", [name, *fixed], [f"{name}.eight"], **axis),
        helper.make_node("DequantizeLinear", [f"{name}.eight", *fixed], [_inner(name)], **axis),
    )


def _steps(weights: np.ndarray, unsigned: bool) -> np.ndarray:
    """What one step of each output channel's weights stands for, (out,); `weights` (out, in, kh, kw).

    Processors of AVX2 without VNNI add the products of two neighbouring input channels in 16 bits and cut off
    what is larger (VPMADDUBSW): with eight bits of unsigned activations two weights of one place and one sign
    must not come to more than 128. Which channels are neighbours is the library's affair, so no two may.
    Signed activations are safe: for those libraries spare a bit of the weights themselves.
    """
    most = np.abs(weights).reshape(len(weights), -1).max(1)
    if unsigned and weights.shape[1] > 1:
        signs = np.stack([weights, -weights]).clip(0)
        pairs = np.sort(signs, axis=2)[:, :, -2:].sum(2)
        most = np.maximum(most, pairs.max(axis=(0, *range(2, pairs.ndim))))
    steps: np.ndarray = np.maximum(most, 1e-8).astype(np.float32) / 127
    return steps


def _weights(
    name: str, values: np.ndarray, axis: int, unsigned: bool, added: list[onnx.TensorProto]
) -> onnx.NodeProto:
    """`unsigned`: what is multiplied with them has no sign."""
    from onnx import helper, numpy_helper

    steps = _steps(np.moveaxis(values, axis, 0), unsigned)
    shape = [-1 if i == axis else 1 for i in range(values.ndim)]
    eight = np.clip(np.rint(values / steps.reshape(shape)), -127, 127).astype(np.int8)
    added += [
        numpy_helper.from_array(eight, f"{name}.eight"),
        numpy_helper.from_array(steps, f"{name}.scale"),
        numpy_helper.from_array(np.zeros(steps.shape, np.int8), f"{name}.zero"),
    ]
    return helper.make_node(
        "DequantizeLinear", [f"{name}.eight", f"{name}.scale", f"{name}.zero"], [_inner(name)], axis=axis
    )

"""ONNX networks before they are built: checked, and typed for half precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import ml_dtypes
import numpy as np
import onnx
import onnx.version_converter
from onnx import TensorProto, helper, numpy_helper

from veilcast.errors import ModelCorrupt

Half = Literal["fp16", "bf16"]
HALF_OPSET = 22  # the first in which convolutions take bfloat16
_ELEMENT = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_NUMPY = {"fp16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}
# inputs that stay float32 by the operator's own definition
_KEPT = {"Resize": (1, 2)}
# layers that TensorRT-RTX 1.7 does not build in the precision: they run in float32 between two casts
_WIDE = {"bf16": {"ConvTranspose", "HardSwish"}, "fp16": set[str]()}


def checked(data: bytes) -> onnx.ModelProto:
    """The parsed network: well formed, standard operators alone, nothing outside the file.
    Raises ModelCorrupt, with the reason."""
    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # noqa: BLE001  protobuf's and the checker's errors have no common class
        raise ModelCorrupt(f"not a valid ONNX network: {_first_line(error)}") from None
    if foreign := {node.domain for node in model.graph.node} - {"", "ai.onnx"}:
        raise ModelCorrupt(
            f"the network uses operators of {', '.join(sorted(foreign))}: only standard ones are run"
        )
    if any(t.data_location == TensorProto.EXTERNAL for t in model.graph.initializer):
        raise ModelCorrupt("the network keeps weights outside its file: store them inside")
    return model


def half(data: bytes, precision: Half) -> bytes:
    """The network with every float32 tensor inside it in half precision and its inputs and outputs as
    they were: what a strongly typed builder takes its types from. Raises ModelCorrupt."""
    model = with_opset(checked(data), HALF_OPSET)
    graph = model.graph
    element, kept = _ELEMENT[precision], _kept(graph.node)
    wide = {node.output[0] for node in graph.node if node.op_type in _WIDE[precision]}
    kept |= {name for node in graph.node if node.output[0] in wide for name in node.input[1:]}
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in kept:
            _narrow(tensor, precision)
    for node in graph.node:
        _retype(node, precision, kept)
    entering = _casts(graph.input, element, into=True)
    leaving = _casts(graph.output, element, into=False)
    renamed = {
        value.name: f"{value.name}.{precision}" for value in (*graph.input, *graph.output) if _is_float(value)
    }
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
    nodes = [*entering, *graph.node, *leaving]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(_widened(_renamed_casts(nodes, precision), _WIDE[precision], element))
    result: bytes = checked(model.SerializeToString(deterministic=True)).SerializeToString(deterministic=True)
    return result


def with_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The same network in a newer version of the operators. Raises ModelCorrupt where that cannot be."""
    try:
        return onnx.version_converter.convert_version(model, opset)
    except RuntimeError as error:
        raise ModelCorrupt(f"the network cannot be brought to opset {opset}: {_first_line(error)}") from None


def _kept(nodes: Sequence[onnx.NodeProto]) -> set[str]:
    """Tensors that stay float32, and all that they are computed from."""
    makers = {output: node for node in nodes for output in node.output}
    waiting = [
        node.input[index]
        for node in nodes
        for index in _KEPT.get(node.op_type, ())
        if index < len(node.input) and node.input[index]
    ]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += makers[name].input if name in makers else ()
    return found


def _narrow(tensor: onnx.TensorProto, precision: Half) -> None:
    values = numpy_helper.to_array(tensor).astype(_NUMPY[precision])
    narrow = TensorProto(name=tensor.name, data_type=_ELEMENT[precision], dims=tensor.dims)
    narrow.raw_data = values.tobytes()
    tensor.CopyFrom(narrow)


def _retype(node: onnx.NodeProto, precision: Half, kept: set[str]) -> None:
    """Casts to float32 and constants inside the network."""
    if kept & set(node.output):
        return
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = _ELEMENT[precision]
        held = attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT
        if held:
            _narrow(attribute.t, precision)


def _is_float(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == TensorProto.FLOAT)


def _casts(values: Sequence[onnx.ValueInfoProto], element: int, *, into: bool) -> list[onnx.NodeProto]:
    to = element if into else TensorProto.FLOAT
    return [
        helper.make_node("Cast", [v.name], [v.name], to=to, name=f"{v.name}.cast")
        for v in values
        if _is_float(v)
    ]


def _renamed_casts(nodes: list[onnx.NodeProto], precision: Half) -> list[onnx.NodeProto]:
    """The border casts read or write the narrow name on their inner side."""
    for node in nodes:
        if node.name.endswith(".cast") and list(node.input) == list(node.output):
            name, wide = node.input[0], node.attribute[0].i == TensorProto.FLOAT
            side = node.input if wide else node.output
            side[0] = f"{name}.{precision}"
    return nodes


def _widened(nodes: list[onnx.NodeProto], wide: set[str], element: int) -> list[onnx.NodeProto]:
    """Each layer of `wide` between a cast to float32 and one back; its weights were left as they are."""
    result = []
    for node in nodes:
        if node.op_type not in wide:
            result.append(node)
            continue
        entering, leaving = node.input[0], node.output[0]
        node.input[0], node.output[0] = f"{leaving}.wide_in", f"{leaving}.wide_out"
        result += [
            helper.make_node("Cast", [entering], [node.input[0]], to=TensorProto.FLOAT),
            node,
            helper.make_node("Cast", [node.output[0]], [leaving], to=element),
        ]
    return result


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:160] if lines else type(error).__name__

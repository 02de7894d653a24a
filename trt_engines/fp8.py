"""int8 networks in floats of eight bits (E4M3, Micikevicius et al. 2022), for GPUs that multiply them.

Ranges were calibrated for int8 and serve here as well: a step of int8 becomes the step whose largest
float, 448, stands for the same value as 127 did. Weights are rounded once, from what they were before.
"""

from __future__ import annotations

from collections.abc import Mapping

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from veilcast.trt_engines.network import with_opset

OPSET = 19  # the first whose quantise/dequantise pairs take floats of eight bits
INT8_MOST, MOST = 127.0, 448.0  # largest magnitudes of the types
_PAIR = ("QuantizeLinear", "DequantizeLinear")


def in_fp8(model: onnx.ModelProto, source: onnx.ModelProto) -> onnx.ModelProto:
    """`model`, symmetric int8, with every pair in E4M3. `source`: the network that it was made from."""
    model = with_opset(model, OPSET)
    graph = model.graph
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights, made = _weights(model, source), list[onnx.TensorProto]()
    for number, node in enumerate(node for node in graph.node if node.op_type in _PAIR):
        step = held[node.input[1]] * np.float32(INT8_MOST / MOST)
        if node.input[0] in held:
            integers, axis = held[node.input[0]], _axis(node)
            rough = integers.astype(np.float32) * _along(held[node.input[1]], axis, integers.ndim)
            weight = weights.get(node.output[0], rough)
            step = _step(weight, axis) if step.ndim else _step(weight, None)
            node.input[0] = f"fp8/{number}/weight"
            made.append(_tensor(node.input[0], weight / _along(step, axis, weight.ndim)))
        node.input[1], node.input[2] = f"fp8/{number}/step", f"fp8/{number}/zero"
        made += [
            numpy_helper.from_array(step.astype(np.float32), node.input[1]),
            _tensor(node.input[2], np.zeros_like(step)),
        ]
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend([*kept, *made])
    return model


def _weights(model: onnx.ModelProto, source: onnx.ModelProto) -> Mapping[str, np.ndarray]:
    """Dequantised weight -> what it was in `source`, found by what its layer computes."""
    before = {tensor.name: numpy_helper.to_array(tensor) for tensor in source.graph.initializer}
    layers = {node.output[0]: node.input for node in source.graph.node}
    found = {}
    for node in model.graph.node:
        for now, then in zip(node.input, layers.get(node.output[0], ()), strict=False):
            if now != then and then in before:
                found[now] = before[then]
    return found


def _step(weight: np.ndarray, axis: int | None) -> np.ndarray:
    others = None if axis is None else tuple(i for i in range(weight.ndim) if i != axis)
    most: np.ndarray = np.asarray(np.abs(weight).max(axis=others), np.float32)
    step: np.ndarray = np.maximum(most, np.float32(1e-12)) / np.float32(MOST)
    return step


def _axis(node: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)


def _along(step: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """One number for each channel, shaped to go with a tensor of that rank."""
    return step.reshape([-1 if i == axis % rank else 1 for i in range(rank)]) if step.ndim else step


def _tensor(name: str, values: np.ndarray) -> onnx.TensorProto:
    rounded = np.clip(values, -MOST, MOST).astype(ml_dtypes.float8_e4m3fn)
    return helper.make_tensor(name, TensorProto.FLOAT8E4M3FN, rounded.shape, rounded.tobytes(), raw=True)

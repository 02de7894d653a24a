"""ONNX networks with everything computed that does not depend on an input.

What an exporter leaves (weights stored narrow with a cast behind them, shapes worked out by nodes,
identities) is computed once here, as builders and quantisers expect to see weights where weights are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from veilcast.trt_engines.network import checked

LIMIT = 1 << 24  # elements of a result: more than that is cheaper to compute than to carry along
_NEVER = {
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
}
# a pair of these is a statement about precision, not arithmetic that may be done ahead
_NEVER |= {"QuantizeLinear", "DequantizeLinear"}


def simplified(data: bytes) -> bytes:
    """The same network with constant parts folded and unused weights gone. Raises ModelCorrupt."""
    model = checked(data)
    graph = model.graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    renamed: dict[str, str] = {}
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        if node.op_type == "Identity" and node.output[0] not in outputs:
            renamed[node.output[0]] = node.input[0]
        elif (made := _folded(node, known, model.opset_import)) is not None:
            known |= {tensor.name: tensor for tensor in made}
        else:
            kept.append(node)
    used = {name for node in kept for name in node.input} | outputs
    weights = [tensor for name, tensor in known.items() if name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.initializer.extend(weights)
    return bytes(checked(model.SerializeToString()).SerializeToString(deterministic=True))


def _folded(
    node: onnx.NodeProto,
    known: Mapping[str, onnx.TensorProto],
    opsets: Sequence[onnx.OperatorSetIdProto],
) -> list[onnx.TensorProto] | None:
    """What the node computes, where it depends on nothing; None where it must stay."""
    subgraphs = any(attribute.type == onnx.AttributeProto.GRAPH for attribute in node.attribute)
    if node.op_type in _NEVER or subgraphs or any(name and name not in known for name in node.input):
        return None
    names = dict.fromkeys(name for name in node.input if name)
    graph = onnx.helper.make_graph(
        [node],
        "folded",
        [onnx.helper.make_tensor_value_info(name, known[name].data_type, None) for name in names],
        [onnx.ValueInfoProto(name=name) for name in node.output],
    )
    one = onnx.helper.make_model(graph, opset_imports=opsets)
    values = ReferenceEvaluator(one).run(None, {name: numpy_helper.to_array(known[name]) for name in names})
    if any(np.size(value) > LIMIT for value in values):
        return None
    return [
        numpy_helper.from_array(np.asarray(value), name)
        for name, value in zip(node.output, values, strict=True)
    ]

"""Networks joined and parted as ONNX graphs, so that no Python runs between their steps.

`unrolled`: the few-step sampler in one graph. What depends on neither the noisy latent nor the time
(the identity's and attributes' tokens and their keys and values) is computed once for all steps.
`parted`: the same idea across frames: one graph computes what depends on some inputs alone, to be
kept for as long as these stay the same (a track's identity), the other takes the kept tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnx
import onnx.compose
import onnx.version_converter
from onnx import TensorProto, helper, numpy_helper

from veilcast.diffusion.schedule import checked as checked_times
from veilcast.errors import ModelCorrupt
from veilcast.trt_engines.network import checked
from veilcast.trt_engines.runtime import ov

LATENT, TIME = "x", "t"  # inputs of the denoiser
_ODD_BATCH = 13


def unrolled(denoiser: bytes, decoder: bytes | None, times: Sequence[float]) -> bytes:
    """One graph from noise to the clean latent (output `clean`), or to the decoder's outputs.

    The denoiser predicts the clean latent from `x` at time `t`; between two times the noise that it
    implies is scaled: x' = clean + t' / t (x - clean), the Euler step of rectified flow (Liu et al. 2023)
    in terms of the clean prediction. The input `t` is gone; `x` is the noise. Raises ModelCorrupt.
    """
    try:
        schedule = [float(t) for t in checked_times(times)]
    except ValueError as error:
        raise ModelCorrupt(str(error)) from None
    model = checked(denoiser)
    graph = model.graph
    (clean,) = (value.name for value in graph.output)
    varying = _dependent(graph.node, {LATENT, TIME})
    once = [node for node in graph.node if not varying & set(node.output)]
    each = [node for node in graph.node if varying & set(node.output)]
    nodes, x = [_batch(LATENT), *once], LATENT
    for step in range(len(schedule)):
        nodes += [_time(step), *_copied(each, varying, step, {LATENT: x, TIME: f"step{step}/{TIME}"})]
        prediction = f"step{step}/{clean}"
        if step + 1 < len(schedule):
            nodes += _euler(step, x, prediction)
            x = f"step{step}/next"
    nodes.append(helper.make_node("Identity", [prediction], [clean]))
    _replace(graph.node, nodes)
    _replace(graph.input, [value for value in graph.input if value.name != TIME])
    graph.initializer.extend(_constants(schedule))
    del graph.value_info[:]
    if decoder is not None:
        model = _followed_by(model, clean, checked(decoder))
    return _bytes(model)


@dataclass(frozen=True, slots=True)
class Parted:
    """`first`: from the chosen inputs to the tensors that are kept; `rest`: from those and the other
    inputs to the outputs."""

    first: bytes
    rest: bytes
    kept: tuple[str, ...]


def parted(data: bytes, constant: Sequence[str]) -> Parted:
    """Parts a network behind what depends on the inputs `constant` alone. Raises ModelCorrupt."""
    model = checked(data)
    graph = model.graph
    known = _known_shapes(data)
    fixed = _dependent(graph.node, set(constant))
    varying = _dependent(graph.node, {value.name for value in graph.input} - set(constant))
    # a tensor whose shape cannot be told cannot cross: what makes it stays behind the cut
    while unknown := _crossing(graph.node, varying) & fixed - known.keys() - set(constant):
        varying = _dependent(graph.node, varying | unknown)
    early = [node for node in graph.node if not varying & set(node.output)]
    late = [node for node in graph.node if varying & set(node.output)]
    needed = _crossing(graph.node, varying)
    kept = tuple(name for node in early for name in node.output if name in needed & fixed)
    if not kept:
        raise ModelCorrupt(f"nothing in the network can be kept for {', '.join(constant) or 'no input'}")
    inputs = {value.name: value for value in graph.input}
    # what depends on no input at all is computed in both parts
    free = [node for node in early if not fixed & set(node.output)]
    first = _part(model, early, [inputs[name] for name in constant], [known[name] for name in kept])
    others = [value for name, value in inputs.items() if name not in constant or name in needed]
    rest = _part(model, [*free, *late], [*others, *(known[name] for name in kept)], list(graph.output))
    return Parted(_bytes(first), _bytes(rest), kept)


def taking_pictures(data: bytes, names: Sequence[str]) -> bytes:
    """The network with these inputs (n, c, h, w) taken as uint8 (n, h, w, c). Raises ModelCorrupt."""
    if not names:
        return data
    model = checked(data)
    steps = []
    for value in model.graph.input:
        if value.name not in names:
            continue
        inner, dims = f"{value.name}/planes", value.type.tensor_type.shape.dim
        for node in model.graph.node:
            node.input[:] = [inner if name == value.name else name for name in node.input]
        shape = [dim.dim_param or dim.dim_value for dim in (dims[0], dims[2], dims[3], dims[1])]
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.UINT8, shape))
        steps += [
            helper.make_node("Cast", [value.name], [f"{value.name}/float"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", [f"{value.name}/float"], [inner], perm=[0, 3, 1, 2]),
        ]
    _replace(model.graph.node, [*steps, *model.graph.node])
    return _bytes(model)


def _dependent(nodes: Sequence[onnx.NodeProto], sources: set[str]) -> set[str]:
    """Every tensor that depends on one of `sources`, these included. Nodes are in order of execution."""
    found = set(sources)
    for node in nodes:
        if found & set(node.input):
            found |= set(node.output)
    return found


def _known_shapes(data: bytes) -> dict[str, onnx.ValueInfoProto]:
    """Every float32 tensor whose first dimension is the batch, with its shape: by OpenVINO's inference for
    a batch of a size that nothing else has."""
    network = ov.Core().read_model(data)
    for port in network.inputs:
        shape = port.get_partial_shape()
        if shape[0].is_dynamic:
            shape[0] = _ODD_BATCH
        network.reshape({port.get_any_name(): shape})
    found = {}
    for op in network.get_ordered_ops():
        for port in op.outputs():
            shape = port.get_partial_shape()
            if shape.is_static and port.get_element_type() == ov.Type.f32 and len(shape):
                dims = [d.get_length() for d in shape]
                if dims[0] == _ODD_BATCH:
                    for name in port.get_names():
                        found[name] = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *dims[1:]])
    return found


def _crossing(nodes: Sequence[onnx.NodeProto], late: set[str]) -> set[str]:
    """Tensors that nodes behind the cut read from in front of it."""
    return {name for node in nodes if late & set(node.output) for name in node.input} - late


def _copied(
    nodes: Sequence[onnx.NodeProto], varying: set[str], step: int, renamed: dict[str, str]
) -> Iterator[onnx.NodeProto]:
    """The nodes with every varying tensor named for its step; weights stay shared."""
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = f"step{step}/{node.name}" if node.name else ""
        for names in (copy.input, copy.output):
            names[:] = [
                renamed.get(name, f"step{step}/{name}" if name in varying else name) for name in names
            ]
        yield copy


def _batch(latent: str) -> onnx.NodeProto:
    return helper.make_node("Shape", [latent], ["sampler/batch"], end=1)


def _time(step: int) -> onnx.NodeProto:
    return helper.make_node("Expand", [f"sampler/time{step}", "sampler/batch"], [f"step{step}/{TIME}"])


def _euler(step: int, x: str, clean: str) -> list[onnx.NodeProto]:
    noise, scaled = f"step{step}/noise", f"step{step}/scaled"
    return [
        helper.make_node("Sub", [x, clean], [noise]),
        helper.make_node("Mul", [noise, f"sampler/ratio{step}"], [scaled]),
        helper.make_node("Add", [clean, scaled], [f"step{step}/next"]),
    ]


def _constants(times: Sequence[float]) -> list[onnx.TensorProto]:
    values = {f"sampler/time{i}": [t] for i, t in enumerate(times)}
    values |= {f"sampler/ratio{i}": [b / a] for i, (a, b) in enumerate(pairwise(times))}
    return [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in values.items()]


def _followed_by(model: onnx.ModelProto, output: str, decoder: onnx.ModelProto) -> onnx.ModelProto:
    (entering,) = (value.name for value in decoder.graph.input)
    opset = max(m.opset_import[0].version for m in (model, decoder))
    both = [onnx.version_converter.convert_version(m, opset) for m in (model, decoder)]
    for part in both:
        part.ir_version = max(model.ir_version, decoder.ir_version)
    prefixed = onnx.compose.add_prefix(both[1], "decoder/", rename_outputs=False, rename_inputs=True)
    merged = onnx.compose.merge_models(both[0], prefixed, io_map=[(output, f"decoder/{entering}")])
    _replace(merged.opset_import, [helper.make_opsetid("", opset)])  # it lists that of each part
    return merged


def _part(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    used = {name for node in nodes for name in node.input}
    weights = [tensor for tensor in model.graph.initializer if tensor.name in used]
    graph = helper.make_graph(list(nodes), model.graph.name, list(inputs), list(outputs), weights)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _replace(field: object, values: Sequence[object]) -> None:
    copies = list(values)
    del field[:]  # type: ignore[attr-defined]
    field.extend(copies)  # type: ignore[attr-defined]


def _bytes(model: onnx.ModelProto) -> bytes:
    return bytes(checked(model.SerializeToString()).SerializeToString(deterministic=True))

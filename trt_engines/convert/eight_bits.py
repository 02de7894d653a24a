"""CenterFace with 8-bit weights and activations: half again as fast, the same faces (docs/engines.md).

Beside this file lies the network as nncf quantised it, without its weights: the graph, the scales that
calibration found and the biases it corrected (`python -m benchmarks.eight_bits` makes it). The weights are
the pinned release's, rounded here.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from veilcast.errors import ModelCorrupt
from veilcast.trt_engines.convert import named

if TYPE_CHECKING:
    import onnx

FRAME = "centerface_int8.frame.onnx"
PREFIX, SUFFIX = "q_output_", "_1"  # nncf's name for a quantised weight


def centerface(data: bytes) -> bytes:
    """`data`: the release's float network. Raises ModelCorrupt."""
    frame = files("veilcast.trt_engines.convert").joinpath(FRAME).read_bytes()
    return filled(frame, named.centerface(data))


def framed(quantised: bytes) -> bytes:
    """A network that nncf quantised, without the weights that `filled` puts back."""
    import onnx

    model = onnx.load_from_string(quantised)
    kept = [tensor for tensor in model.graph.initializer if not tensor.name.startswith(PREFIX)]
    del model.graph.initializer[:], model.graph.value_info[:]
    model.graph.initializer.extend(kept)
    result: bytes = model.SerializeToString(deterministic=True)
    return result


def filled(frame: bytes, floating: bytes) -> bytes:
    """The network of `frame` with the weights of `floating`, rounded to the frame's scales."""
    import onnx

    model = onnx.load_from_string(frame)
    stored = _arrays(model)
    weights = _arrays(onnx.load_from_string(floating))
    made = {name for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] in made:
            continue
        name, scale, zero = node.input
        source = weights.get(name.removeprefix(PREFIX).removesuffix(SUFFIX))
        if source is None:
            raise ModelCorrupt(f"the float network has no weights for {name}")
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        rounded = _rounded(source, stored[scale], stored[zero], axis)
        model.graph.initializer.append(onnx.numpy_helper.from_array(rounded, name))
    onnx.checker.check_model(model)
    result: bytes = model.SerializeToString(deterministic=True)
    return result


def _arrays(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    import onnx

    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _rounded(weights: np.ndarray, scale: np.ndarray, zero: np.ndarray, axis: int) -> np.ndarray:
    shape = [1] * weights.ndim
    shape[axis] = -1
    levels = np.rint(weights / scale.reshape(shape if scale.ndim else ())) + zero.reshape(
        shape if zero.ndim else ()
    )
    limits = np.iinfo(zero.dtype)
    return np.asarray(np.clip(levels, limits.min, limits.max).astype(zero.dtype))

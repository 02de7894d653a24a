"""Eight-bit networks: ONNX in, ONNX with quantise/dequantise pairs out.

Through nncf, an optional install (`pip install 'veilcast[int8]'`). Calibration decides
how much is lost: give it what the network sees in use, and look at pictures before shipping the result.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from veilcast.errors import EngineError
from veilcast.trt_engines.engine import Tensors
from veilcast.trt_engines.fp8 import in_fp8
from veilcast.trt_engines.network import checked, with_opset
from veilcast.trt_engines.simplify import simplified

Eight = Literal["int8", "fp8"]
LEAST_OPSET = 13  # quantisation of each channel by itself


def quantised(
    data: bytes, calibration: Iterable[Tensors], *, ignored: Sequence[str] = (), kind: Eight = "int8"
) -> bytes:
    """ONNX bytes with weights and activations of eight bits. `calibration`: inputs as in use, tens to
    hundreds; `ignored`: regular expressions for names of nodes that stay as they are. Raises EngineError."""
    try:
        import nncf
    except ImportError:
        raise EngineError("nncf is not installed: pip install 'veilcast[int8]'") from None
    logging.getLogger("nncf").setLevel(logging.ERROR)
    samples: list[dict[str, np.ndarray]] = [dict(sample) for sample in calibration]
    if not samples:
        raise EngineError("int8 needs calibration inputs: none were given")
    scope: Any = nncf.IgnoredScope(patterns=list(ignored), validate=False) if ignored else None
    source = checked(simplified(data))
    if source.opset_import[0].version < LEAST_OPSET:
        source = with_opset(source, LEAST_OPSET)
    try:
        model: onnx.ModelProto = nncf.quantize(
            source, nncf.Dataset(samples), subset_size=len(samples), ignored_scope=scope
        )
    except (nncf.errors.ValidationError, nncf.errors.UnsupportedModelError, RuntimeError) as error:
        raise EngineError(f"nncf cannot quantise the network: {str(error).splitlines()[0][:200]}") from None
    if kind == "fp8":
        model = in_fp8(model, source)
    return bytes(model.SerializeToString(deterministic=True))


def scales(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """What convert/eight_bits.py needs of a network that `quantised` has made, to make it again."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in stored:
            found[f"scale/{node.input[0]}"] = stored[node.input[1]].astype(np.float32)
        if node.op_type == "Conv" and len(node.input) > 2:
            found[f"bias/{node.output[0]}"] = stored[node.input[2]].astype(np.float32)
    return found


def read_cases(path: Path) -> list[dict[str, np.ndarray]]:
    """Calibration inputs from an .npz of arrays (n, ...) by input's name: n cases of a batch of one.
    Raises EngineError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError) as error:
        raise EngineError(f"cannot read {path} as an .npz of arrays: {error}") from None
    counts = {len(array) if array.ndim else 0 for array in arrays.values()}
    if len(counts) != 1 or counts == {0}:
        raise EngineError(f"{path} must hold as many rows of each input, and at least one")
    (count,) = counts
    return [{name: array[row : row + 1] for name, array in arrays.items()} for row in range(count)]


def quantised_kind(data: bytes) -> Eight | None:
    """What a network's quantise/dequantise pairs are made of; None = it has none. Raises ModelCorrupt."""
    graph = checked(data).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    steps = {
        kinds.get(node.input[2])
        for node in graph.node
        if node.op_type == "DequantizeLinear" and len(node.input) > 2
    }
    if TensorProto.FLOAT8E4M3FN in steps:
        return "fp8"
    return "int8" if TensorProto.INT8 in steps else None

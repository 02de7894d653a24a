"""Eight-bit networks through nncf: ONNX in, ONNX with quantise/dequantise pairs out.

An optional install (`pip install 'veilcast[int8]'`). Calibration decides how much is lost: give it
what the network sees in use, and look at pictures before shipping the result.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx

from veilcast.errors import EngineError
from veilcast.trt_engines.engine import Tensors
from veilcast.trt_engines.network import checked, with_opset

LEAST_OPSET = 13  # quantisation of each channel by itself


def quantised(data: bytes, calibration: Iterable[Tensors], *, ignored: Sequence[str] = ()) -> bytes:
    """ONNX bytes with int8 weights and activations. `calibration`: inputs as in use, tens to hundreds;
    `ignored`: regular expressions for names of nodes that stay as they are. Raises EngineError."""
    try:
        import nncf
    except ImportError:
        raise EngineError("nncf is not installed: pip install 'veilcast[int8]'") from None
    logging.getLogger("nncf").setLevel(logging.ERROR)
    samples: list[dict[str, np.ndarray]] = [dict(sample) for sample in calibration]
    if not samples:
        raise EngineError("int8 needs calibration inputs: none were given")
    scope: Any = nncf.IgnoredScope(patterns=list(ignored), validate=False) if ignored else None
    source = checked(data)
    if source.opset_import[0].version < LEAST_OPSET:
        source = with_opset(source, LEAST_OPSET)
    try:
        model: onnx.ModelProto = nncf.quantize(
            source, nncf.Dataset(samples), subset_size=len(samples), ignored_scope=scope
        )
    except (nncf.errors.ValidationError, nncf.errors.UnsupportedModelError, RuntimeError) as error:
        raise EngineError(f"nncf cannot quantise the network: {str(error).splitlines()[0][:200]}") from None
    return bytes(model.SerializeToString(deterministic=True))

"""TensorFlow.js weight shards: a JSON manifest and one binary file of tensors end to end."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from veilcast.errors import ModelCorrupt

Weights = dict[str, np.ndarray]


def read_weights(groups: list[dict[str, Any]], data: bytes) -> Weights:
    """The tensors of one shard as float32 (int32 stays), with half precision widened and 8-bit affine
    quantisation undone: value = stored * scale + min. Raises ModelCorrupt where the sizes do not add up."""
    weights: Weights = {}
    offset = 0
    for entry in (entry for group in groups for entry in group["weights"]):
        quantisation = entry.get("quantization")
        stored = np.dtype(quantisation["dtype"] if quantisation else entry["dtype"])
        count = math.prod(entry["shape"])
        end = offset + count * stored.itemsize
        if end > len(data):
            raise ModelCorrupt(f"weight shard ends inside {entry['name']}: {len(data)} bytes, {end} needed")
        values = np.frombuffer(data, stored, count, offset).reshape(entry["shape"])
        weights[entry["name"]] = _dequantised(values, quantisation)
        offset = end
    if offset != len(data):
        raise ModelCorrupt(f"weight shard has {len(data) - offset} bytes that its manifest does not name")
    return weights


def _dequantised(values: np.ndarray, quantisation: Mapping[str, Any] | None) -> np.ndarray:
    if quantisation is None:
        return values
    if quantisation["dtype"] == "float16":
        return values.astype(np.float32)
    scale, low = np.float32(quantisation["scale"]), np.float32(quantisation["min"])
    return values.astype(np.float32) * scale + low


def filters(weight: np.ndarray) -> np.ndarray:
    """(kh, kw, in, out) to ONNX's (out, in, kh, kw)."""
    return weight.transpose(3, 2, 0, 1)


def depthwise_filters(weight: np.ndarray) -> np.ndarray:
    """(kh, kw, channels, 1) to ONNX's (channels, 1, kh, kw) with group = channels."""
    return weight.transpose(2, 3, 0, 1)


def same_pads(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding before and after one axis of `size` samples."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def load_manifest(data: bytes) -> Any:
    """The JSON of a manifest or topology. Raises ModelCorrupt where it is none."""
    try:
        return json.loads(data)
    except ValueError:
        raise ModelCorrupt("weight manifest is not JSON") from None

"""Tensors of a safetensors file: an 8-byte length, a JSON header, raw little-endian data."""

from __future__ import annotations

import json

import numpy as np

from veilcast.errors import ModelCorrupt

ELEMENT = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4", "U8": "u1"}


def read_tensors(data: bytes) -> dict[str, np.ndarray]:
    """All tensors by name. Raises ModelCorrupt."""
    try:
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        header.pop("__metadata__", None)
        return {name: _array(data, start, **entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelCorrupt("safetensors file does not parse: it is cut short or not of this format") from None


def _array(
    data: bytes, start: int, dtype: str, shape: list[int], data_offsets: tuple[int, int]
) -> np.ndarray:
    begin, end = data_offsets
    return np.frombuffer(data[start + begin : start + end], ELEMENT[dtype]).reshape(shape)

"""Tensors in files, without pickle: the safetensors format (8 bytes of header length, JSON header, data),
read and written with numpy alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from veilcast.errors import ModelCorrupt, ModelMissing

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Every tensor of a safetensors file. Raises ModelMissing or ModelCorrupt."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelMissing(f"cannot read the weights {path}: {error.strerror}") from None
    return parse_tensors(data, str(path))


def parse_tensors(data: bytes, what: str) -> dict[str, np.ndarray]:
    """Every tensor of the bytes of a safetensors file. Raises ModelCorrupt, naming `what`."""
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        body = memoryview(data)[8 + length :]
        return {name: _tensor(spec, body) for name, spec in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError):
        raise ModelCorrupt(f"{what} is not a whole safetensors file; fetch or train it again") from None


def read_metadata(path: Path) -> dict[str, str]:
    """The free text fields of a safetensors file."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return dict(header.get("__metadata__", {}))


def write_tensors(
    path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write under a temporary name, then rename: the file is whole or not there."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    offset, blobs = 0, []
    for name in sorted(tensors):
        blob = np.ascontiguousarray(tensors[name])
        header[name] = {
            "dtype": _NAMES[blob.dtype],
            "shape": list(tensors[name].shape),
            "data_offsets": [offset, offset + blob.nbytes],
        }
        offset += blob.nbytes
        blobs.append(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for blob in blobs:
            file.write(blob.tobytes())
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def _tensor(spec: dict[str, Any], body: memoryview) -> np.ndarray:
    start, end = spec["data_offsets"]
    values = np.frombuffer(body[start:end], np.dtype(_DTYPES[spec["dtype"]]))
    return np.array(values.reshape(spec["shape"]))

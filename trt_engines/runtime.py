"""OpenVINO without its converter of models, which nobody here needs: importing that takes longer than all
the rest of the package, and reports to the maker over the network that it was imported."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

CONVERTER = "openvino.tools.ovc"


def openvino() -> Any:
    """The package. A program that wants the converter can still import it by its name."""
    if "openvino" in sys.modules:
        return begun(sys.modules["openvino"])
    sys.modules[CONVERTER] = None  # type: ignore[assignment]  # cannot be imported, as if not installed
    try:
        return begun(import_module("openvino"))
    finally:
        del sys.modules[CONVERTER]


def begun(package: Any) -> Any:
    """The package after its first look at numpy's types, which two threads must not take at a time: one then
    holds the interpreter's lock and waits for the other, and the other for the interpreter."""
    package.Type.f32.to_dtype()
    return package


ov = openvino()

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
        return sys.modules["openvino"]
    sys.modules[CONVERTER] = None  # type: ignore[assignment]  # cannot be imported, as if not installed
    try:
        return import_module("openvino")
    finally:
        del sys.modules[CONVERTER]


ov = openvino()

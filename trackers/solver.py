"""scipy's solver of the assignment problem, without the rest of scipy.optimize.

Importing that package takes a quarter of a second at every start, for one function that needs numpy alone.
So its one file is loaded by itself; where a version of scipy keeps it elsewhere, the package is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any


def solver() -> Callable[..., Any]:
    """`scipy.optimize.linear_sum_assignment`. Raises ImportError where scipy is not installed."""
    module = _alone()
    if module is not None and hasattr(module, "linear_sum_assignment"):
        found: Callable[..., Any] = module.linear_sum_assignment
        return found
    from scipy.optimize import linear_sum_assignment

    whole: Callable[..., Any] = linear_sum_assignment
    return whole


def _alone() -> ModuleType | None:
    package = find_spec("scipy")  # finds a package of the top level without running it
    if package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent / "optimize"
    for suffix in EXTENSION_SUFFIXES:
        spec = spec_from_file_location("_lsap", folder / f"_lsap{suffix}")
        if spec is not None and spec.loader is not None and (folder / f"_lsap{suffix}").exists():
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return None

"""filterpy's Kalman filter, without the rest of filterpy.

Importing any part of that package runs all of it, and scipy.stats, scipy.ndimage and matplotlib with it:
over a second of start-up for three functions that need numpy alone. So its two files are loaded by
themselves. The only user of filterpy.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any


def kalman_filter() -> Any:
    """The module `filterpy.kalman.kalman_filter`. Raises ImportError where filterpy is not installed."""
    package = find_spec("filterpy")  # finds a package of the top level without running it
    if package is None or package.origin is None:
        raise ImportError("filterpy is not installed: pip install filterpy")
    folder = Path(package.origin).parent
    stats = ModuleType("filterpy.stats")
    stats.logpdf = _unused  # type: ignore[attr-defined]
    common = _loaded("_veilcast_filterpy_helpers", folder / "common" / "helpers.py")
    stand_ins = {"filterpy": ModuleType("filterpy"), "filterpy.stats": stats, "filterpy.common": common}
    before = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        return _loaded("_veilcast_filterpy_kalman", folder / "kalman" / "kalman_filter.py")
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


def _loaded(name: str, path: Path) -> ModuleType:
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is missing: install filterpy again")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _unused(*_: object) -> float:
    raise NotImplementedError("likelihoods are not asked for")

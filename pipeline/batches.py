"""Any number of faces through a network, in batches of few static sizes: engines prepare for each size
once, and a stream whose number of faces changes from frame to frame never waits for that again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from veilcast.errors import EngineError
from veilcast.trt_engines.engine import Engine

SIZES = (1, 2, 4, 8, 16)
SPARE = 8  # one face of so many in a batch may be nobody: another batch for the rest would cost as much


def split(count: int) -> Iterator[tuple[int, int, int]]:
    """(start, end, size) of the batches for `count` faces, the largest first; `size` >= end - start is in
    SIZES. A face costs about the same in a batch of any size, also one that is nobody's."""
    start = 0
    while start < count:
        left = count - start
        size = next((size for size in SIZES if left <= size <= left + size // SPARE), None)
        size = size or max(size for size in SIZES if size <= left)
        end = min(start + size, count)
        yield start, end, size
        start = end


def run(engine: Engine, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`engine` over inputs (n, ...) of any n >= 1; outputs (n, ...). The last batch is padded with its
    last face. Raises EngineError, also where the network answers for fewer faces than it was asked."""
    count = len(next(iter(inputs.values())))
    parts: dict[str, list[np.ndarray]] = {}
    for start, end, size in split(count):
        some = {name: _padded(value[start:end], size) for name, value in inputs.items()}
        for name, value in engine.run(some).items():
            if len(value) != size:
                raise EngineError(f"the network answered {len(value)} of {size} faces in {name}")
            parts.setdefault(name, []).append(value[: end - start])
    return {name: np.concatenate(values) for name, values in parts.items()}


def _padded(values: np.ndarray, size: int) -> np.ndarray:
    missing = size - len(values)
    return np.concatenate([values, np.repeat(values[-1:], missing, 0)]) if missing else values

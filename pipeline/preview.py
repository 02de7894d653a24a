"""A contact sheet of frames before and after, for the operator's own eyes: it shows the faces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import cv2
import numpy as np

from veilcast.pipeline.files import translated
from veilcast.pipeline.pixels import to_rgb
from veilcast.pipeline.plan import Plan
from veilcast.types import Frame, Rgb

PAIRS = 8  # before and after, one pair a row
WIDTH_PX = 480  # of one picture

Sampler = Callable[[Frame], AbstractContextManager[None]]


def nobody(frame: Frame) -> AbstractContextManager[None]:
    """A sampler that looks at nothing."""
    return nullcontext()


class ContactSheet:
    """Samples a render pass: pictures of a frame as it was when the block is entered and as it left."""

    def __init__(self, indices: frozenset[int]) -> None:
        self._indices = indices
        self._rows: list[Rgb] = []

    @contextmanager
    def __call__(self, frame: Frame) -> Iterator[None]:
        if frame.index not in self._indices:
            yield
            return
        before = _small(frame)
        yield
        self._rows.append(np.hstack([before, _small(frame)]))

    def write(self, path: Path) -> None:
        """The sheet as PNG. Raises NotWritable, DiskFull."""
        sheet = np.vstack(self._rows) if self._rows else np.zeros((1, 2, 3), np.uint8)
        png = cv2.imencode(".png", sheet[:, :, ::-1])[1]
        try:
            path.write_bytes(png.tobytes())
        except OSError as error:
            raise translated(error, path) from None


def moments(plan: Plan) -> frozenset[int]:
    """Frames worth showing: spread over those with faces, or over all where there are none."""
    busy = [frame.index for frame in plan if frame.faces] or list(range(len(plan)))
    if not busy:
        return frozenset()
    return frozenset(busy[round(i)] for i in np.linspace(0, len(busy) - 1, PAIRS))


def _small(frame: Frame) -> Rgb:
    width, height = frame.displayed_size
    return to_rgb(frame, (WIDTH_PX, max(1, round(height * WIDTH_PX / width))))

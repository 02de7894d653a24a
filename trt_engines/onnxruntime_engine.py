"""ONNX Runtime on the processor, float32: the fallback that has never been seen to crash."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Self

import numpy as np

from veilcast.errors import EngineError
from veilcast.trt_engines.engine import Dim, Model, Settings, Tensors, TensorSpec, check_inputs

ELEMENT = {"tensor(float)": "f4", "tensor(uint8)": "u1", "tensor(int64)": "i8", "tensor(int32)": "i4"}


class OnnxRuntimeEngine:
    """One session; ONNX Runtime lets any number of threads run it."""

    def __init__(self, model: Model, settings: Settings) -> None:
        self.label = "onnxruntime f32"
        self.streams = settings.streams
        self._session: Any = _session(model, settings)
        self._pictures = settings.pictures
        self.inputs = tuple(_input_spec(value, settings) for value in self._session.get_inputs())
        self.outputs = tuple(
            _spec(value, tuple((0, 1, None) if isinstance(d, str) or d is None else d for d in value.shape))
            for value in self._session.get_outputs()
        )

    def run(self, inputs: Tensors) -> dict[str, np.ndarray]:
        check_inputs(self.inputs, inputs)
        if self._session is None:
            raise EngineError("this engine is closed")
        feed = {name: self._fed(name, value) for name, value in inputs.items()}
        names = [spec.name for spec in self.outputs]
        try:
            values = self._session.run(names, feed)
        except Exception as error:  # noqa: BLE001  the library's exceptions have no common class
            raise EngineError(f"{self.label} failed in the network: {_first_line(error)}") from None
        return dict(zip(names, values, strict=True))

    def _fed(self, name: str, value: np.ndarray) -> np.ndarray:
        if name in self._pictures:
            value = value.transpose(0, 3, 1, 2).astype(np.float32)
        return np.ascontiguousarray(value)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None


def _session(model: Model, settings: Settings) -> Any:
    try:
        import onnxruntime as ort
    except ImportError:
        raise EngineError("ONNX Runtime is not installed: pip install 'veilcast[ort]'") from None
    if model.suffix != ".onnx":
        raise EngineError(f"ONNX Runtime reads ONNX alone, not {model.suffix}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads or max(1, (os.cpu_count() or 1) // settings.streams)
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model.data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  the library's exceptions have no common class
        raise EngineError(f"ONNX Runtime cannot read the network: {_first_line(error)}") from None
    return session


def _input_spec(value: Any, settings: Settings) -> TensorSpec:
    free: tuple[Dim, ...] = tuple(d if isinstance(d, int) else (0, 1, -1) for d in value.shape)
    dims = tuple(settings.shapes.get(value.name, free))
    if value.name not in settings.pictures:
        return _spec(value, dims)
    return _spec(value, (dims[0], *dims[2:], dims[1]), "u1")


def _spec(value: Any, dims: tuple[Any, ...], element: str | None = None) -> TensorSpec:
    bounds = [(d, d, d) if isinstance(d, int) else d for d in dims]
    return TensorSpec(
        value.name,
        np.dtype(element or ELEMENT[value.type]),
        tuple(low for low, _, _ in bounds),
        tuple(best for _, best, _ in bounds),
        tuple(None if high in (None, -1) else high for _, _, high in bounds),
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__

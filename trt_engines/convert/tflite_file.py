"""What a .tflite file says: constants and operations, read from its flat buffer.

Layout: FlatBuffers internals (tables, vtables, vectors) and TensorFlow Lite's schema, version 3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from veilcast.errors import ModelCorrupt

ELEMENT: dict[int, np.dtype[Any]] = {
    0: np.dtype("<f4"),
    1: np.dtype("<f2"),
    2: np.dtype("<i4"),
    3: np.dtype("u1"),
    9: np.dtype("i1"),
}
# TensorFlow Lite's BuiltinOperator
OPERATORS = {
    **{0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D"},
    **{6: "DEQUANTIZE", 14: "LOGISTIC", 17: "MAX_POOL_2D", 18: "MUL", 19: "RELU", 22: "RESHAPE"},
    **{23: "RESIZE_BILINEAR", 32: "CUSTOM", 34: "PAD", 39: "TRANSPOSE", 40: "MEAN", 41: "SUB", 42: "DIV"},
    **{45: "STRIDED_SLICE", 54: "PRELU", 59: "NEG", 74: "SUM", 75: "SQRT", 76: "RSQRT"},
    **{99: "SQUARED_DIFFERENCE", 101: "ABS", 117: "HARD_SWISH"},
}


class Table:
    """A flat-buffer table: numbered fields, absent ones at their default."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        self._fields = at - _int(data, at)

    def number(self, field: int, kind: str = "i", default: int = 0) -> int:
        where = self._where(field)
        return int(struct.unpack_from(f"<{kind}", self._data, where)[0]) if where else default

    def table(self, field: int) -> Table:
        where = self._where(field)
        if not where:
            raise ModelCorrupt("a .tflite file lacks the options of an operation")
        return Table(self._data, where + _int(self._data, where))

    def tables(self, field: int) -> list[Table]:
        start, count = self._vector(field)
        return [Table(self._data, at + _int(self._data, at)) for at in range(start, start + 4 * count, 4)]

    def numbers(self, field: int) -> list[int]:
        start, count = self._vector(field)
        return list(struct.unpack_from(f"<{count}i", self._data, start))

    def bytes(self, field: int) -> bytes:
        start, count = self._vector(field)
        return self._data[start : start + count]

    def _where(self, field: int) -> int:
        at = self._fields + 4 + 2 * field
        if at >= self._fields + struct.unpack_from("<H", self._data, self._fields)[0]:
            return 0
        offset: int = struct.unpack_from("<H", self._data, at)[0]
        return self._at + offset if offset else 0

    def _vector(self, field: int) -> tuple[int, int]:
        where = self._where(field)
        if not where:
            return 0, 0
        start = where + _int(self._data, where)
        return start + 4, _int(self._data, start)


@dataclass(frozen=True, slots=True)
class Operation:
    name: str  # of OPERATORS, or the custom operation's own
    inputs: tuple[int, ...]  # numbers of tensors, -1 = left out
    outputs: tuple[int, ...]
    options: Table | None


@dataclass(frozen=True, slots=True)
class Network:
    """Tensors are numbered. `shapes` are those of the file, in its layout: (n, h, w, c)."""

    shapes: list[tuple[int, ...]]
    constants: dict[int, np.ndarray]  # half precision widened to float32
    operations: list[Operation]
    inputs: list[int]
    outputs: list[int]


def read_network(data: bytes) -> Network:
    """The first graph of a .tflite file. Raises ModelCorrupt."""
    try:
        model = Table(data, _int(data, 0))
        graph = model.tables(2)[0]
        tensors, buffers = graph.tables(0), model.tables(4)
        return Network(
            [tuple(tensor.numbers(0)) for tensor in tensors],
            dict(_constants(tensors, buffers)),
            list(_operations(graph, model.tables(1))),
            graph.numbers(1),
            graph.numbers(2),
        )
    except (struct.error, IndexError, KeyError, ValueError):
        raise ModelCorrupt(".tflite file does not parse: it is cut short or not of this format") from None


def _constants(tensors: list[Table], buffers: list[Table]) -> Iterator[tuple[int, np.ndarray]]:
    for number, tensor in enumerate(tensors):
        raw = buffers[tensor.number(2, "I")].bytes(0)
        if raw:
            values: np.ndarray = np.frombuffer(raw, ELEMENT[tensor.number(1, "b")]).reshape(tensor.numbers(0))
            yield number, values.astype(np.float32) if values.dtype == np.float16 else values


def _operations(graph: Table, codes: list[Table]) -> Iterator[Operation]:
    for operator in graph.tables(3):
        code = codes[operator.number(0, "I")]
        name = OPERATORS[max(code.number(0, "b"), code.number(3))]
        if name == "CUSTOM":
            name = code.bytes(1).decode("ascii")
        options: Any = operator.table(4) if operator.number(3, "B") else None
        yield Operation(name, tuple(operator.numbers(1)), tuple(operator.numbers(2)), options)


def _int(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<i", data, at)[0])

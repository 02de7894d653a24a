"""Tensors of a torch checkpoint (the format before 1.6), read without unpickling.

Layout: three small pickles (magic, protocol, system), the pickled state dict, the list of storage
keys, then for each key its element count (int64) and raw elements. The pickles are read opcode by
opcode as data by a machine that knows containers, numbers, strings and "rebuild a tensor from a
storage": no name is imported and nothing is called. Whatever else the file holds is refused.
"""

from __future__ import annotations

import io
import math
import pickletools  # the disassembler alone
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from veilcast.errors import ModelCorrupt

MAGIC = 0x1950A86A20F9469CFC6C
ELEMENT = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}
REBUILD, DICTIONARY = "torch._utils _rebuild_tensor_v2", "collections OrderedDict"


@dataclass(frozen=True, slots=True)
class _Global:
    name: str


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: str
    element: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(data: bytes) -> dict[str, np.ndarray]:
    """The state dict of a checkpoint: contiguous float32 or int64 arrays by name. Raises ModelCorrupt
    for anything that is not plainly a dictionary of tensors."""
    stream = io.BytesIO(data)
    try:
        magic, _protocol, _system, state, keys = (_Machine().run(stream) for _ in range(5))
        if magic != MAGIC:
            raise ModelCorrupt("not a torch checkpoint of the kind that this reader knows")
        tensors = {name: tensor for name, tensor in state.items() if isinstance(tensor, _Tensor)}
        storages = _storages(stream, keys, {t.storage: t.element for t in tensors.values()})
        return {name: _array(tensor, storages[tensor.storage]) for name, tensor in tensors.items()}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError):
        raise ModelCorrupt(
            "torch checkpoint does not parse: it is cut short or holds more than tensors"
        ) from None


def _storages(
    stream: io.BytesIO, keys: list[str], elements: dict[str, np.dtype[Any]]
) -> dict[str, np.ndarray]:
    storages = {}
    for key in keys:
        count = int.from_bytes(stream.read(8), "little")
        element = elements[key]
        storages[key] = np.frombuffer(stream.read(count * element.itemsize), element)
        if len(storages[key]) != count:
            raise EOFError
    return storages


def _array(tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
    end = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True)) + 1
    if min(tensor.strides, default=0) < 0 or tensor.offset < 0 or end > len(storage):
        raise ValueError
    step = storage.itemsize
    view = np.lib.stride_tricks.as_strided(
        storage[tensor.offset :], tensor.shape, [s * step for s in tensor.strides], writeable=False
    )
    return np.ascontiguousarray(view)


class _Machine:
    """Evaluates the few opcodes that a state dict needs."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, stream: io.BytesIO) -> Any:
        for opcode, argument, _ in pickletools.genops(stream):
            name = opcode.name
            if name == "STOP":
                return self._stack.pop()
            if name in _PUSHES:
                self._stack.append(_PUSHES[name](argument))
            else:
                self._step(name, argument)
        raise EOFError

    def _step(self, name: str, argument: Any) -> None:
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self._marks.append(len(self._stack))
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = self._stack[-1]
            case "BINGET" | "LONG_BINGET":
                self._stack.append(self._memo[argument])
            case "TUPLE" | "APPENDS" | "SETITEMS":
                self._gather(name, self._since_mark())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                self._stack[-count:] = [tuple(self._stack[-count:])]
            case "SETITEM":
                self._gather("SETITEMS", [self._stack.pop(-2), self._stack.pop()])
            case "APPEND":
                self._gather("APPENDS", [self._stack.pop()])
            case "BINPERSID":
                self._stack.append(_storage_reference(*self._stack.pop()))
            case "REDUCE":
                arguments, function = self._stack.pop(), self._stack.pop()
                self._stack.append(_construct(function, arguments))
            case "BUILD":  # attributes of the dictionary: _metadata, not wanted
                self._stack.pop()
            case _:
                raise ModelCorrupt(f"torch checkpoint holds {name}, which is not plain data: refused")

    def _gather(self, name: str, items: list[Any]) -> None:
        if name == "TUPLE":
            self._stack.append(tuple(items))
        elif name == "APPENDS":
            self._stack[-1].extend(items)
        else:
            self._stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def _since_mark(self) -> list[Any]:
        mark = self._marks.pop()
        items, self._stack[mark:] = self._stack[mark:], []
        return items


def _same(value: Any) -> Any:
    return value


_PUSHES: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _same),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "SHORT_BINSTRING"), _same),
    "GLOBAL": _Global,
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_LIST": lambda _: [],
    "EMPTY_DICT": lambda _: {},
    "EMPTY_TUPLE": lambda _: (),
}


def _storage_reference(kind: str, storage: _Global, key: str, _device: str, count: int, _view: None) -> Any:
    if kind != "storage":
        raise ValueError
    return key, ELEMENT[storage.name], count


def _construct(function: _Global, arguments: tuple[Any, ...]) -> Any:
    if function.name == DICTIONARY:
        return dict(arguments[0]) if arguments else {}
    if function.name != REBUILD:
        raise ModelCorrupt(f"torch checkpoint calls {function.name}: refused")
    (key, element, count), offset, shape, strides = arguments[:4]
    if math.prod(shape) > count:
        raise ValueError
    return _Tensor(key, element, offset, tuple(shape), tuple(strides))

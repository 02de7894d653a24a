"""A small writer of ONNX graphs whose bytes depend on what is written alone.

The result of a conversion is pinned by SHA-256, so nothing of the library's version, of the machine
or of the time may enter the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

OPSET = 17
IR_VERSION = 8  # what ONNX Runtime 1.14, OpenVINO 2023 and TensorRT 8.6 already read
Dim = int | str
_ELEMENT = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}  # TensorProto.DataType


class GraphWriter:
    """Nodes are appended in order of execution; each call returns the name of the result. The onnx
    package is imported when the file is written: whoever only reads the catalogue does without it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[tuple[str, list[str], list[str], dict[str, Any]]] = []
        self._constants: list[tuple[str, np.ndarray]] = []
        self._taken: set[str] = set()

    def constant(self, value: np.ndarray) -> str:
        """A constant tensor, float32 or int64, stored inside the file."""
        value = np.ascontiguousarray(value)
        if value.dtype not in _ELEMENT:
            raise TypeError(f"constants are float32 or int64, got {value.dtype}")
        name = self._fresh("c")
        self._constants.append((name, value))
        return name

    def node(self, op: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        """One node with one output, named `to` where given."""
        output = to or self._fresh(op.lower())
        self._nodes.append((op, list(inputs), [output], attributes))
        return output

    def conv(
        self, x: str, weight: np.ndarray, bias: np.ndarray | None = None, *, pads: Sequence[int], **more: Any
    ) -> str:
        """2-D convolution. `weight` (out, in / group, kh, kw); `pads` top, left, bottom, right."""
        tensors = [self.constant(weight)] + ([self.constant(bias)] if bias is not None else [])
        return self.node("Conv", x, *tensors, pads=list(pads), kernel_shape=list(weight.shape[2:]), **more)

    def add(self, x: str, value: np.ndarray | str) -> str:
        return self.node("Add", x, value if isinstance(value, str) else self.constant(value))

    def mul(self, x: str, value: np.ndarray | str) -> str:
        return self.node("Mul", x, value if isinstance(value, str) else self.constant(value))

    def halves(self, x: str) -> tuple[str, str]:
        """Both halves of the batch."""
        names = (self._fresh("half"), self._fresh("half"))
        self._nodes.append(("Split", [x], list(names), {"axis": 0}))
        return names

    def channels(self, values: Sequence[float]) -> np.ndarray:
        """One float32 for each channel, shaped to broadcast over (n, c, h, w)."""
        return np.asarray(values, np.float32).reshape(1, -1, 1, 1)

    def bytes(self, inputs: Mapping[str, Sequence[Dim]], outputs: Mapping[str, Sequence[Dim]]) -> bytes:
        """The checked model file. All inputs and outputs are float32; a string is a free dimension."""
        import onnx
        from onnx import TensorProto, helper

        graph = helper.make_graph(
            [helper.make_node(op, *tensors, **attributes) for op, *tensors, attributes in self._nodes],
            self._name,
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
            [_stored(name, value) for name, value in self._constants],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        model.producer_name = "veilcast"
        onnx.checker.check_model(model, full_check=True)
        data: bytes = model.SerializeToString(deterministic=True)
        return data

    def _fresh(self, stem: str) -> str:
        name = f"{stem}{len(self._taken)}"
        self._taken.add(name)
        return name


def _stored(name: str, value: np.ndarray) -> Any:
    from onnx import TensorProto

    tensor = TensorProto(name=name, data_type=_ELEMENT[value.dtype], dims=value.shape)
    tensor.raw_data = value.astype(value.dtype.newbyteorder("<")).tobytes()
    return tensor

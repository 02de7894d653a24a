"""What one run of a network takes at least: multiplications, and bytes to and from memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from veilcast.trt_engines.runtime import ov

CONVOLUTIONS = {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData"}


@dataclass(frozen=True, slots=True)
class Cost:
    """`flop`: of convolutions and matrix products, a multiply-add as two. `weights`, `activations`:
    numbers of elements; activations are the results of those layers, each written once and read once
    by whoever fuses all that lies between them."""

    flop: float
    weights: int
    activations: int

    def bytes(self, element: int) -> int:
        """Moved at least, with elements of this many bytes."""
        return element * (self.weights + 2 * self.activations)


def cost(data: bytes, shapes: Mapping[str, Sequence[int]]) -> Cost:
    """Of ONNX bytes with the inputs fixed at `shapes`, by OpenVINO's shape inference."""
    network = ov.Core().read_model(data)
    network.reshape({name: ov.PartialShape(list(shape)) for name, shape in shapes.items()})
    layers = [op for op in network.get_ordered_ops() if op.get_type_name() in CONVOLUTIONS | {"MatMul"}]
    constants = [op for op in network.get_ordered_ops() if op.get_type_name() == "Constant"]
    return Cost(
        sum(_flop(layer) for layer in layers),
        sum(_count(constant.output(0)) for constant in constants),
        sum(_count(layer.output(0)) for layer in layers),
    )


def _flop(layer: Any) -> float:
    """Each element of the result (of a transposed convolution: of the input) takes one product of the
    kernel, or of the inner dimension."""
    kind = layer.get_type_name()
    if kind == "MatMul":
        inner: int = layer.input(0).get_shape()[-2 if layer.get_attributes()["transpose_a"] else -1]
        return 2.0 * inner * _count(layer.output(0))
    kernel: list[int] = list(layer.input(1).get_shape())
    if "Backprop" in kind:  # weights (in, out, kh, kw): every input element reaches out * kh * kw results
        return 2.0 * math.prod(kernel[-3:]) * _count(layer.input(0))
    return 2.0 * math.prod(kernel[-3:]) * _count(layer.output(0))


def _count(port: Any) -> int:
    shape: list[int] = list(port.get_shape())
    return math.prod(shape)

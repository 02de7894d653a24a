"""TensorFlow Lite networks to ONNX: channels first, any batch, readable tensor names.

Four-dimensional tensors are kept (n, c, h, w) throughout, so that nothing is transposed between
layers; only a reshape goes through the file's own order (n, h, w, c).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from veilcast.errors import ModelCorrupt
from veilcast.trt_engines.convert.graph import GraphWriter
from veilcast.trt_engines.convert.tfjs import same_pads
from veilcast.trt_engines.convert.tflite_file import Network, Operation, Table

TO_NCHW = (0, 3, 1, 2)
TO_NHWC = (0, 2, 3, 1)
AXIS = (0, 2, 3, 1)  # where each axis of (n, h, w, c) is in (n, c, h, w)
UNARY = {
    **{"RELU": "Relu", "LOGISTIC": "Sigmoid", "ABS": "Abs", "NEG": "Neg", "SQRT": "Sqrt"},
    "HARD_SWISH": "HardSwish",
}
BINARY = {"ADD": "Add", "SUB": "Sub", "MUL": "Mul", "DIV": "Div"}
REDUCE = {"MEAN": "ReduceMean", "SUM": "ReduceSum"}


class Conversion:
    """Writes a network's operations into `graph`. `values`: tensor number -> name in the graph."""

    def __init__(self, network: Network, graph: GraphWriter) -> None:
        self.graph = graph
        self._network = network
        self._constants = dict(network.constants)
        self._values: dict[int, str] = {}

    def run(self, inputs: Sequence[str]) -> list[str]:
        """The names of the outputs, given those of the inputs."""
        self._values |= dict(zip(self._network.inputs, inputs, strict=True))
        for operation in self._network.operations:
            self._convert(operation)
        return [self._values[number] for number in self._network.outputs]

    def _convert(self, operation: Operation) -> None:
        (target,) = operation.outputs
        if operation.name == "DEQUANTIZE":  # of half precision, widened when it was read
            self._constants[target] = self._constants[operation.inputs[0]]
            return
        name = operation.name
        if name in UNARY:
            result = self.graph.node(UNARY[name], self._value(operation.inputs[0]))
        elif name in BINARY:
            result = self._activated(self._binary(BINARY[name], operation), operation.options, 0)
        elif name in REDUCE:
            result = self._reduce(REDUCE[name], operation)
        else:
            try:
                result = _OTHERS[name](self, operation)
            except KeyError:
                raise ModelCorrupt(f"this reader does not know the operation {name}") from None
        self._values[target] = result

    def _value(self, number: int) -> str:
        """The tensor's name; a constant is written out, its channels in second place."""
        if number in self._values:
            return self._values[number]
        value = self._constants[number]
        if value.ndim == 4:
            value = value.transpose(TO_NCHW)
        elif value.ndim == 1 and value.size > 1:
            value = value.reshape(1, -1, 1, 1)
        return self.graph.constant(value)

    def _binary(self, op: str, operation: Operation) -> str:
        a, b = operation.inputs
        return self.graph.node(op, self._value(a), self._value(b))

    def _squared_difference(self, operation: Operation) -> str:
        gap = self._binary("Sub", operation)
        return self.graph.mul(gap, gap)

    def _reciprocal_root(self, operation: Operation) -> str:
        return self.graph.node("Reciprocal", self.graph.node("Sqrt", self._value(operation.inputs[0])))

    def _reduce(self, op: str, operation: Operation) -> str:
        x, axes = operation.inputs
        keep = bool(operation.options and operation.options.number(0, "b"))
        wanted = [self._axis(x, int(a)) for a in np.atleast_1d(self._constants[axes])]
        if op == "ReduceSum":  # its axes are an input from opset 13 on
            return self.graph.node(
                op, self._value(x), self.graph.constant(np.array(wanted, np.int64)), keepdims=int(keep)
            )
        return self.graph.node(op, self._value(x), axes=wanted, keepdims=int(keep))

    def _convolution(self, operation: Operation) -> str:
        x, weight, *bias = operation.inputs
        options = _options(operation)
        values = self._constants[weight]
        depthwise = operation.name == "DEPTHWISE_CONV_2D"
        if depthwise and options.number(3) != 1:
            raise ModelCorrupt("this reader knows depthwise convolutions of one filter a channel")
        # (1, kh, kw, c) to (c, 1, kh, kw), and (out, kh, kw, in) to (out, in, kh, kw)
        values = values.transpose((3, 0, 1, 2) if depthwise else TO_NCHW)
        y = self.graph.conv(
            self._value(x),
            values,
            self._constants[bias[0]] if bias and bias[0] >= 0 else None,
            pads=self._pads(x, values.shape[2:], options),
            strides=_strides(options),
            group=len(values) if depthwise else 1,
        )
        return self._activated(y, options, 4 if depthwise else 3)

    def _pool(self, operation: Operation) -> str:
        (x,) = operation.inputs
        options = _options(operation)
        kernel = (options.number(4), options.number(3))
        op = "MaxPool" if operation.name == "MAX_POOL_2D" else "AveragePool"
        pads = self._pads(x, kernel, options)
        return self.graph.node(
            op, self._value(x), kernel_shape=list(kernel), strides=_strides(options), pads=pads
        )

    def _pads(self, x: int, kernel: Sequence[int], options: Table) -> list[int]:
        """Top, left, bottom, right; padding 0 is SAME, 1 is VALID."""
        if options.number(0, "b"):
            return [0] * 4
        sides, strides = self._network.shapes[x][1:3], _strides(options)
        (top, bottom), (left, right) = (same_pads(*axis) for axis in zip(sides, kernel, strides, strict=True))
        return [top, left, bottom, right]

    def _prelu(self, operation: Operation) -> str:
        x, slope = operation.inputs
        slopes = self._constants[slope].reshape(-1, 1, 1)
        return self.graph.node("PRelu", self._value(x), self.graph.constant(slopes))

    def _pad(self, operation: Operation) -> str:
        x, amounts = operation.inputs
        before, after = self._constants[amounts][[0, 3, 1, 2]].T
        pads = np.concatenate([before, after]).astype(np.int64)
        return self.graph.node("Pad", self._value(x), self.graph.constant(pads))

    def _resize(self, operation: Operation) -> str:
        x, size = operation.inputs
        options = _options(operation)
        corners, centres = options.number(2, "b"), options.number(3, "b")
        mode = "align_corners" if corners else "half_pixel" if centres else "asymmetric"
        factors = self._constants[size] / np.array(self._network.shapes[x][1:3])
        scales = self.graph.constant(np.array([1, 1, *factors], np.float32))
        return self.graph.node(
            "Resize", self._value(x), "", scales, mode="linear", coordinate_transformation_mode=mode
        )

    def _transposed_convolution(self, operation: Operation) -> str:
        """MediaPipe's own operation; here its kernel equals its stride of 2, so nothing overlaps."""
        x, weight, bias = operation.inputs
        values = self._constants[weight].transpose(3, 0, 1, 2)  # (out, kh, kw, in) to (in, out, kh, kw)
        if values.shape[2:] != (2, 2):
            raise ModelCorrupt("this reader knows transposed convolutions of 2x2 alone")
        tensors = [self.graph.constant(np.ascontiguousarray(v)) for v in (values, self._constants[bias])]
        return self.graph.node("ConvTranspose", self._value(x), *tensors, kernel_shape=[2, 2], strides=[2, 2])

    def _transpose(self, operation: Operation) -> str:
        x, order = operation.inputs
        wanted = self._constants[order].tolist()
        permutation = [AXIS[wanted[TO_NCHW[i]]] for i in range(4)]
        return self.graph.node("Transpose", self._value(x), perm=permutation)

    def _reshape(self, operation: Operation) -> str:
        """The first dimension is the batch and stays as it is."""
        x = operation.inputs[0]
        shape = self._network.shapes[operation.outputs[0]]
        value = self._plain(x)
        target = self.graph.constant(np.array([0, *shape[1:]], np.int64))
        value = self.graph.node("Reshape", value, target)
        return self.graph.node("Transpose", value, perm=list(TO_NCHW)) if len(shape) == 4 else value

    def _slice(self, operation: Operation) -> str:
        """Steps of one. A slice of the whole and one that drops the batch axis leave the tensor as it is."""
        x, begin, _end, _step = operation.inputs
        old, new = self._network.shapes[x], self._network.shapes[operation.outputs[0]]
        if len(new) < len(old) or old == new:
            return self._value(x)
        axes = [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
        starts = [int(self._constants[begin][i]) for i in axes]
        ends = [start + new[i] for start, i in zip(starts, axes, strict=True)]
        where = [self._axis(x, i) for i in axes]
        bounds = [self.graph.constant(np.array(v, np.int64)) for v in (starts, ends, where)]
        return self.graph.node("Slice", self._value(x), *bounds)

    def _concatenation(self, operation: Operation) -> str:
        """A constant among the parts is repeated for each member of the batch."""
        live = next(number for number in operation.inputs if number in self._values)
        batch = self.graph.node("Shape", self._values[live], end=1)
        parts = [n if n in self._values else self._repeated(n, batch) for n in operation.inputs]
        names = [self._values[n] if isinstance(n, int) else n for n in parts]
        return self.graph.node("Concat", *names, axis=self._axis(live, _options(operation).number(0)))

    def _repeated(self, number: int, batch: str) -> str:
        shape = [self._network.shapes[number][i] for i in TO_NCHW[1:]]
        rest = self.graph.constant(np.array(shape, np.int64))
        return self.graph.node("Expand", self._value(number), self.graph.node("Concat", batch, rest, axis=0))

    def _plain(self, number: int) -> str:
        """In the file's own order of axes."""
        value = self._value(number)
        if len(self._network.shapes[number]) != 4:
            return value
        return self.graph.node("Transpose", value, perm=list(TO_NHWC))

    def _axis(self, number: int, axis: int) -> int:
        rank = len(self._network.shapes[number])
        return AXIS[axis % rank] if rank == 4 else axis % rank

    def _activated(self, value: str, options: Table | None, field: int) -> str:
        fused = options.number(field, "b") if options else 0
        if fused == 0:
            return value
        if fused == 1:
            return self.graph.node("Relu", value)
        if fused != 3:
            raise ModelCorrupt(f"this reader does not know the fused activation {fused}")
        low, high = (self.graph.constant(np.array(v, np.float32)) for v in (0, 6))
        return self.graph.node("Clip", value, low, high)


_OTHERS: dict[str, Callable[[Conversion, Operation], str]] = {
    "SQUARED_DIFFERENCE": Conversion._squared_difference,
    "RSQRT": Conversion._reciprocal_root,
    "CONV_2D": Conversion._convolution,
    "DEPTHWISE_CONV_2D": Conversion._convolution,
    "MAX_POOL_2D": Conversion._pool,
    "AVERAGE_POOL_2D": Conversion._pool,
    "PRELU": Conversion._prelu,
    "PAD": Conversion._pad,
    "RESIZE_BILINEAR": Conversion._resize,
    "Convolution2DTransposeBias": Conversion._transposed_convolution,
    "TRANSPOSE": Conversion._transpose,
    "RESHAPE": Conversion._reshape,
    "STRIDED_SLICE": Conversion._slice,
    "CONCATENATION": Conversion._concatenation,
}


def _options(operation: Operation) -> Table:
    if operation.options is None:
        raise ModelCorrupt(f"the operation {operation.name} has no options")
    return operation.options


def _strides(options: Table) -> list[int]:
    return [options.number(2, default=1), options.number(1, default=1)]

"""dlib's face recognition ResNet-29, from the 8-bit shards of npm @vladmandic/face-api.

Architecture: dlib's dnn_face_recognition_ex.cpp (D. King; weights CC0). Input (n, 3, 150, 150) RGB
0..255; output `embedding` (n, 128), not normalised.
"""

from __future__ import annotations

import numpy as np

from veilcast.trt_engines.convert.graph import GraphWriter
from veilcast.trt_engines.convert.tfjs import Weights, filters, load_manifest, read_weights

MEAN_RGB = (122.782, 117.001, 104.298)
BLOCKS = (
    *("conv32_1", "conv32_2", "conv32_3"),
    *("conv64_down", "conv64_1", "conv64_2", "conv64_3"),
    *("conv128_down", "conv128_1", "conv128_2"),
    *("conv256_down", "conv256_1", "conv256_2", "conv256_down_out"),
)


def convert(manifest: bytes, shard: bytes) -> bytes:
    """ONNX bytes of the recogniser."""
    weights = read_weights(load_manifest(manifest), shard)
    graph = GraphWriter("dlib_face_recognition_resnet_v1")
    x = graph.add("rgb", -graph.channels(MEAN_RGB))
    x = graph.mul(x, np.array([1 / 256], np.float32))
    x = graph.node("Relu", _convolution(graph, weights, x, "conv32_down", stride=2, pad=0))
    x = graph.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    side = 35  # of x, in samples
    for block in BLOCKS:
        if "down" in block:
            x, side = _downsampling(graph, weights, x, block, side)
        else:
            x = _residual(graph, weights, x, block)
    x = graph.node("Flatten", graph.node("GlobalAveragePool", x))
    graph.node("MatMul", x, graph.constant(weights["fc"]), to="embedding")
    return graph.bytes({"rgb": ["n", 3, 150, 150]}, {"embedding": ["n", 128]})


def _convolution(graph: GraphWriter, weights: Weights, x: str, name: str, *, stride: int, pad: int) -> str:
    """Convolution with dlib's affine layer folded in: (w * x + b) * gamma + beta."""
    gamma, beta = weights[f"{name}/scale/weights"], weights[f"{name}/scale/biases"]
    weight = filters(weights[f"{name}/conv/filters"]) * gamma.reshape(-1, 1, 1, 1)
    bias = weights[f"{name}/conv/bias"] * gamma + beta
    return graph.conv(x, weight, bias, pads=[pad] * 4, strides=[stride, stride])


def _residual(graph: GraphWriter, weights: Weights, x: str, block: str) -> str:
    y = graph.node("Relu", _convolution(graph, weights, x, f"{block}/conv1", stride=1, pad=1))
    y = _convolution(graph, weights, y, f"{block}/conv2", stride=1, pad=1)
    return graph.node("Relu", graph.node("Add", y, x))


def _downsampling(graph: GraphWriter, weights: Weights, x: str, block: str, side: int) -> tuple[str, int]:
    """Residual block of stride 2. dlib adds tensors of different sizes: zeros stand in for the
    channels that the shortcut lacks and for the last row and column that the convolution lacks."""
    y = graph.node("Relu", _convolution(graph, weights, x, f"{block}/conv1", stride=2, pad=0))
    y = _convolution(graph, weights, y, f"{block}/conv2", stride=1, pad=1)
    x = graph.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    entering, leaving = weights[f"{block}/conv1/conv/filters"].shape[2:]
    y = _padded(graph, y, 0, side // 2 - ((side - 3) // 2 + 1))
    x = _padded(graph, x, leaving - entering, 0)
    return graph.node("Relu", graph.node("Add", y, x)), side // 2


def _padded(graph: GraphWriter, x: str, channels: int, border: int) -> str:
    """Zeros behind the last channel and at the right and lower border."""
    if channels == border == 0:
        return x
    return graph.node("Pad", x, graph.constant(np.array([0, 0, 0, 0, 0, channels, border, border], np.int64)))

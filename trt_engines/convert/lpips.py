"""LPIPS v0.1 on SqueezeNet 1.1 (R. Zhang et al. 2018; BSD): a perceptual distance.

Inputs `a`, `b` (n, 3, h, w) RGB 0..255; output `distance` (n, 1).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from veilcast.trt_engines.convert.graph import GraphWriter
from veilcast.trt_engines.convert.safetensors_file import read_tensors

SHIFT = (-0.030, -0.088, -0.188)  # of pictures in -1..1
SCALE = (0.458, 0.448, 0.450)
# one tuple for each feature that is compared: layers of SqueezeNet 1.1, 0 the convolution
TAPS = ((0,), (1, 4), (7, 10), (13,), (16,), (19,), (22,))
POOLED = (1, 2, 3)  # taps before which the picture is halved
EPSILON = 1e-10
Weights = Mapping[str, np.ndarray]


def convert(tensors: bytes) -> bytes:
    """ONNX bytes, from a safetensors file with conv<i>.weight / .bias and lin<n>.weight."""
    weights = {name: value.astype(np.float32) for name, value in read_tensors(tensors).items()}
    graph = GraphWriter("lpips_squeeze")
    both = graph.node("Concat", "a", "b", axis=0)
    parts = [_difference(graph, weights, n, x) for n, x in enumerate(_features(graph, weights, both))]
    total = graph.node("Sum", *parts)
    graph.node("Flatten", total, to="distance")
    shape: list[int | str] = ["n", 3, "h", "w"]
    return graph.bytes({"a": shape, "b": shape}, {"distance": ["n", 1]})


def _features(graph: GraphWriter, weights: Weights, x: str) -> list[str]:
    unit = graph.add(graph.mul(x, np.array([2 / 255], np.float32)), -1 - graph.channels(SHIFT))
    x = graph.mul(unit, np.float32(1) / graph.channels(SCALE))
    features = []
    for tap, layers in enumerate(TAPS):
        if tap in POOLED:
            x = graph.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
        for layer in layers:
            x = _fire(graph, weights, x, layer) if layer else _conv(graph, weights, x, 0, stride=2)
        features.append(x)
    return features


def _fire(graph: GraphWriter, weights: Weights, x: str, layer: int) -> str:
    """Squeeze, then 1x1 and 3x3 side by side; layers are numbered as stored: squeeze, 3x3, 1x1."""
    x = _conv(graph, weights, x, layer)
    wide, narrow = _conv(graph, weights, x, layer + 1), _conv(graph, weights, x, layer + 2)
    return graph.node("Concat", narrow, wide, axis=1)


def _conv(graph: GraphWriter, weights: Weights, x: str, layer: int, stride: int = 1) -> str:
    weight, bias = weights[f"conv{layer}.weight"], weights[f"conv{layer}.bias"]
    pad = 0 if stride > 1 else weight.shape[2] // 2
    return graph.node("Relu", graph.conv(x, weight, bias, pads=[pad] * 4, strides=[stride, stride]))


def _difference(graph: GraphWriter, weights: Weights, tap: int, x: str) -> str:
    """Of the first half of the batch from the second: channels divided by their length, squared,
    weighted, averaged over the picture."""
    length = graph.node("ReduceL2", x, axes=[1], keepdims=1)
    unit = graph.node("Div", x, graph.add(length, np.array([EPSILON], np.float32)))
    gap = graph.node("Sub", *graph.halves(unit))
    weighted = graph.conv(graph.mul(gap, gap), weights[f"lin{tap}.weight"], pads=[0] * 4)
    return graph.node("GlobalAveragePool", weighted)

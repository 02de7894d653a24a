"""Expression classifier of npm @vladmandic/face-api (MIT): four densely connected depthwise blocks.

Input (n, 3, 112, 112) RGB 0..255; output `expression` (n, 7) probabilities in the order of LABELS.
"""

from __future__ import annotations

import numpy as np

from veilcast.trt_engines.convert.graph import GraphWriter
from veilcast.trt_engines.convert.tfjs import (
    Weights,
    depthwise_filters,
    filters,
    load_manifest,
    read_weights,
    same_pads,
)

LABELS = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
MEAN_RGB = (122.782, 117.001, 104.298)
SIDE = 112


def convert(manifest: bytes, shard: bytes) -> bytes:
    """ONNX bytes of the classifier."""
    weights = read_weights(load_manifest(manifest), shard)
    graph = GraphWriter("face_expression")
    x = graph.add("rgb", -graph.channels(MEAN_RGB))
    x = graph.mul(x, np.array([1 / 255], np.float32))
    for level in range(4):
        x = _dense_block(graph, weights, x, f"dense{level}", SIDE >> level)
    x = graph.node("Flatten", graph.node("AveragePool", x, kernel_shape=[7, 7], strides=[2, 2]))
    x = graph.add(graph.node("MatMul", x, graph.constant(weights["fc/weights"])), weights["fc/bias"])
    graph.node("Softmax", x, axis=1, to="expression")
    return graph.bytes({"rgb": ["n", 3, SIDE, SIDE]}, {"expression": ["n", len(LABELS)]})


def _dense_block(graph: GraphWriter, weights: Weights, x: str, name: str, side: int) -> str:
    """Each layer gets the sum of all results before it."""
    total = graph.node("Relu", _layer(graph, weights, x, f"{name}/conv0", side, stride=2))
    x = total
    for layer in (1, 2, 3):
        total = graph.add(total, _layer(graph, weights, x, f"{name}/conv{layer}", side // 2, stride=1))
        x = graph.node("Relu", total)
    return x


def _layer(graph: GraphWriter, weights: Weights, x: str, name: str, side: int, *, stride: int) -> str:
    before, after = same_pads(side, 3, stride)
    pads, strides = [before, before, after, after], [stride, stride]
    bias = weights[f"{name}/bias"]
    if f"{name}/filters" in weights:
        return graph.conv(x, filters(weights[f"{name}/filters"]), bias, pads=pads, strides=strides)
    depthwise = depthwise_filters(weights[f"{name}/depthwise_filter"])
    x = graph.conv(x, depthwise, pads=pads, strides=strides, group=len(depthwise))
    return graph.conv(x, filters(weights[f"{name}/pointwise_filter"]), bias, pads=[0] * 4)

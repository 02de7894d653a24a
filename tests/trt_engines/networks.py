"""Small networks made by the tests themselves."""

from __future__ import annotations

import numpy as np

from veilcast.trt_engines.convert.eight_bits import eight_bits
from veilcast.trt_engines.convert.graph import GraphWriter

SIDE = 8
CHANNELS = 3
OUT = 4


def weights() -> tuple[np.ndarray, np.ndarray]:
    """Of one 3x3 convolution, (4, 3, 3, 3) and (4,)."""
    rng = np.random.default_rng(7)
    kernel = rng.normal(size=(OUT, CHANNELS, 3, 3)).astype(np.float32) / 5
    return kernel, rng.normal(size=OUT).astype(np.float32)


def conv_network() -> bytes:
    """picture (n, 3, 8, 8) -> map (n, 4, 8, 8) = relu(conv(picture)), mean (n, 4) over the map."""
    graph = GraphWriter("conv")
    kernel, bias = weights()
    y = graph.node("Relu", graph.conv("picture", kernel, bias, pads=[1] * 4), to="map")
    graph.node("ReduceMean", y, axes=[2, 3], keepdims=0, to="mean")
    shape: list[int | str] = ["n", CHANNELS, SIDE, SIDE]
    return graph.bytes({"picture": shape}, {"map": ["n", OUT, SIDE, SIDE], "mean": ["n", OUT]})


def eight_bit_network() -> bytes:
    """`conv_network` with its convolution in eight bits, for pictures of -3.8 to 3.8."""
    return eight_bits(conv_network(), {"scale/picture": np.array(0.03, np.float32)})


def conv_reference(picture: np.ndarray) -> dict[str, np.ndarray]:
    """The same in numpy, float64."""
    kernel, bias = weights()
    padded = np.pad(picture.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    y = np.zeros((len(picture), OUT, SIDE, SIDE)) + bias.reshape(1, -1, 1, 1)
    for dy in range(3):
        for dx in range(3):
            patch = padded[:, :, dy : dy + SIDE, dx : dx + SIDE]
            y += np.einsum("nchw,oc->nohw", patch, kernel[:, :, dy, dx])
    y = np.maximum(y, 0)
    return {"map": y, "mean": y.mean((2, 3))}


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, CHANNELS, SIDE, SIDE)).astype(np.float32)


def group_norm_network() -> bytes:
    """Normalisation followed by a scale and a shift: what kills OpenVINO's float32 on some processors."""
    graph = GraphWriter("time_conditioned")
    c = 32
    kernel = np.random.default_rng(1).normal(size=(c, c, 3, 3)).astype(np.float32) / 17
    x = graph.conv("x", kernel, np.zeros(c, np.float32), pads=[1] * 4)
    grouped = graph.node("Reshape", x, graph.constant(np.array([0, 8, -1], np.int64)))
    ones, zeros = (graph.constant(np.full(8, v, np.float32)) for v in (1, 0))
    grouped = graph.node("InstanceNormalization", grouped, ones, zeros, epsilon=1e-5)
    x = graph.node("Reshape", grouped, graph.node("Shape", x))
    scale = graph.node("Unsqueeze", "t", graph.constant(np.array([2, 3], np.int64)))
    x = graph.add(graph.mul(x, graph.add(scale, np.array([1], np.float32))), scale)
    graph.node("Sigmoid", x, to="y")
    return graph.bytes({"x": ["n", c, 16, 16], "t": ["n", c]}, {"y": ["n", c, 16, 16]})

"""A generator's folder with small random networks of the right names and shapes, made with onnx alone.

What it renders is colour noise: every face must fail its check and end in solid cover.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from veilcast.diffusion.weights import write_tensors

Shape = tuple[str | int, ...]
CHANNELS = 8
RNG_SEED = 5


class Graph:
    """Nodes and weights of one network; methods add a node and return the name of its output."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, out: str = "", **attributes: object) -> str:
        name = out or f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, values: np.ndarray) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(values, name))
        return name

    def random(self, *shape: int) -> str:
        scale = np.sqrt(float(np.prod(shape[1:])))
        return self.constant((self._rng.normal(size=shape) / scale).astype(np.float32))

    def dense(self, value: str, size: int, into: int, out: str = "") -> str:
        return self.node("Gemm", value, self.random(into, size), out=out, transB=1)

    def conv(self, value: str, channels: int, into: int, stride: int = 1) -> str:
        weight = self.random(into, channels, stride, stride)
        return self.node("Conv", value, weight, strides=[stride, stride], kernel_shape=[stride, stride])

    def save(self, path: Path, inputs: dict[str, Shape], outputs: dict[str, Shape]) -> None:
        def values(shapes: dict[str, Shape]) -> list[onnx.ValueInfoProto]:
            return [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
                for name, shape in shapes.items()
            ]

        graph = helper.make_graph(self._nodes, path.stem, values(inputs), values(outputs), self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString())


def _unet(path: Path) -> None:
    g = Graph(RNG_SEED)
    seen = g.conv("veiled", 4, CHANNELS, 8)
    told = g.node("Add", g.dense("geometry", 61, CHANNELS), g.dense("identity", 128, CHANNELS))
    told = g.node("Mul", told, g.node("Unsqueeze", "t", g.constant(np.array([1]))))
    told = g.node("Unsqueeze", told, g.constant(np.array([2, 3])))
    mixed = g.node("Add", g.node("Add", g.conv("x", CHANNELS, CHANNELS), seen), told)
    g.node("Tanh", mixed, out="clean")
    latent: Shape = ("n", CHANNELS, 16, 16)
    inputs: dict[str, Shape] = {
        "x": latent,
        "t": ("n",),
        "veiled": ("n", 4, 128, 128),
        "geometry": ("n", 61),
        "identity": ("n", 128),
    }
    g.save(path, inputs, {"clean": latent})


def _decoder(path: Path, scale: int) -> None:
    g = Graph(RNG_SEED + scale)
    spread = g.conv("latent", CHANNELS, 3 * scale * scale)
    g.node("Tanh", g.node("DepthToSpace", spread, blocksize=scale), out="rgb")
    g.save(path, {"latent": ("n", CHANNELS, 16, 16)}, {"rgb": ("n", 3, 16 * scale, 16 * scale)})


def _identity(path: Path) -> None:
    g = Graph(RNG_SEED + 1)
    g.node("Add", g.dense("z", 64, 128), g.dense("coarse", 3, 128), out="identity")
    g.save(path, {"z": ("n", 64), "coarse": ("n", 3)}, {"identity": ("n", 128)})


def _expression(path: Path) -> None:
    g = Graph(RNG_SEED + 2)
    flat = g.node("Flatten", "landmarks")
    g.node("Sigmoid", g.dense(flat, 956, 52), out="blendshapes")
    g.save(path, {"landmarks": ("n", 478, 2)}, {"blendshapes": ("n", 52)})


def _coarse(path: Path) -> None:
    g = Graph(RNG_SEED + 3)
    mean = g.node("Flatten", g.node("GlobalAveragePool", "rgb"))
    g.node("Sigmoid", g.dense(mean, 3, 3), out="coarse")
    g.save(path, {"rgb": ("n", 3, 128, 128)}, {"coarse": ("n", 3)})


def mean_mesh() -> np.ndarray:
    """Any 478 points that are not all in one place: the average face of a model without weights."""
    rng = np.random.default_rng(RNG_SEED)
    return (rng.normal(size=(478, 3)) * 0.2).astype(np.float32)


def write_model(folder: Path, *, closeup: bool = True, times: Sequence[float] = (1.0, 0.5)) -> Path:
    """A whole folder as `veilcast train` exports it."""
    folder.mkdir(parents=True, exist_ok=True)
    _unet(folder / "unet.onnx")
    _decoder(folder / "decoder.onnx", 8)
    if closeup:
        _decoder(folder / "closeup.onnx", 16)
    _identity(folder / "identity.onnx")
    _expression(folder / "expression.onnx")
    _coarse(folder / "coarse.onnx")
    rng = np.random.default_rng(RNG_SEED)
    mean = rng.normal(size=128)
    constants = {
        "identity_mean": (0.91 * mean / np.linalg.norm(mean)).astype(np.float32),
        "mean_mesh": mean_mesh(),
        "fit": (0.1 * rng.normal(size=(3, 128))).astype(np.float32),
        "fit_bias": np.array([0.4, 0.5, 0.3], np.float32),
        "coarse_mean": np.array([0.4, 0.5, 0.3], np.float32),
        "coarse_factor": np.diag([0.1, 0.5, 0.2]).astype(np.float32),
    }
    write_tensors(folder / "constants.safetensors", constants)
    write_manifest(folder, times)
    return folder


def write_manifest(folder: Path, times: Sequence[float] = (1.0, 0.5)) -> None:
    files = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(folder.iterdir())
        if path.suffix in (".onnx", ".safetensors")
    }
    manifest = {"format": 1, "name": "tiny", "licence": "For tests.", "times": list(times), "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest))

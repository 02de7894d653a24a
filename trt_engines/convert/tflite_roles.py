"""The TensorFlow Lite networks of the catalogue, each with the input and output names of its role."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from veilcast.trt_engines.convert.graph import Dim, GraphWriter
from veilcast.trt_engines.convert.tflite import Conversion
from veilcast.trt_engines.convert.tflite_file import read_network

Finish = Callable[[GraphWriter, list[str]], dict[str, list[Dim]]]


def _picture_network(
    data: bytes,
    name: str,
    side: int,
    scale: float,
    shift: float,
    finish: Finish,
) -> bytes:
    """`rgb` (n, 3, side, side) 0..255, brought to rgb * scale + shift as the network was trained;
    `finish` names the outputs and returns their shapes."""
    graph = GraphWriter(name)
    x = graph.mul("rgb", np.array([scale], np.float32))
    if shift:
        x = graph.add(x, np.array([shift], np.float32))
    outputs = finish(graph, Conversion(read_network(data), graph).run([x]))
    return graph.bytes({"rgb": ["n", 3, side, side]}, outputs)


def _mesh(points: int) -> Finish:
    def finish(graph: GraphWriter, results: list[str]) -> dict[str, list[Dim]]:
        shape = graph.constant(np.array([0, points, 3], np.int64))
        graph.node("Reshape", results[0], shape, to="mesh")
        graph.node("Sigmoid", graph.node("Flatten", results[1]), to="presence")
        return {"mesh": ["n", points, 3], "presence": ["n", 1]}

    return finish


def landmarks468(data: bytes) -> bytes:
    """MediaPipe face mesh: `mesh` (n, 468, 3) in pixels of 192, `presence` (n, 1) 0..1."""
    return _picture_network(data, "face_mesh_468", 192, 1 / 255, 0, _mesh(468))


def landmarks478(data: bytes) -> bytes:
    """MediaPipe face mesh with irises: `mesh` (n, 478, 3) in pixels of 256, `presence` (n, 1) 0..1."""
    return _picture_network(data, "face_mesh_478", 256, 1 / 255, 0, _mesh(478))


def mobilefacenet(data: bytes) -> bytes:
    """MobileFaceNet (S. Chen et al. 2018), input aligned to 112 px: `embedding` (n, 192), unit norm not
    promised."""

    def finish(graph: GraphWriter, results: list[str]) -> dict[str, list[Dim]]:
        graph.node("Identity", results[0], to="embedding")
        return {"embedding": ["n", 192]}

    return _picture_network(data, "mobilefacenet", 112, 1 / 128, -127.5 / 128, finish)


def selfie(data: bytes) -> bytes:
    """MediaPipe selfie segmentation: `person` (n, 1, 256, 256) 0..1."""

    def finish(graph: GraphWriter, results: list[str]) -> dict[str, list[Dim]]:
        graph.node("Identity", results[0], to="person")
        return {"person": ["n", 1, 256, 256]}

    return _picture_network(data, "selfie_segmentation", 256, 1 / 255, 0, finish)


def blendshapes(data: bytes) -> bytes:
    """MediaPipe blendshapes: `points` (n, 146, 2) in pixels of any picture -> `blendshapes` (n, 52) 0..1."""
    graph = GraphWriter("face_blendshapes")
    (result,) = Conversion(read_network(data), graph).run(["points"])
    graph.node("Identity", result, to="blendshapes")
    return graph.bytes({"points": ["n", 146, 2]}, {"blendshapes": ["n", 52]})

"""Steps joined in one graph give the numbers of a loop in Python; what can be kept is kept."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from veilcast.diffusion.sampler import euler
from veilcast.errors import ModelCorrupt
from veilcast.trt_engines.canary import F32_PLAIN
from veilcast.trt_engines.convert.graph import GraphWriter
from veilcast.trt_engines.engine import Model, Settings, Tensors
from veilcast.trt_engines.graphs import parted, unrolled


def denoiser() -> bytes:
    """clean = tanh(x W + t + tokens), with two layers of tokens that depend on the identity alone."""
    graph = GraphWriter("denoiser")
    rng = np.random.default_rng(3)
    wide, deep, latent = (graph.constant(rng.normal(size=(a, 6)).astype(np.float32) / 2) for a in (5, 6, 6))
    tokens = graph.node("MatMul", graph.node("Tanh", graph.node("MatMul", "identity", wide)), deep)
    t = graph.node("Unsqueeze", "t", graph.constant(np.array([1], np.int64)))
    graph.node("Tanh", graph.add(graph.add(graph.node("MatMul", "x", latent), t), tokens), to="clean")
    return graph.bytes({"x": ["n", 6], "t": ["n"], "identity": ["n", 5]}, {"clean": ["n", 6]})


def decoder() -> bytes:
    graph = GraphWriter("decoder")
    graph.mul("latent", np.array([10], np.float32))
    graph.node("Relu", graph.mul("latent", np.array([10], np.float32)), to="rgb")
    return graph.bytes({"latent": ["n", 6]}, {"rgb": ["n", 6]})


def run(data: bytes, inputs: Tensors) -> dict[str, np.ndarray]:
    with F32_PLAIN.open(Model(data, ".onnx"), Settings()) as engine:
        return engine.run(inputs)


def inputs(count: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    return {
        name: rng.normal(size=(count, size)).astype(np.float32) for name, size in (("x", 6), ("identity", 5))
    }


def loop(values: Tensors, times: list[float]) -> np.ndarray:
    """The sampler of the product, step by step."""

    def denoise(x: np.ndarray, t: float) -> np.ndarray:
        return run(denoiser(), {**values, "x": x, "t": np.full(len(x), t, np.float32)})["clean"]

    return euler(denoise, values["x"], times)


@pytest.mark.parametrize("times", [[1.0], [1.0, 0.5], [1.0, 0.6, 0.3, 0.1]])
def test_the_unrolled_sampler_is_the_loop(times: list[float]) -> None:
    data = unrolled(denoiser(), None, times)
    np.testing.assert_allclose(run(data, inputs())["clean"], loop(inputs(), times), atol=1e-5)
    np.testing.assert_allclose(run(data, inputs(1))["clean"], loop(inputs(1), times), atol=1e-5)


def test_the_decoder_is_joined_behind_it() -> None:
    answer = run(unrolled(denoiser(), decoder(), [1.0, 0.5]), inputs())
    assert list(answer) == ["rgb"]
    np.testing.assert_allclose(answer["rgb"], np.maximum(10 * loop(inputs(), [1.0, 0.5]), 0), atol=1e-4)


def test_what_depends_on_the_identity_alone_is_computed_once() -> None:
    graph = onnx.load_model_from_string(unrolled(denoiser(), None, [1.0, 0.5, 0.25])).graph
    of_identity = [node for node in graph.node if "identity" in node.input]
    assert len(of_identity) == 1
    assert sum(node.op_type == "MatMul" for node in graph.node) == 2 + 3  # tokens once, latent in each step
    assert len({tensor.name for tensor in graph.initializer}) == len(graph.initializer)


@pytest.mark.parametrize("times", [[], [0.5], [1.0, 1.0], [1.0, 0.5, 0.7], [1.0, 0.0], [1.0, float("nan")]])
def test_times_that_are_no_schedule_are_refused(times: list[float]) -> None:
    with pytest.raises(ModelCorrupt, match="times must fall from 1"):
        unrolled(denoiser(), None, times)


def test_kept_tensors_of_an_identity_serve_every_later_call() -> None:
    parts = parted(denoiser(), ["identity"])
    values = inputs()
    kept = run(parts.first, {"identity": values["identity"]})
    assert tuple(kept) == parts.kept
    for t in (1.0, 0.3):
        time = np.full(3, t, np.float32)
        whole = run(denoiser(), {**values, "t": time})["clean"]
        again = run(parts.rest, {"x": values["x"], "t": time, **kept})["clean"]
        np.testing.assert_allclose(again, whole, atol=1e-6)
    assert len(onnx.load_model_from_string(parts.rest).graph.node) < len(
        onnx.load_model_from_string(denoiser()).graph.node
    )


def test_a_network_with_nothing_to_keep_is_refused() -> None:
    with pytest.raises(ModelCorrupt, match="nothing"):
        parted(decoder(), [])

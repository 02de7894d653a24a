"""Where a network's time goes on the processor, by kind of layer, as the library itself counts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from veilcast.trt_engines.canary import noise
from veilcast.trt_engines.engine import Model, Settings
from veilcast.trt_engines.openvino_engine import compile_network, properties, specs
from veilcast.trt_engines.runtime import ov

RUNS = 8
# the library's kinds of layers -> what a person calls them; the rest is "other"
KINDS = {
    "Convolution": "convolutions",
    "Deconvolution": "convolutions",
    "FullyConnected": "matrix products",
    "MatMul": "matrix products",
    "ScaledDotProductAttention": "matrix products",
    "MVN": "normalisation",
    "Softmax": "softmax",
    "Subgraph": "fused arithmetic",
    "Eltwise": "fused arithmetic",
    "Reorder": "changes of layout",
    "Transpose": "changes of layout",
    "Concatenation": "changes of layout",
    "Convert": "changes of layout",
}


def account(
    data: bytes, shapes: Mapping[str, Sequence[int]], precision: str, threads: int
) -> dict[str, float]:
    """Milliseconds of one run by kind of layer, largest first. Threads work on a layer together."""
    core, settings = ov.Core(), Settings(threads=threads, shapes=shapes)
    config = {**properties(settings, precision, snippets=precision == "bf16"), "PERF_COUNT": True}
    compiled, names = compile_network(core, Model(data, ".onnx"), settings, config)
    taken, _ = specs(compiled, names, settings)
    request, given = compiled.create_infer_request(), noise(taken)
    best: dict[str, tuple[str, float]] = {}  # by layer: other processes can only make it longer
    for _ in range(RUNS):
        request.infer(given)
        for layer in request.get_profiling_info():
            ms = layer.real_time.total_seconds() * 1e3
            _, before = best.get(layer.node_name, ("", ms))
            best[layer.node_name] = KINDS.get(layer.node_type, "other"), min(ms, before)
    spent: dict[str, float] = {}
    for kind, ms in best.values():
        spent[kind] = spent.get(kind, 0.0) + ms
    return dict(sorted(spent.items(), key=lambda item: -item[1]))

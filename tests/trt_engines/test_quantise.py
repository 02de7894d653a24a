"""Eight bits: what is lost is measured, and what cannot be quantised says why."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from tests.trt_engines.networks import conv_network, conv_reference, pictures, weights
from tests.trt_engines.shipped import inputs, onnx_bytes

from veilcast.errors import EngineError, ModelCorrupt
from veilcast.trt_engines.canary import F32_PLAIN, ORT, Rung, error
from veilcast.trt_engines.engine import Model, Settings
from veilcast.trt_engines.quantise import Eight, quantised, quantised_kind, read_cases

pytest.importorskip("nncf", reason="nncf is an optional install")

CALIBRATION = [{"picture": pictures(1, seed)} for seed in range(16)]


def answered(data: bytes, count: int = 5) -> dict[str, np.ndarray]:
    with F32_PLAIN.open(Model(data, ".onnx"), Settings()) as engine:
        return engine.run({"picture": pictures(count, seed=99)})


def test_an_int8_network_gives_the_numbers_within_its_steps() -> None:
    data = quantised(conv_network(), CALIBRATION)
    kinds = {node.op_type for node in onnx.load_model_from_string(data).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    right = conv_reference(pictures(5, seed=99))
    assert 1e-4 < error(answered(data), right) < 0.05  # eight bits were used, and they suffice here


def test_calibration_on_what_is_never_seen_costs_more() -> None:
    """The mutant: ranges that were set on inputs a tenth as large clip the rest away."""
    small = [{"picture": sample["picture"] / 10} for sample in CALIBRATION]
    right = conv_reference(pictures(5, seed=99))
    assert error(answered(quantised(conv_network(), small)), right) > 0.2


def test_layers_that_are_named_stay_as_they_are() -> None:
    data = quantised(conv_network(), CALIBRATION, ignored=[".*"])
    right = conv_reference(pictures(5, seed=99))
    assert error(answered(data), right) < 1e-4


def test_nothing_to_calibrate_with_and_no_network_are_told() -> None:
    with pytest.raises(EngineError, match="calibration inputs"):
        quantised(conv_network(), [])
    with pytest.raises(ModelCorrupt):
        quantised(b"no network", CALIBRATION)


@pytest.mark.parametrize("kind", ["int8", "fp8"])
@pytest.mark.parametrize("rung", [F32_PLAIN, ORT], ids=lambda rung: rung.name)
def test_eight_bits_give_the_same_numbers_on_every_backend(rung: Rung, kind: Eight) -> None:
    if rung is ORT:
        pytest.importorskip("onnxruntime", reason="ONNX Runtime is an optional install")
    data = quantised(conv_network(), CALIBRATION, kind=kind)
    assert quantised_kind(data) == kind
    right = {"map": conv_reference(pictures(5, seed=99))["map"]}
    with rung.open(Model(data, ".onnx"), Settings()) as engine:
        assert 1e-4 < error(engine.run({"picture": pictures(5, seed=99)}), right) < 0.05


def test_weights_of_fp8_are_rounded_once() -> None:
    """From the network's own weights, not from the integers that nncf made of them."""
    data = quantised(conv_network(), CALIBRATION, kind="fp8")
    held = {t.name: t for t in onnx.load_model_from_string(data).graph.initializer}
    stored = next(name for name in held if name.endswith("weight"))
    step = onnx.numpy_helper.to_array(held[stored.replace("weight", "step")]).astype(np.float32)
    kernel = weights()[0]
    wanted = (kernel / step.reshape(-1, 1, 1, 1)).astype(ml_dtypes.float8_e4m3fn)
    assert held[stored].raw_data == wanted.tobytes()


def test_shipped_weights_behind_a_cast_are_quantised() -> None:
    """They are stored in half precision: nncf alone stumbles over the casts."""
    data = quantised(onnx_bytes("decoder"), [inputs("decoder", 1, seed) for seed in range(3)])
    assert quantised_kind(data) == "int8"
    assert quantised_kind(onnx_bytes("decoder")) is None


def test_cases_come_from_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "cases.npz", x=np.zeros((3, 2)), t=np.arange(3.0))
    cases = read_cases(tmp_path / "cases.npz")
    assert [case["t"].tolist() for case in cases] == [[0.0], [1.0], [2.0]]
    assert cases[0]["x"].shape == (1, 2)
    np.savez(tmp_path / "uneven.npz", x=np.zeros((3, 2)), t=np.zeros(2))
    (tmp_path / "text.npz").write_text("no arrays")
    for name in ("uneven", "text", "missing"):
        with pytest.raises(EngineError):
            read_cases(tmp_path / f"{name}.npz")


def test_eight_bits_build_where_there_are_tensor_cores_for_them() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is an optional install")
    from veilcast.trt_engines.build import profile
    from veilcast.trt_engines.rtx_build import UnsupportedNetwork, UnsupportedTarget, build

    shapes = profile(conv_network(), (1, 8, 16))
    int8, fp8 = (quantised(conv_network(), CALIBRATION, kind=kind) for kind in ("int8", "fp8"))
    assert len(build(int8, shapes, "int8", (80, 86, 89, 120))) > 1000
    assert len(build(fp8, shapes, "fp8", (89, 120))) > 1000
    with pytest.raises(UnsupportedTarget, match="no int8"):
        build(int8, shapes, "int8", (75,))
    with pytest.raises(UnsupportedTarget, match="no fp8"):
        build(fp8, shapes, "fp8", (80, 89))
    with pytest.raises(UnsupportedNetwork, match="not quantised to int8"):
        build(conv_network(), shapes, "int8", (89,))
    with pytest.raises(UnsupportedNetwork, match="quantised to fp8: build it as that"):
        build(fp8, shapes, "fp16", (89,))

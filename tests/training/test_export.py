"""ONNX of the product: small, right, and what training can start from again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tests.training import toy
from torch import nn

from veilcast.diffusion.autoencoder import Normaliser
from veilcast.pipeline.generator_model import listed, read_manifest
from veilcast.training import export, networks
from veilcast.training.open import constants
from veilcast.training.settings import Settings
from veilcast.training.settings import load as load_settings
from veilcast.trt_engines.engine import load

ort = pytest.importorskip("onnxruntime")
NAMES = ("unet", "decoder", "closeup", "identity", "expression", "reader")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    path = tmp_path_factory.mktemp("tiny") / "tiny.toml"
    path.write_text(toy.TINY)
    return load_settings(path)


@dataclass
class Exported:
    weights: Path
    nets: dict[str, nn.Module]
    graphs: dict[str, bytes]


@pytest.fixture(scope="module")
def exported(tiny: Settings, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Networks with random weights, branches that begin as nothing included, and their graphs."""
    torch.manual_seed(0)
    folder, nets = tmp_path_factory.mktemp("weights"), {}
    for name in NAMES:
        net = networks.build(name, tiny)
        for parameter in net.parameters():
            nn.init.normal_(parameter, std=0.05)
        networks.save(net, folder, name)
        nets[name] = net.eval()
    return Exported(folder, nets, export.graphs(tiny, folder))


def run(model: bytes, inputs: dict[str, np.ndarray]) -> np.ndarray:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, inputs)[0]
    return result


def inputs_of(model: bytes, count: int) -> dict[str, np.ndarray]:
    """Random inputs: noise between 0 and 1 is right for all of them."""
    rng = np.random.default_rng(0)
    graph = onnx.load_model_from_string(model).graph
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim][1:] for i in graph.input}
    return {name: rng.random((count, *shape), np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 3])
def test_an_exported_network_gives_what_torch_gives(exported: Exported, name: str, count: int) -> None:
    model = exported.graphs[{"reader": "coarse.onnx"}.get(name, f"{name}.onnx")]
    inputs = inputs_of(model, count)
    with torch.no_grad():
        wanted = export._part(exported.nets[name])(*(torch.from_numpy(v) for v in inputs.values())).numpy()
    found = run(model, inputs)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 4e-3 * max(1.0, float(np.abs(wanted).max()))


def test_large_weights_are_stored_in_half_precision(exported: Exported) -> None:
    graph = onnx.load_model_from_string(exported.graphs["decoder.onnx"]).graph
    large = [t for t in graph.initializer if np.prod(t.dims) >= export.SMALL]
    assert large
    assert {t.data_type for t in large} == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize("name", ["unet", "decoder", "expression"])
def test_training_starts_again_from_an_export(tiny: Settings, exported: Exported, name: str) -> None:
    again = networks.build(name, tiny)
    export.read_back(exported.graphs[f"{name}.onnx"], again)
    found = again.state_dict()
    for key, wanted in exported.nets[name].state_dict().items():
        if key != "identity.null":
            torch.testing.assert_close(found[key], wanted, atol=2e-4, rtol=1e-3)


def test_a_model_folder_is_one_that_the_pipeline_accepts(
    tiny: Settings, exported: Exported, tmp_path: Path
) -> None:
    toy.cache(tmp_path / "cache")
    about = export.About("toy", "for tests", truncation=0.7)
    export.write_model(tmp_path / "model", tiny, exported.weights, constants(tmp_path / "cache"), about)
    manifest = read_manifest(tmp_path / "model")
    assert (manifest.times, manifest.truncation) == ((1.0,), 0.7)
    assert json.loads((tmp_path / "model" / "manifest.json").read_text())["licence"] == "for tests"


def test_a_model_folder_has_the_scales_that_its_networks_are_run_in_eight_bits_by(
    tiny: Settings, exported: Exported, tmp_path: Path
) -> None:
    pytest.importorskip("nncf", reason="nncf is an optional install")
    from veilcast.training.eight_bits import measured

    toy.cache(tmp_path / "cache")
    folder, about = tmp_path / "model", export.About("toy", "for tests")
    folder.mkdir()
    (folder / "unet.scales.npz").write_bytes(b"of other weights")
    given = tiny, exported.weights, constants(tmp_path / "cache"), about
    export.write_model(folder, *given)
    assert not [name for name in read_manifest(folder).files if "scales" in name]

    export.write_model(folder, *given, measured(tmp_path / "cache", tiny, exported.weights))
    files = listed(folder, read_manifest(folder))
    # random weights and inputs that are no latents: by the close-up head's depth nothing is close any more
    for name, most in (("unet.onnx", 0.2), ("decoder.onnx", 0.3), ("closeup.onnx", 1.0)):
        plain, eight = load(files[name]).plain.data, load(files[name]).data
        inputs = inputs_of(plain, 2)
        wanted, found = run(plain, inputs), run(eight, inputs)
        assert 1e-6 < np.linalg.norm(found - wanted) / np.linalg.norm(wanted) < most
    assert files["coarse.onnx"].scales is None


def test_the_normaliser_gives_unit_variance() -> None:
    torch.manual_seed(0)
    latents = 3 + 5 * torch.randn(64, 32, 4, 4)
    net = Normaliser()
    net.fit(latents)
    assert net(latents).mean().abs() < 0.01
    assert (net(latents).std() - 1).abs() < 0.01


def test_training_goes_on_from_a_model_folder(tiny: Settings, exported: Exported, tmp_path: Path) -> None:
    toy.cache(tmp_path / "cache")
    normaliser = Normaliser()
    normaliser.fit(3 + 5 * torch.randn(64, 32, 4, 4))
    networks.save(normaliser, exported.weights, "normaliser")
    about = export.About("toy", "for tests")
    export.write_model(tmp_path / "model", tiny, exported.weights, constants(tmp_path / "cache"), about)
    assert set(export.adopt(tmp_path / "model", tiny, tmp_path / "again")) == set(NAMES)
    again = export.graphs(tiny, tmp_path / "again")
    for name, model in exported.graphs.items():
        inputs = inputs_of(model, 2)
        np.testing.assert_allclose(run(again[name], inputs), run(model, inputs), atol=2e-3, rtol=1e-2)
    found = networks.load("normaliser", tiny, tmp_path / "again").state_dict()
    for key, value in normaliser.state_dict().items():
        torch.testing.assert_close(found[key], value)


def test_a_denoiser_can_become_the_mean_of_where_it_began_and_where_it_is(
    tiny: Settings, exported: Exported, tmp_path: Path
) -> None:
    toy.cache(tmp_path / "cache")
    made = export.About("toy", "for tests")
    networks.save(Normaliser(), exported.weights, "normaliser")
    export.write_model(tmp_path / "began", tiny, exported.weights, constants(tmp_path / "cache"), made)
    began, now = exported.nets["unet"].state_dict(), networks.build("unet", tiny)
    now.load_state_dict({name: value + 2 for name, value in began.items()})
    networks.save(now, tmp_path / "weights", "unet")
    export.average(tmp_path / "began", tiny, tmp_path / "weights", share=0.25)
    mean = networks.load("unet", tiny, tmp_path / "weights").state_dict()
    for name, value in began.items():
        learned_alone = name.endswith(".null")  # no model folder holds it
        torch.testing.assert_close(mean[name], value + (2 if learned_alone else 1.5), atol=2e-3, rtol=1e-3)


def test_a_command_can_be_told_louder(tiny: Settings, exported: Exported, tmp_path: Path) -> None:
    toy.cache(tmp_path / "cache")
    networks.save(Normaliser(), exported.weights, "normaliser")
    made = export.About("toy", "for tests")
    export.write_model(tmp_path / "model", tiny, exported.weights, constants(tmp_path / "cache"), made)
    networks.save(exported.nets["unet"], tmp_path / "weights", "unet")
    export.average(tmp_path / "model", tiny, tmp_path / "weights", share=0, louder=1.5)
    nets = networks.load("unet", tiny, tmp_path / "weights"), exported.nets["unet"]
    loud, plain = (net.get_submodule("identity") for net in nets)
    who = torch.randn(2, 128)
    with torch.no_grad():
        torch.testing.assert_close(loud(who), plain(1.5 * who), atol=1e-3, rtol=1e-3)

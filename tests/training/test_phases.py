"""What a run decides by itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from tests.training import toy
from torch import Tensor, nn

from veilcast.diffusion.weights import read_tensors
from veilcast.training import networks, phases
from veilcast.training.phases import precision, wants_latents
from veilcast.training.settings import Run, Settings, Weights, load
from veilcast.training.tools import Tools


@pytest.fixture
def tools(tmp_path: Path) -> Any:
    """Only what a phase of one small network needs."""
    weights = tmp_path / "weights"
    return SimpleNamespace(settings=Settings(), weights=weights, device=torch.device("cpu"))


class Small:
    """A phase whose network is one number, which stays what it was."""

    critic = None

    def __init__(self, name: str, part: str, value: float) -> None:
        net = nn.Linear(1, 1, bias=False)
        nn.init.constant_(net.weight, value)
        self.name, self.part, self.trained = name, part, nn.ModuleDict({part: net})

    def losses(self, generator: torch.Generator, size: int, step: int) -> dict[str, Tensor]:
        return {"none": cast(Tensor, self.trained[self.part].weight).sum() * 0}

    def sheet(self, averaged: nn.ModuleDict) -> Any:
        return torch.zeros(8, 8, 3, dtype=torch.uint8).numpy()

    def measure(self, averaged: nn.ModuleDict) -> dict[str, float]:
        return {}


def test_denoiser_and_few_step_network_are_kept_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tools: Any
) -> None:
    def left(name: str, part: str, value: float) -> dict[str, float]:
        monkeypatch.setitem(phases.PHASES, name, lambda tools: Small(name, part, value))
        folder = tmp_path / f"{name}{value}"
        phases.run_phase(name, tools, folder, Run(steps=1, rate=0.0), lambda line: None)
        files = sorted(tools.weights.glob("*.safetensors"))
        return {file.stem: float(read_tensors(file)["weight"][0][0]) for file in files}

    assert left("diffusion", "denoiser", 1) == {"denoiser": 1}
    assert left("distill", "unet", 2) == {"denoiser": 1, "unet": 2}
    assert left("diffusion", "denoiser", 3) == {"denoiser": 3, "unet": 2}


@pytest.mark.parametrize(
    ("ready", "begins"),
    [(["denoiser"], "denoiser"), (["denoiser", "unet"], "unet"), (["unet"], "unet"), ([], None)],
)
def test_the_few_step_network_begins_as_it_was_or_else_as_the_denoiser(
    tmp_path: Path, ready: list[str], begins: str | None
) -> None:
    (tmp_path / "tiny.toml").write_text(toy.TINY)
    settings = load(tmp_path / "tiny.toml")
    weights = tmp_path / "weights"
    saved = {name: networks.build(name, settings) for name in ready}
    for name, net in saved.items():
        networks.save(net, weights, name)
    bench = cast(Any, SimpleNamespace(settings=settings, weights=weights, device=torch.device("cpu")))
    found = Tools.new(bench, "unet", "denoiser").state_dict()
    stems = {name: net.state_dict()["stem.weight"] for name, net in saved.items()}
    same = {name: torch.equal(stem, found["stem.weight"]) for name, stem in stems.items()}
    assert same == {name: name == begins for name in ready}


@pytest.mark.parametrize(("own", "wanted"), [(1.0, True), (0.0, False)])
def test_few_steps_that_match_a_density_need_no_latents_of_pictures(own: float, wanted: bool) -> None:
    settings = Settings(weights=Weights(own=own))
    assert wants_latents("distill", settings) is wanted
    assert wants_latents("diffusion", settings)
    assert not wants_latents("polish", settings)


@pytest.mark.parametrize(
    ("able", "chosen"),
    [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx2": True}, "float32")],
)
def test_bf16_is_used_where_the_processor_computes_it(
    monkeypatch: pytest.MonkeyPatch, able: dict[str, bool], chosen: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert precision("auto", torch.device("cpu")) == chosen
    assert precision("auto", torch.device("cuda")) == "bf16"
    assert precision("bf16", torch.device("cpu")) == "bf16"

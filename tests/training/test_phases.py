"""What a run decides by itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from veilcast.diffusion.weights import read_tensors
from veilcast.training import phases
from veilcast.training.phases import precision
from veilcast.training.settings import Run, Settings


class Counting:
    """A phase whose one network begins where the last phase left it and gains about 1."""

    critic = None

    def __init__(self, tools: Any) -> None:
        net = nn.Linear(1, 1, bias=False)
        last = tools.weights / "unet.safetensors"
        before = read_tensors(last)["weight"] if last.exists() else [[0.0]]
        nn.init.constant_(net.weight, float(before[0][0]) + 1)
        self.trained = nn.ModuleDict({"unet": net})

    def losses(self, generator: torch.Generator, size: int, step: int) -> dict[str, Tensor]:
        return {"none": cast(Tensor, self.trained["unet"].weight).sum() * 0}

    def sheet(self, averaged: nn.ModuleDict) -> Any:
        return torch.zeros(8, 8, 3, dtype=torch.uint8).numpy()

    def measure(self, averaged: nn.ModuleDict) -> dict[str, float]:
        return {}


class CountingDenoiser(Counting):
    name = "diffusion"


class CountingFewSteps(Counting):
    name = "distill"


def test_the_few_step_phase_learns_from_the_denoiser_trained_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(phases.PHASES, "diffusion", CountingDenoiser)
    monkeypatch.setitem(phases.PHASES, "distill", CountingFewSteps)
    weights = tmp_path / "weights"
    tools = cast(Any, SimpleNamespace(settings=Settings(), weights=weights, device=torch.device("cpu")))

    def left(name: str, run: str) -> list[int]:
        phases.run_phase(name, tools, tmp_path / run, Run(steps=1, rate=0.0), lambda line: None)
        return [
            round(float(read_tensors(weights / f"{net}.safetensors")["weight"][0][0]))
            for net in ("unet", "denoiser")
        ]

    assert left("diffusion", "a") == [1, 1]
    assert left("distill", "a") == [2, 1]
    assert left("diffusion", "b") == [3, 3]


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

"""The loop: resumable to the bit, paced, and averaging."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from veilcast.training import loop
from veilcast.training.checkpoint import FILE
from veilcast.training.loop import Trainer, pace, train
from veilcast.training.settings import Run

SETTINGS = Run(steps=12, batch=4, rate=1e-2, warmup=2, sheet_every=5, ema=0.9)


class Line:
    """A phase with an adversary, as small as one can be."""

    name = "line"

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.trained = nn.ModuleDict({"net": nn.Linear(3, 3)})
        self.critic: nn.Module | None = nn.Linear(3, 1)

    def losses(self, generator: torch.Generator, size: int, step: int) -> dict[str, torch.Tensor]:
        x = torch.randn(size, 3, generator=generator)
        self._made = self.trained["net"](x) + 0.1 * torch.randn(size, 3)
        assert self.critic is not None
        return {"square": (self._made - x).pow(2).mean(), "fool": -self.critic(self._made).mean()}

    def critic_loss(self) -> torch.Tensor:
        assert self.critic is not None
        score: torch.Tensor = self.critic(self._made.detach())
        return score.pow(2).mean()

    def sheet(self, averaged: nn.ModuleDict) -> np.ndarray | None:
        return None

    def measure(self, averaged: nn.ModuleDict) -> dict[str, float]:
        return {}


def run(folder: Path, steps: int) -> Trainer:
    trainer = Trainer(Line(), replace(SETTINGS, steps=12), 7, folder, "float32")
    trainer.run = replace(SETTINGS, steps=steps, decay=0.0)
    train(trainer, lambda line: None, lambda title, picture: None)
    return trainer


def test_a_run_stopped_and_resumed_gives_the_bits_of_an_unbroken_one(tmp_path: Path) -> None:
    run(tmp_path / "whole", 12)
    for steps in (5, 7, 12):
        run(tmp_path / "broken", steps)
    whole, broken = ((tmp_path / name / FILE).read_bytes() for name in ("whole", "broken"))
    assert _without_clock(whole) == _without_clock(broken)


class Picture(Line):
    """With weights in the memory format of pictures."""

    def __init__(self) -> None:
        super().__init__()
        layers = nn.Sequential(*(nn.Conv2d(3 + n, 4 + n, 3, padding=1) for n in range(6)))
        self.trained = nn.ModuleDict({"net": layers.to(memory_format=torch.channels_last)})  # type: ignore[call-overload]
        self.critic = None

    def losses(self, generator: torch.Generator, size: int, step: int) -> dict[str, torch.Tensor]:
        return {"square": self.trained["net"](torch.randn(size, 3, 8, 8, generator=generator)).pow(2).mean()}


def test_a_fused_optimiser_goes_on_with_weights_in_the_format_of_pictures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fused(net: nn.Module, rate: float, betas: tuple[float, float] = (0.9, 0.99)) -> torch.optim.Optimizer:
        return torch.optim.AdamW(net.parameters(), rate, betas, fused=True)

    monkeypatch.setattr(loop, "_adam", fused)
    for steps in (2, 4):
        trainer = Trainer(Picture(), replace(SETTINGS, steps=steps), 7, tmp_path, "float32")
        train(trainer, lambda line: None, lambda title, picture: None)
        states = trainer.optimiser.state.values()
        kept = [state["exp_avg"] for state in states if state["exp_avg"].dim() == 4]
        assert all(moments.is_contiguous(memory_format=torch.channels_last) for moments in kept)
    assert trainer.step == 4


def _without_clock(data: bytes) -> bytes:
    """The checkpoint's tensors; the header tells the minutes."""
    return data[8 + int.from_bytes(data[:8], "little") :]


def test_a_bad_sample_does_not_end_a_run(tmp_path: Path) -> None:
    class Bad(Line):
        def losses(self, generator: torch.Generator, size: int, step: int) -> dict[str, torch.Tensor]:
            terms = super().losses(generator, size, step)
            return {**terms, "bad": terms["square"] * float("nan")} if step == 3 else terms

    trainer = Trainer(Bad(), SETTINGS, 7, tmp_path, "float32")
    train(trainer, lambda line: None, lambda title, picture: None)
    assert all(bool(p.isfinite().all()) for p in trainer.phase.trained.parameters())


def test_the_average_lags_behind_the_weights(tmp_path: Path) -> None:
    trainer = run(tmp_path, 12)
    now = trainer.phase.trained.state_dict()["net.weight"]
    start = Line().trained.state_dict()["net.weight"]
    assert (trainer.average["net.weight"] - start).norm() < (now - start).norm()


@pytest.mark.parametrize(
    ("step", "progress", "share"),
    [(0, 0.0, 0.5), (1, 0.0, 1.0), (50, 0.6, 1.0), (50, 0.85, 0.5), (99, 1.0, 0.01)],
)
def test_the_rate_rises_holds_and_falls(step: int, progress: float, share: float) -> None:
    assert pace(replace(SETTINGS, decay=0.3), step, progress) == pytest.approx(share)

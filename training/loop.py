"""One loop for every phase: draw, step, average, checkpoint, show.

Each step seeds torch from (seed, phase, step), so that a run stopped at a checkpoint and resumed gives
the bits of an unbroken one; a run limited by minutes is as long as the clock says.
"""

from __future__ import annotations

import json
import time
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch

from veilcast.training.checkpoint import restore, store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from torch import Tensor, nn

    from veilcast.training.settings import Run


class Phase(Protocol):
    """What one phase teaches. `critic` is None where there is no adversary."""

    name: str
    trained: nn.ModuleDict
    critic: nn.Module | None

    def losses(self, generator: torch.Generator, size: int, step: int) -> dict[str, Tensor]:
        """Weighted terms of a fresh batch; their sum is minimised. None where the adversary alone learns."""

    def critic_loss(self) -> Tensor:
        """Of the batch that `losses` saw last."""

    def sheet(self, averaged: nn.ModuleDict) -> np.ndarray | None:
        """Fixed validation faces by the averaged networks, (h, w, 3) uint8."""

    def measure(self, averaged: nn.ModuleDict) -> dict[str, float]:
        """Figures on held-out people."""


@dataclass
class Trainer:
    """State of one phase's training, all of it in a checkpoint."""

    phase: Phase
    run: Run
    seed: int
    folder: Path
    precision: str
    step: int = 0
    optimiser: torch.optim.Optimizer = field(init=False)
    rival: torch.optim.Optimizer | None = field(init=False, default=None)
    average: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.optimiser = _adam(self.phase.trained, self.run.rate)
        if self.phase.critic is not None:
            self.rival = _adam(self.phase.critic, 2 * self.run.rate, betas=(0.0, 0.99))
        self.average = {k: v.detach().clone() for k, v in self.phase.trained.state_dict().items()}

    @property
    def device(self) -> torch.device:
        return next(self.phase.trained.parameters()).device

    def advance(self, progress: float) -> dict[str, Tensor]:
        """One step. `progress`: share of the run that is done, for the rate."""
        generator = seeded(self.seed, self.phase.name, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = self.run.rate * pace(self.run, self.step, progress)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            terms = self.phase.losses(generator, self.run.batch, self.step)
        if terms:
            self._descend(self.optimiser, self.phase.trained, torch.stack(list(terms.values())).sum())
        if self.rival is not None and self.phase.critic is not None:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                loss = self.phase.critic_loss()
            self._descend(self.rival, self.phase.critic, loss)
            terms = {**terms, "critic": loss}
        self._average()
        self.step += 1
        return terms

    def _descend(self, optimiser: torch.optim.Optimizer, net: nn.Module, loss: Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter in net.parameters():
            if parameter.grad is not None:
                # one bad sample must not end a run; asking the device whether it was bad would stall it
                parameter.grad.nan_to_num_(0.0, 0.0, 0.0)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()

    def _average(self) -> None:
        keep = min(self.run.ema, (1 + self.step) / (10 + self.step))
        now = self.phase.trained.state_dict()
        floats = [k for k, v in self.average.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.average[k] for k in floats], [now[k] for k in floats], 1 - keep)

    def averaged(self) -> nn.ModuleDict:
        """The phase's networks with averaged weights swapped in; call `back` with what this returns."""
        self._now = {k: v.detach().clone() for k, v in self.phase.trained.state_dict().items()}
        self.phase.trained.load_state_dict(self.average)
        return self.phase.trained.eval()

    def back(self) -> None:
        self.phase.trained.load_state_dict(self._now)
        self.phase.trained.train()


def _adam(net: nn.Module, rate: float, betas: tuple[float, float] = (0.9, 0.99)) -> torch.optim.Optimizer:
    fused = next(net.parameters()).device.type == "cuda"
    return torch.optim.AdamW(net.parameters(), rate, betas, weight_decay=0.01, foreach=not fused, fused=fused)


def seeded(seed: int, phase: str, step: int) -> torch.Generator:
    """A CPU generator for this step; the global ones are set as well (dropout, noise on the device)."""
    number = zlib.crc32(f"{seed} {phase} {step}".encode())
    torch.manual_seed(number)
    return torch.Generator().manual_seed(number)


def pace(run: Run, step: int, progress: float) -> float:
    """Share of the full rate: warm-up, flat, then a line down to nothing over the last `decay`."""
    rising = min(1.0, (step + 1) / max(run.warmup, 1))
    falling = min(1.0, (1 - progress) / run.decay) if run.decay > 0 else 1.0
    return rising * max(falling, 0.01)


def train(trainer: Trainer, say: Callable[[str], None], show: Callable[[str, np.ndarray], None]) -> None:
    """Train from the last checkpoint to the end of the run."""
    run, phase, started = trainer.run, trainer.phase, time.monotonic()
    spent = restore(trainer)
    log = (trainer.folder / "log.jsonl").open("a")
    marked, mark = trainer.step, time.monotonic()

    def minutes() -> float:
        return spent + (time.monotonic() - started) / 60

    while trainer.step < run.steps and minutes() < run.minutes:
        progress = max(trainer.step / run.steps, minutes() / run.minutes)
        terms = trainer.advance(min(progress, 1.0))
        if trainer.step % 50 == 0 or trainer.step == run.steps:
            now = time.monotonic()
            speed = (trainer.step - marked) * run.batch / (now - mark)
            marked, mark = trainer.step, now
            entry = {"phase": phase.name, "step": trainer.step, "minutes": round(minutes(), 3)}
            entry |= {"samples_per_s": round(speed, 1)} | {k: round(v.item(), 4) for k, v in terms.items()}
            log.write(json.dumps(entry) + "\n")
            log.flush()
            if trainer.step % 250 == 0:
                say(json.dumps(entry))
        if trainer.step % run.sheet_every == 0:
            store(trainer, minutes())
            report(trainer, say, show)
            mark = time.monotonic()
    store(trainer, minutes())
    report(trainer, say, show)
    log.close()


def report(trainer: Trainer, say: Callable[[str], None], show: Callable[[str, np.ndarray], None]) -> None:
    """Contact sheet and held-out figures of the averaged networks."""
    seeded(trainer.seed, "report", 0)
    with (
        torch.no_grad(),
        torch.autocast(trainer.device.type, torch.bfloat16, enabled=trainer.precision == "bf16"),
    ):
        networks = trainer.averaged()
        picture = trainer.phase.sheet(networks)
        figures = trainer.phase.measure(networks)
        trainer.back()
    if picture is not None:
        show(f"{trainer.phase.name}-{trainer.step:07d}", picture)
    if figures:
        say(json.dumps({"phase": trainer.phase.name, "step": trainer.step, "held_out": figures}))

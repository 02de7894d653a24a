"""The phases in their order, and one run of one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from veilcast.training import networks, sheet
from veilcast.training.autoencoder import AutoencoderPhase, CloseUpPhase
from veilcast.training.diffusion import DiffusionPhase
from veilcast.training.distill import DistillPhase
from veilcast.training.identity import IdentityPhase
from veilcast.training.loop import Phase, Trainer, seeded, train
from veilcast.training.polish import CloseUpPolishPhase, PolishPhase
from veilcast.training.reader import ExpressionPhase, ReaderPhase
from veilcast.training.tools import Tools

if TYPE_CHECKING:
    from pathlib import Path

    from veilcast.training.settings import Run, Settings

PHASES: dict[str, Callable[[Tools], Phase]] = {
    "autoencoder": AutoencoderPhase,
    "expression": ExpressionPhase,
    "reader": ReaderPhase,
    "identity": IdentityPhase,
    "diffusion": DiffusionPhase,
    "distill": DistillPhase,
    "closeup": CloseUpPhase,
    "polish": PolishPhase,
    "polish_closeup": CloseUpPolishPhase,
}


def wants_latents(name: str, settings: Settings) -> bool:
    """Whether a phase compares with the latents of pictures: the few-step one only where `own` does."""
    return name in {"autoencoder", "diffusion"} or (name == "distill" and settings.weights.own > 0)


def run_phase(name: str, tools: Tools, folder: Path, run: Run | None, say: Callable[[str], None]) -> None:
    """Train one phase to its end, from its last checkpoint in `folder` if there is one, and write the
    averaged weights of its networks where the next phases look for them."""
    seeded(tools.settings.seed, name, -1)
    phase = PHASES[name](tools)
    trainer = Trainer(
        phase,
        run or getattr(tools.settings, name),
        tools.settings.seed,
        folder / name,
        precision(tools.settings.precision, tools.device),
    )
    train(trainer, say, lambda title, picture: sheet.save(folder / "sheets" / f"{title}.png", picture))
    for part, net in trainer.averaged().items():
        if part in networks.NAMES:
            networks.save(net, tools.weights, part)


def precision(wanted: str, device: torch.device) -> str:
    """`auto`: bf16 where the device computes it, float32 where it would only imitate it."""
    if wanted != "auto":
        return wanted
    able = torch.cpu.get_capabilities()
    native = device.type == "cuda" or able.get("avx512_bf16") or able.get("amx_bf16")
    return "bf16" if native else "float32"


def limited(
    run: Run, *, minutes: float | None = None, steps: int | None = None, batch: int | None = None
) -> Run:
    """The same run with other limits."""
    changes = {"minutes": minutes, "steps": steps, "batch": batch}
    return replace(run, **{key: value for key, value in changes.items() if value is not None})  # type: ignore[arg-type]

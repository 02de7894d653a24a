"""Everything a resumed run needs, in one safetensors file: weights, averages, optimisers, step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from veilcast.diffusion.weights import read_metadata, read_tensors, write_tensors

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Tensor, nn

    from veilcast.training.loop import Trainer

FILE = "last.safetensors"


def store(trainer: Trainer, minutes: float) -> None:
    """Write the checkpoint; the one before it stays until this one is whole."""
    trainer.folder.mkdir(parents=True, exist_ok=True)
    tensors = _named("net", trainer.phase.trained.state_dict()) | _named("average", trainer.average)
    tensors |= _optimiser("adam", trainer.optimiser)
    if trainer.rival is not None and trainer.phase.critic is not None:
        tensors |= _named("critic", trainer.phase.critic.state_dict()) | _optimiser("rival", trainer.rival)
    metadata = {"step": str(trainer.step), "minutes": f"{minutes:.4f}", "phase": trainer.phase.name}
    write_tensors(trainer.folder / FILE, tensors, metadata)


def restore(trainer: Trainer) -> float:
    """Continue from the folder's checkpoint, if it has one; returns the minutes spent so far."""
    path: Path = trainer.folder / FILE
    trainer.folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        return 0.0
    tensors, metadata = read_tensors(path), read_metadata(path)
    _load(trainer.phase.trained, tensors, "net")
    for name, value in _part(tensors, "average").items():
        trainer.average[name] = value.to(trainer.device)
    _load_optimiser(trainer.optimiser, tensors, "adam")
    if trainer.rival is not None and trainer.phase.critic is not None:
        _load(trainer.phase.critic, tensors, "critic")
        _load_optimiser(trainer.rival, tensors, "rival")
    trainer.step = int(metadata["step"])
    return float(metadata["minutes"])


def _named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {f"{prefix}/{name}": value.detach().cpu().contiguous().numpy() for name, value in tensors.items()}


def _part(tensors: dict[str, np.ndarray], prefix: str) -> dict[str, Tensor]:
    start = len(prefix) + 1
    return {k[start:]: torch.from_numpy(v) for k, v in tensors.items() if k.startswith(prefix + "/")}


def _load(net: nn.Module, tensors: dict[str, np.ndarray], prefix: str) -> None:
    net.load_state_dict(_part(tensors, prefix))


def _optimiser(prefix: str, optimiser: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    state = optimiser.state_dict()["state"]
    return _named(prefix, {f"{i}/{key}": value for i, entry in state.items() for key, value in entry.items()})


def _load_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, np.ndarray], prefix: str) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(tensors, prefix).items():
        number, key = name.split("/")
        state.setdefault(int(number), {})[key] = value
    groups = optimiser.state_dict()["param_groups"]
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for index, entry in state.items():
        for key, value in entry.items():
            if value.shape == parameters[index].shape:
                # in the parameter's memory format, which a fused optimiser insists on
                entry[key] = torch.empty_like(parameters[index], device="cpu").copy_(value)
    optimiser.load_state_dict({"state": state, "param_groups": groups})

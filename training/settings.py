"""Settings of a training run: frozen, from TOML, unknown keys refused. Standard library alone, because a
training run elsewhere has nothing else."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from veilcast.errors import ConfigError


@dataclass(frozen=True)
class Run:
    """One phase's length and pace. It ends after `steps` or `minutes`, whichever comes first."""

    steps: int = 100_000
    minutes: float = 1e9
    batch: int = 32
    rate: float = 3e-4
    warmup: int = 200  # steps
    decay: float = 0.3  # last share of the run, over which the rate falls to nothing
    ema: float = 0.999
    sheet_every: int = 1000  # steps between checkpoints, each with a contact sheet


@dataclass(frozen=True)
class Sizes:
    """Widths of the networks; the defaults are the product's `small`."""

    side: int = 128  # of the patch, pixels
    unet: tuple[int, ...] = (128, 160, 224)
    depth: int = 2
    harmonized: tuple[int, ...] = (1, 2)
    tokens: int = 128
    heads: int = 4
    surroundings: int = 96
    decoder: tuple[int, ...] = (160, 80, 40)
    encoder: tuple[int, ...] = (48, 96, 160)
    reader: tuple[int, ...] = (32, 64, 128, 192)
    critic: int = 64


@dataclass(frozen=True)
class Parts:
    """What can be switched off, for ablations (method: which are the paper's and which ours)."""

    mask_identity: float = 0.15  # share of samples whose identity tokens are replaced by the learned null
    other_picture: float = 0.5  # share whose identity comes from another picture of the person
    gate: bool = True
    alignment: float = 0.1  # weight of the bidirectional latent alignment
    recomposition: float = 0.5  # weight of perceptual and identity losses on the predicted clean picture
    swap: float = 1.0  # weight of the losses on renderings of personas
    oim: bool = True  # personas orthogonal to the source in training, as at run time


@dataclass(frozen=True)
class Weights:
    """Of the losses of decoder and few-step phases."""

    pixels: float = 1.0
    lpips: float = 1.0
    adversarial: float = 0.1  # the decoders' adversary
    realness: float = 0.06  # the few-step phase's adversary
    polish: float = 0.2  # that of the decoders' last phase
    kept: float = 1.0  # there: personas stay the faces that they were (LPIPS)
    woven: float = 1.0  # there: detail that is locked to the grid of the network
    latents: float = 1.0  # 0: the encoder, which serves training alone, is left out
    identity: float = 0.2
    geometry: float = 0.15
    coarse: float = 0.15  # age, gender and skin of a persona, as our reader sees them
    copied: float = 0.5  # a persona's face that repeats its source's light and dark
    link: float = 0.1
    anchor: float = 1.0  # of the few-step phase: personas look as the denoiser draws them
    matching: float = 0.0  # of the few-step phase: all that it draws has the denoiser's density
    own: float = 1.0  # of the few-step phase: a person's own identity gives their picture


@dataclass(frozen=True)
class Settings:
    seed: int = 0
    precision: str = "auto"  # bf16 where the device has it; or bf16, float32
    inner: float = 2.0  # extra weight of what is under the mask
    window: int = 0  # latent cells a side of the windows that the decoder learns from; 0 = whole patches
    disturbed: float = 0.3  # of the latents that the close-up head learns from, standard deviations
    measured: int = 256  # held-out faces behind the figures of a checkpoint of the denoiser
    guidance: float = 3.0  # of the denoiser that the few-step phase learns from
    anchor_steps: int = 2  # of that denoiser
    lively: float = 0.0  # share of the generator's samples that have shut eyes, an open mouth or raised brows
    matching_guidance: float = 2.0  # of the denoiser whose density is matched
    matching_parallel: float = 1.0  # of that guidance, share along the prediction that is kept
    matching_after: int = 60  # steps in which the network that knows what is drawn learns alone
    matching_every: int = 1  # its steps for one of the few-step network (Yin et al. 2024, DMD2, section 4.2)
    looked_at: float = 1.0  # share of the few-step samples that are decoded; the others are matched alone
    truncation: float = (
        0.7  # share of the noise that run time begins from; no training of the generator has it
    )
    two_step: float = 0.5  # share of few-step samples that take the second of two steps
    sizes: Sizes = Sizes()
    parts: Parts = Parts()
    weights: Weights = Weights()
    reader: Run = Run(batch=64)
    autoencoder: Run = Run(batch=16)
    identity: Run = Run(batch=512, rate=1e-3, steps=6000)
    diffusion: Run = Run(batch=32)
    distill: Run = Run(batch=16, rate=1e-4)
    closeup: Run = Run(batch=8)
    polish: Run = Run(batch=16, rate=1e-4)
    polish_closeup: Run = Run(batch=8, rate=1e-4)
    expression: Run = Run(batch=256, rate=1e-3, steps=4000)
    shares: dict[str, float] = field(default_factory=dict)  # of the minutes of a run of all phases


T = TypeVar("T")


def load(path: Path, **changes: Any) -> Settings:
    """The settings in a TOML file. Raises ConfigError, with the key, for anything it does not know."""
    try:
        return replace(_section(Settings(), tomllib.loads(path.read_text()), ""), **changes)
    except OSError as error:
        raise ConfigError(f"cannot read the training settings {path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def _section(default: T, values: dict[str, Any], where: str) -> T:
    known = {f.name: getattr(default, f.name) for f in fields(default)}  # type: ignore[arg-type]
    changes = {}
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"no training setting called {where}{key}; known: {', '.join(known)}")
        changes[key] = _value(known[key], value, f"{where}{key}")
    return replace(default, **changes)  # type: ignore[type-var]


def _value(default: Any, value: Any, name: str) -> Any:
    if is_dataclass(default):
        return _section(default, value, f"{name}.")
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        raise ConfigError(f"training setting {name} must be {type(default).__name__}, got {value!r}")
    return value

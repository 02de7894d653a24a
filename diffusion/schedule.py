"""Noise levels of rectified flow: x_t = (1 - t) x + t noise, t from 1 (noise) to 0 (clean).

Liu et al. 2022 (Rectified Flow) equation 1; Esser et al. 2024 (SD3) section 3.1 for the training
density and equation 23 for the shift. Works on numpy arrays and torch tensors alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from veilcast.arrays import Float64

Array = TypeVar("Array", bound=Any)


def mix(clean: Array, noise: Array, t: Array) -> Array:
    """x_t; `t` broadcasts against both."""
    mixed: Array = (1 - t) * clean + t * noise
    return mixed


def times(steps: int, shift: float = 1.0) -> Float64[np.ndarray, " steps"]:
    """The t at which a sampler of `steps` asks the network, from exactly 1 downwards. `shift` > 1 spends
    more of the steps on high noise. Raises ValueError unless both are positive."""
    if steps < 1 or not shift > 0:
        raise ValueError(f"a schedule needs steps >= 1 and shift > 0, got {steps = }, {shift = }")
    even = 1 - np.arange(steps) / steps
    shifted: Float64[np.ndarray, " steps"] = shift * even / (1 + (shift - 1) * even)
    return shifted


def checked(values: object) -> Float64[np.ndarray, " steps"]:
    """A schedule from a file. It must start at 1, pure noise: from anything less the source's latent
    would show through (method: low-noise starts leak identity). Raises ValueError otherwise."""
    t = np.asarray(values, np.float64)
    if t.ndim != 1 or len(t) == 0 or t[0] != 1 or not (np.diff(t) < 0).all() or not t[-1] > 0:
        raise ValueError(f"sampling times must fall from 1 and stay above 0, got {values!r}")
    return t

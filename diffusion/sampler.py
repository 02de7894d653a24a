"""From noise to a latent, as functions of a callable: no network, engine or device is known here.

`denoise(x, t)` gives the clean latent that the model sees in `x` (n, c, h, w) at noise level t.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from veilcast.diffusion.schedule import mix

Array = TypeVar("Array", bound=Any)
Denoise = Callable[[Array, float], Array]


def euler(denoise: Denoise[Array], noise: Array, times: Sequence[float]) -> Array:
    """Straight steps along the flow (Liu et al. 2022, section 2.1): at each t the noise that explains x
    is kept and the clean part replaced, x' = clean + t'/t (x - clean). One step = one prediction."""
    x, clean = noise, noise
    for t, after in zip(times, (*times[1:], 0.0), strict=True):
        clean = denoise(x, float(t))
        x = clean + (x - clean) * (float(after) / float(t))
    return clean


def consistency(denoise: Denoise[Array], noises: Sequence[Array], times: Sequence[float]) -> Array:
    """Multistep consistency sampling (Song et al. 2023, algorithm 1): each prediction is noised anew with
    the next of `noises` (one for each time), so that errors do not add up."""
    clean = denoise(noises[0], float(times[0]))
    for noise, t in zip(noises[1:], times[1:], strict=True):
        clean = denoise(mix(clean, noise, float(t)), float(t))
    return clean

"""Preconditioning: what surrounds a raw network F so that D(x, t) predicts the clean latent at every t.

Karras et al. 2022 (EDM) equations 7, 118 and 119, carried over to rectified flow by hand (ours): for
x = (1 - t) h + t n with Var h = s^2, the best linear guess of h is c_skip x, and c_out is what is left
over, so that F sees and predicts unit variance. At t = 1 the guess is nothing and D = s F; at t = 0
D = x, the boundary condition of consistency models (Song et al. 2023, equation 5).
Arithmetic alone: `t` may be a float, a numpy array or a torch tensor.
"""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

Array = TypeVar("Array", bound=Any)


class Weights(NamedTuple, Generic[Array]):
    """D(x, t) = skip x + out F(scale x, t)."""

    skip: Array
    out: Array
    scale: Array


def weights(t: Array, data_std: float = 1.0) -> Weights[Array]:
    """`data_std`: standard deviation of the clean latents."""
    clean = 1 - t
    variance = (clean * data_std) ** 2 + t**2
    inverse = variance**-0.5
    return Weights(clean * data_std**2 / variance, t * data_std * inverse, inverse)

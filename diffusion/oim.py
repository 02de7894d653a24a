"""Orthogonal Identity Mapping: take the real people's directions out of a sampled identity.

ID²Face (arXiv 2510.24213) states the mapping; this form is a reconstruction. It works in the CENTRED
space: the recogniser's unit embeddings lie in a narrow cone (their mean has length .91), so two
strangers are far from orthogonal there, and what is orthogonal to a face there is no face. An identity
is therefore the unit vector of (embedding - people's mean).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from veilcast.arrays import Float

    Vector = Float[np.ndarray, " d"]

# Directions that one identity can be kept clear of: with more, what is left is no longer a person.
MAX_DIRECTIONS_SHARE = 0.25
_DEPENDENT = 1e-6  # a direction this close to the span of the others adds nothing


def centred(embedding: Float[np.ndarray, "*n d"], mean: Vector) -> Float[np.ndarray, "*n d"]:
    """Unit vectors of (e / |e| - mean): where people differ.

    Raises ValueError where one is not finite or has no direction.
    """
    return unit(unit(embedding) - mean)


def unit(vectors: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n d"]:
    """Raises ValueError where a vector is not finite or has no direction."""
    values = np.asarray(vectors, np.float64)
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    if not (np.isfinite(length).all() and (length > 1e-9).all()):
        raise ValueError("an identity must be finite and not zero")
    result: Float[np.ndarray, "*n d"] = values / length
    return result


def basis(directions: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "d r"]:
    """Orthonormal basis of the span of `directions`, most important first: when there are more than a
    quarter of the dimensions, the last ones are left out. r is 0 for no directions."""
    count, size = directions.shape
    kept = directions[: max(1, int(size * MAX_DIRECTIONS_SHARE))]
    if count == 0:
        return np.zeros((size, 0))
    q, r = np.linalg.qr(unit(kept).T)
    return np.asarray(q[:, np.abs(np.diag(r)) > _DEPENDENT])


def orthogonal(
    identities: Float[np.ndarray, "*n d"], columns: Float[np.ndarray, "d r"]
) -> Float[np.ndarray, "*n d"]:
    """`identities` without their part in the span of an orthonormal basis, unit norm again:
    norm(v - sum_k <v, b_k> b_k). Twice, because once loses orthogonality to rounding (Giraud et al. 2005).

    Raises ValueError where nothing is left.
    """
    rest = unit(identities)
    for _ in range(2):
        rest = rest - rest @ columns @ columns.T
    if (np.linalg.norm(rest, axis=-1) < _DEPENDENT).any():
        raise ValueError("nothing of this identity is left beside the people it must differ from")
    return unit(rest)

"""Attacks by someone who knows how the faces were made. Each calibrates its own threshold at FAR
1e-3 on pairs of different people, as an attacker would, and answers None where there are too few."""

from __future__ import annotations

import numpy as np

from veilcast.arrays import Float, Int
from veilcast.evaluation.reidentification import (
    Embeddings,
    accept_rate,
    impostor_scores,
    pair_scores,
    threshold_at_far,
    unit,
)

FAR = 1e-3
PARROT_PEOPLE = 20  # fewer teach a matcher nothing


def calibrated_tar(claims: Embeddings, originals: Embeddings, people: Int[np.ndarray, " n"]) -> float | None:
    """TAR of claims[i] against originals[i] at a threshold set on the pairs of different people."""
    impostors = impostor_scores(claims, originals, people)
    if len(impostors) * FAR < 1:
        return None
    return accept_rate(pair_scores(claims, originals), threshold_at_far(impostors, FAR))


def negation(outputs: Embeddings, originals: Embeddings, people: Int[np.ndarray, " n"]) -> float | None:
    """The new face may have been pushed away from the old one: match by its opposite, -f(x^), about the
    mean of the set, for recognisers' spaces are narrow cones."""
    centre = unit(originals).mean(0)
    return calibrated_tar(centre - unit(outputs), unit(originals) - centre, people)


def ridge(x: Embeddings, y: Embeddings, strength: float) -> Float[np.ndarray, "d e"]:
    """Linear least squares with a quadratic penalty (Hoerl and Kennard 1970): (X'X + kI)^-1 X'Y, with
    k = strength * mean eigenvalue of X'X."""
    gram = x.T @ x
    penalty = strength * np.trace(gram) / len(gram)
    return np.linalg.solve(gram + penalty * np.eye(len(gram)), x.T @ y)


def parrot(outputs: Embeddings, originals: Embeddings, people: Int[np.ndarray, " n"]) -> float | None:
    """Parrot recognition (Newton, Sweeney, Malin 2005): the attacker anonymises faces that he knows and
    refits his matcher. Here a ridge map from output to original embeddings, learned on every second
    person and tested on the others; TAR on those."""
    names = np.unique(people)
    if len(names) < PARROT_PEOPLE:
        return None
    known = np.isin(people, names[::2])
    x, y = unit(outputs), unit(originals)
    mean_x, mean_y = x[known].mean(0), y[known].mean(0)
    mapping = ridge(x[known] - mean_x, y[known] - mean_y, 0.1)
    claims = (x[~known] - mean_x) @ mapping
    return calibrated_tar(claims, y[~known] - mean_y, people[~known])


def linkage(
    outputs: Embeddings,
    people: Int[np.ndarray, " n"],
    clips: Int[np.ndarray, " n"],
    scopes: Int[np.ndarray, " n"],
    threshold: float,
) -> dict[str, float | None]:
    """Are two output tracks of one person told to be one person? Mean embedding per track; shares of
    the pairs at or above the recogniser's threshold: of one person under one scope (linkable where a
    scope spans clips, by design), of one person under two scopes (should be the rate of strangers),
    and of strangers."""
    vectors = unit(outputs)
    scores = vectors @ vectors.T
    i, j = np.triu_indices(len(vectors), 1)
    scores, same = scores[i, j], people[i] == people[j]
    scope, elsewhere = scopes[i] == scopes[j], clips[i] != clips[j]
    return {
        "tracks_of_one_clip_share": accept_rate(scores[same & ~elsewhere], threshold),
        "clips_of_one_scope_share": accept_rate(scores[same & elsewhere & scope], threshold),
        "clips_of_two_scopes_share": accept_rate(scores[same & ~scope], threshold),
        "strangers_share": accept_rate(scores[~same], threshold),
    }

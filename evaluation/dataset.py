"""Does an anonymised set still teach what the original taught? For research sets (the use of FALCO,
Barattin et al. 2023: train on the anonymised faces, test on real ones)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from veilcast.arrays import Bool, Float
from veilcast.errors import EvaluationFailed

Features = Float[np.ndarray, "n d"]
FEWEST = 20  # pictures of each answer, to train on and to test on


@dataclass(frozen=True, slots=True)
class Transfer:
    """Accuracies on the same real held-out pictures, 0 to 1. `chance`: of saying the commoner answer."""

    from_originals: float
    from_anonymised: float
    chance: float
    trained_on: int
    tested_on: int

    @property
    def lost_points(self) -> float:
        """How many points of a hundred the anonymised set costs."""
        return 100 * (self.from_originals - self.from_anonymised)


def classifier(x: Features, y: Bool[np.ndarray, " n"], strength: float = 0.1) -> Features:
    """Weights of a ridge regression to +-1 on features with a column of ones, in its dual form (Saunders
    et al. 1998). Both answers weigh the same."""
    share = np.where(y, y.mean(), 1 - y.mean())
    root = np.sqrt(0.5 / share)[:, None]
    rows, target = x * root, np.where(y, 1.0, -1.0) * root[:, 0]
    kernel = rows @ rows.T
    penalty = strength * np.trace(kernel) / len(kernel) + 1e-9
    weights: Features = rows.T @ np.linalg.solve(kernel + penalty * np.eye(len(kernel)), target)
    return weights


def accuracy(
    train: Features, labels: Bool[np.ndarray, " n"], test: Features, truth: Bool[np.ndarray, " m"]
) -> float:
    """Share of the test answered right after training. Features are standardised by the training set's
    own mean and spread: a person who has the anonymised set alone has no other."""
    mean, spread = train.mean(0), train.std(0) + 1e-6
    x, z = ((np.c_[(f - mean) / spread, np.ones(len(f))]) for f in (train, test))
    return float(((z @ classifier(x, labels) > 0) == truth).mean())


def transfer(
    originals: Features,
    anonymised: Features,
    labels: Bool[np.ndarray, " n"],
    test: Features,
    truth: Bool[np.ndarray, " m"],
) -> Transfer:
    """Row i of `originals` and `anonymised` is one picture with labels[i]; `test` shows other people, as
    they are. Raises EvaluationFailed where there are too few to tell."""
    for answers in (labels, truth):
        if min(answers.sum(), (~answers).sum()) < FEWEST:
            raise EvaluationFailed(f"an attribute needs {FEWEST} pictures of each answer, got fewer")
    return Transfer(
        accuracy(originals, labels, test, truth),
        accuracy(anonymised, labels, test, truth),
        float(max(truth.mean(), 1 - truth.mean())),
        len(labels),
        len(truth),
    )


def margin(vectors: Features, people: Sequence[Hashable], other: Features | None = None) -> float | None:
    """1 - the highest cosine between faces of two different people of a set; with `other`, between row i
    of the set and row i of the other one: how far each new face is from its source. None with one face."""
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    if other is not None:
        same = other / np.linalg.norm(other, axis=1, keepdims=True)
        return 1 - float((rows * same).sum(1).max()) if len(rows) else None
    number = np.unique([str(p) for p in people], return_inverse=True)[1]
    cosines = (rows @ rows.T)[number[:, None] != number[None, :]]
    return 1 - float(cosines.max()) if len(cosines) else None

"""Identification: is the person found among many by other pictures of theirs?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from veilcast.arrays import Int
from veilcast.evaluation.measure import Measured
from veilcast.evaluation.reidentification import Embeddings, ranks


@dataclass(frozen=True, slots=True)
class Places:
    """Place of the own person for each sample, 0 where the gallery does not know them: for the output,
    and for the original itself (the control)."""

    outputs: Int[np.ndarray, " n"]
    originals: Int[np.ndarray, " n"]


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures of known people. `keys`: file names, so that a probe does not meet its own picture."""

    vectors: Mapping[str, Embeddings]
    people: Sequence[str]
    keys: Sequence[str]

    @property
    def size(self) -> int:
        return len(set(self.people))

    def places(self, recogniser: str, measured: Measured) -> Places:
        """Ranks of every sample whose person is named."""
        names = [measured.clips[s.clip].person or "" for s in measured.samples]
        files = np.array([measured.clips[s.clip].name for s in measured.samples])
        own = files[:, None] == np.array(self.keys)[None, :]
        vectors = np.stack([s.embeddings[recogniser] for s in measured.samples]).astype(np.float32)
        rows = self.vectors[recogniser]
        return Places(
            ranks(vectors[:, 1], names, rows, self.people, own),
            ranks(vectors[:, 0], names, rows, self.people, own),
        )


def of_originals(measured: Measured) -> Gallery | None:
    """The originals of a set of named pictures as its own gallery, where people have several."""
    named = [s for s in measured.samples if measured.clips[s.clip].person]
    people = [measured.clips[s.clip].person or "" for s in named]
    if len(set(people)) < 2 or len(people) == len(set(people)):
        return None
    vectors = {
        name: np.stack([s.embeddings[name][0] for s in named]).astype(np.float32)
        for name in named[0].embeddings
    }
    return Gallery(vectors, people, [measured.clips[s.clip].name for s in named])

"""What one pass over the clips keeps: a few hundred numbers per face-frame, no pictures but a few."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from veilcast.arrays import Float16
from veilcast.types import Box

Pair = Float16[np.ndarray, "2 d"]  # of the original, of the output


@dataclass(frozen=True, slots=True)
class FaceSample:
    """One face of one frame, aligned from the original. `values`: measures of the output against its
    original, by name with their unit; `noise`: the same measures of the original against the original
    one frame before; `pictures`: JPEG of the context crop before and after, for the report's page."""

    clip: int
    track: int  # unique over all clips
    frame: int
    box: Box
    correlation: float
    embeddings: Mapping[str, Pair]
    controls: Mapping[str, float]  # cosine of the original with itself, coded anew
    features: Pair | None
    values: Mapping[str, float]
    noise: Mapping[str, float]
    age_years: float | None = None
    male: float | None = None  # probability
    ita_degrees: float | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """Two pictures for the page: before and after, JPEG, with what is remarkable about them."""

    before: bytes = field(repr=False)
    after: bytes = field(repr=False)
    score: float  # how exposed: the higher, the worse
    caption: str

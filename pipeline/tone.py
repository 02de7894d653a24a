"""The tone of a face, its mean colour: three numbers of a source, which its renderings follow."""

from __future__ import annotations

import cv2
import numpy as np

from veilcast.arrays import Float64
from veilcast.pipeline.likeness import Mask, reduced, well_inside
from veilcast.types import Rgb

_MOST = 1.5  # times as light, or as dark: farther no tone is followed
_DARKEST = 8.0  # levels: darker faces are made lighter no faster than these
_CELLS = 64  # a side: how far inside is measured there
_LEAST_INSIDE = 0.3  # of the core, so that what is nearly all rim changes no more than elsewhere

Tone = Float64[np.ndarray, " 3"]  # levels, or how much lighter than another one, per colour


def tone_of(rgb: Rgb, core: Mask, others: Mask) -> Tone:
    """Mean colour under the core where nobody else is, levels."""
    return np.array(cv2.mean(rgb, ((core > 0.5) & (others < 0.5)).astype(np.uint8))[:3])


def times(tone: Tone, other: Tone) -> Tone:
    """How much lighter one tone is than another, as far as it may be followed."""
    found: Tone = np.clip((tone + _DARKEST) / (other + _DARKEST), 1 / _MOST, _MOST)
    return found


def lit(rgb: Rgb, lighter: Tone) -> Rgb:
    """Each colour so much lighter."""
    # cv2 rounds to the nearest and keeps what the type cannot hold at its ends
    result: Rgb = cv2.transform(rgb, np.diag(lighter))
    return result


def lit_inside(rgb: Rgb, core: Mask, lighter: Tone) -> Rgb:
    """The same of the mean under the core, and nothing at its rim, where a face is in the colours around."""
    inside = well_inside(reduced(core, _CELLS))
    share = float(inside.sum() / max(reduced(core, _CELLS).sum(), 1))
    weight = cv2.resize(inside / max(share, _LEAST_INSIDE), core.shape, interpolation=cv2.INTER_LINEAR)
    gain = cv2.merge([1 + weight * np.float32(step - 1) for step in lighter])
    result: Rgb = cv2.multiply(rgb, gain, dtype=cv2.CV_8U)
    return result

"""The tone of a face, its mean colour, and how much its colours vary: five numbers of a source, which its
renderings follow."""

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
Spread = Float64[np.ndarray, " 2"]  # standard deviations of chroma (Cr, Cb), levels

_SOFT = 2.0  # cells: what is finer than eyes and lips says nothing of a spread
_NO_SPREAD = 0.2  # levels: nobody sees less


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


def spread_of(rgb: Rgb, core: Mask) -> Spread:
    """How much chroma varies well inside the core."""
    return _chroma(rgb, core)[1]


def calmed(rgb: Rgb, core: Mask, spread: Spread) -> Rgb:
    """The face with colours that vary no more than that; its luma stays."""
    mean, own = _chroma(rgb, core)
    gone = (1 - np.minimum((spread + _NO_SPREAD) / (own + _NO_SPREAD), 1)).astype(np.float32)
    weight = cv2.resize(well_inside(reduced(core, _CELLS)), core.shape, interpolation=cv2.INTER_LINEAR)
    luma, cr, cb = cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb))
    cr = cv2.subtract(cr, gone[0] * weight * (cr - np.float32(mean[0])), dtype=cv2.CV_8U)
    cb = cv2.subtract(cb, gone[1] * weight * (cb - np.float32(mean[1])), dtype=cv2.CV_8U)
    result: Rgb = cv2.cvtColor(cv2.merge([luma, cr, cb]), cv2.COLOR_YCrCb2RGB)
    return result


def _chroma(rgb: Rgb, core: Mask) -> tuple[Float64[np.ndarray, " 2"], Spread]:
    """Mean and spread."""
    small = cv2.cvtColor(reduced(rgb, _CELLS), cv2.COLOR_RGB2YCrCb)
    soft = cv2.GaussianBlur(small, (0, 0), _SOFT)
    inside = cv2.compare(well_inside(reduced(core, _CELLS)), 0.95, cv2.CMP_GT)
    mean, deviation = cv2.meanStdDev(soft, mask=inside)
    return mean[1:, 0], deviation[1:, 0]


def lit_inside(rgb: Rgb, core: Mask, lighter: Tone) -> Rgb:
    """The same of the mean under the core, and nothing at its rim, where a face is in the colours around."""
    inside = well_inside(reduced(core, _CELLS))
    share = float(inside.sum() / max(reduced(core, _CELLS).sum(), 1))
    weight = cv2.resize(inside / max(share, _LEAST_INSIDE), core.shape, interpolation=cv2.INTER_LINEAR)
    gain = cv2.merge([1 + weight * np.float32(step - 1) for step in lighter])
    result: Rgb = cv2.multiply(rgb, gain, dtype=cv2.CV_8U)
    return result

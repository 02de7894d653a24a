"""The tone of a face, its mean colour, and how much its light and colours vary: six numbers of a source,
which its renderings follow."""

from __future__ import annotations

import cv2
import numpy as np

from veilcast.arrays import Float32, Float64
from veilcast.pipeline.likeness import Mask, filling, reduced, well_inside
from veilcast.types import Rgb

_MOST = 1.5  # times as light, or as dark: farther no tone is followed
_DARKEST = 8.0  # levels: darker faces are made lighter no faster than these
_CELLS = 32  # a side: there everything is measured
_HAIR = 0.1  # of the side: so near the rim of what is replaced there may be any
_SHADE, _BLOTCH = 0.1, 0.03  # of the side: what is larger is shade, or a blotch; eyes and lips are none
_NO_SHADE, _NO_SPREAD = 0.005, 0.2  # nobody sees less

Tone = Float64[np.ndarray, " 3"]  # levels, or how much lighter than another one, per colour
Spread = Float64[np.ndarray, " 3"]  # of large light and shade, in shares of the mean; of Cr and Cb, levels
Cells = Float32[np.ndarray, "c c 3"]


def times(tone: Tone, other: Tone) -> Tone:
    """How much lighter one tone is than another, as far as it may be followed."""
    found: Tone = np.clip((tone + _DARKEST) / (other + _DARKEST), 1 / _MOST, _MOST)
    return found


def lit(rgb: Rgb, lighter: Tone) -> Rgb:
    """Each colour so much lighter."""
    # cv2 rounds to the nearest and keeps what the type cannot hold at its ends
    result: Rgb = cv2.transform(rgb, np.diag(lighter))
    return result


def tone_of(rgb: Rgb, core: Mask, others: Mask) -> Tone:
    """Mean colour in the middle of the core where nobody else is, levels: farther out one face has hair
    where another has cheeks."""
    return _mean(*(reduced(values, _CELLS) for values in (rgb, core, others)))


def spread_of(rgb: Rgb, core: Mask) -> Spread:
    """How much light and chroma vary under the core."""
    under, seen = reduced(core, _CELLS), cv2.cvtColor(reduced(rgb, _CELLS), cv2.COLOR_RGB2YCrCb)
    return np.array([_shade(seen, under), *_chroma(seen, under)[1]])


def toned(rgb: Rgb, core: Mask, others: Mask, tone: Tone, spread: Spread) -> Rgb:
    """The face with light and colours that vary no more than `spread`, of that tone. Nothing changes at the
    rim of the core, where a face is in the colours around it."""
    small, under, besides = (reduced(values, _CELLS) for values in (rgb, core, others))
    inside = well_inside(under)[..., None]
    calm = inside * _calming(small, under, spread[1:])
    seen = cv2.add(small, calm, dtype=cv2.CV_8U)
    luma_chroma = cv2.cvtColor(seen, cv2.COLOR_RGB2YCrCb)
    shadows = 1 - min((float(spread[0]) + _NO_SHADE) / (_shade(luma_chroma, under) + _NO_SHADE), 1)
    gain = filling(luma_chroma[..., 0].astype(np.float32), under, shadows)[..., None]
    lighter = times(tone, _mean(cv2.multiply(seen, cv2.merge([gain] * 3), dtype=cv2.CV_8U), under, besides))
    gain = gain * (1 + inside * (lighter - 1).astype(np.float32))
    size = core.shape
    add, gain = (cv2.resize(field, size, interpolation=cv2.INTER_LINEAR) for field in (calm, gain))
    result: Rgb = cv2.multiply(cv2.add(rgb, add, dtype=cv2.CV_32F), gain, dtype=cv2.CV_8U)
    return result


def _mean(small: Rgb, under: Mask, besides: Mask) -> Tone:
    size = round(2 * _HAIR * len(under)) | 1
    middle = cv2.erode(under, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    return np.array(cv2.mean(small, cv2.compare(cv2.subtract(middle, besides), 0.5, cv2.CMP_GT))[:3])


def _shade(luma_chroma: Rgb, under: Mask) -> float:
    """Standard deviation of what is large in luma, in shares of its mean."""
    under = cv2.erode(under, np.ones((3, 3), np.uint8))  # hair and background are no shade
    size = _SHADE * len(under)
    weight = cv2.GaussianBlur(under, (0, 0), size) + np.float32(1e-3)
    soft = cv2.GaussianBlur(luma_chroma[..., 0] * under, (0, 0), size) / weight
    mean, deviation = cv2.meanStdDev(soft, mask=cv2.compare(under, 0.5, cv2.CMP_GT))
    return float(deviation[0, 0] / (mean[0, 0] + _DARKEST))


def _chroma(
    luma_chroma: Rgb, under: Mask
) -> tuple[Float64[np.ndarray, " 2"], Float64[np.ndarray, " 2"], Rgb]:
    """Mean and standard deviation of what is as large as blotches, and that."""
    soft: Rgb = cv2.GaussianBlur(luma_chroma, (0, 0), _BLOTCH * len(under))
    mean, deviation = cv2.meanStdDev(soft, mask=cv2.compare(well_inside(under), 0.95, cv2.CMP_GT))
    return mean[1:, 0], deviation[1:, 0], soft


def _calming(small: Rgb, under: Mask, spread: Float64[np.ndarray, " 2"]) -> Cells:
    """What has to be added, so that chroma varies no more than that."""
    mean, own, soft = _chroma(cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb), under)
    gone = 1 - np.minimum((spread + _NO_SPREAD) / (own + _NO_SPREAD), 1)
    cr, cb = np.moveaxis(gone * (mean - soft[..., 1:]), 2, 0)
    # ITU-R BT.601, as cv2 has it
    return np.stack([1.403 * cr, -0.714 * cr - 0.344 * cb, 1.773 * cb], 2).astype(np.float32)

"""From what a decoder draws to what a camera would have: without its weave of single pixels and its coloured
specks, and as sharp as the face that it replaces. Of that face one number is read, how steep its luma is on
average."""

from __future__ import annotations

import cv2
import numpy as np

from veilcast.arrays import UInt8
from veilcast.pipeline.likeness import Mask
from veilcast.types import Rgb

# of the side of a patch, standard deviations, chosen by how many faces `benchmarks.synthetic` tells from real
# ones
_WEAVE = 0.6 / 256
_SPECKS = 2 / 256  # colour alone: half as fine as luma, as video stores it
_BROAD = 3 / 256  # what is sharpened is finer
_GAIN = (0.5, 2.1)  # least and most that finer luma is multiplied by
# of the source's steepness: generated skin lacks the finest texture, and stronger edges make up for it
_STEEPER = 1.2
_FLAT = 0.02  # squared levels a pixel: nothing there to be scaled
_RIM = 0.04  # of the side: so much at the rim of what is replaced does not count as face

Channel = UInt8[np.ndarray, "s s"]


def steepness(rgb: Rgb, core: Mask) -> float:
    """Mean squared gradient of luma well inside what is replaced (`core` 1), in squared levels a pixel
    (Tenengrad; Krotkov 1988). 0 where there is no inside."""
    return _steepness(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), core)


def finished(face: Rgb, core: Mask, steep: float) -> Rgb:
    """The face a little steeper than `steep`, its source's `steepness`; all of one side."""
    side = len(face)
    luma, *colours = cv2.split(cv2.cvtColor(face, cv2.COLOR_RGB2YCrCb))
    fine = _sharpened(cv2.GaussianBlur(luma, (0, 0), _WEAVE * side), core, steep)
    soft = [cv2.GaussianBlur(colour, (0, 0), _SPECKS * side) for colour in colours]
    rgb: Rgb = cv2.cvtColor(cv2.merge([fine, *soft]), cv2.COLOR_YCrCb2RGB)
    return rgb


def _sharpened(luma: Channel, core: Mask, steep: float) -> Channel:
    own = _steepness(luma, core)
    if own < _FLAT or steep < _FLAT:
        return luma
    gain = float(np.clip(_STEEPER * np.sqrt(steep / own), *_GAIN))
    broad = cv2.GaussianBlur(luma, (0, 0), _BROAD * len(luma))
    sharp: Channel = cv2.addWeighted(luma, gain, broad, 1 - gain, 0)
    return sharp


def _steepness(luma: Channel, core: Mask) -> float:
    width = round(2 * _RIM * len(core)) | 1
    inside = cv2.erode((core > 0.5).astype(np.uint8), np.ones((width, width), np.uint8))
    dx, dy = (cv2.Sobel(luma, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    return float(cv2.mean(cv2.add(cv2.multiply(dx, dx), cv2.multiply(dy, dy)), inside)[0])

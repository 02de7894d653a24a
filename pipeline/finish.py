"""From what a decoder draws to what a camera's file would hold: with the loss of a coder, and as sharp as the
face that it replaces. Of that face one number is read, how steep its luma is on average."""

from __future__ import annotations

import cv2
import numpy as np

from veilcast.arrays import UInt8
from veilcast.pipeline.likeness import Mask, reduced, well_inside
from veilcast.types import Rgb

# chosen by how many faces `benchmarks.synthetic` tells from real ones
_CODED = [int(cv2.IMWRITE_JPEG_QUALITY), 60]
_BLOCK = 8  # pixels
# Decoders that double their pixels step by step leave a weave of diagonals: at a quarter of a cycle a pixel
# in both directions many times as much as real faces have, which is next to nothing. The kernel passes that
# (it is sin^2 of 2 pi f), and of what passes in both directions so much goes.
_WEAVE = np.array([-1, 0, 2, 0, -1], np.float32) / 4
_UNWOVEN = 0.5
# of the side of a patch, standard deviations: what is sharpened is finer than the one, and what is finer than
# the other goes, since in sharpened skin it would look like print
_BROAD, _PRINT = 3 / 256, 0.3 / 256
_GAIN = (0.5, 1.5)  # least and most that finer luma is multiplied by, each time
_BEYOND = 4  # levels: how much lighter or darker than all beside it a pixel may become; more is a halo
# of the source's steepness: generated skin lacks the finest texture, and stronger edges make up for it
_STEEPER = 1.2
_FLAT = 0.02  # squared levels a pixel: nothing there to be scaled
_CELLS = 64  # a side: where that may be sharpened is measured there
_SOBEL = 8  # what its kernel makes of one level a pixel
_RIM = 0.04  # of the side: so much at the rim of what is replaced does not count as face

Channel = UInt8[np.ndarray, "s s"]


def coded(face: Rgb) -> Rgb:
    """The face without what no coder keeps (colour finer than half of luma), and with the traces that one
    leaves: what surrounds the face has them, and what has none stands out. Two codings, half a block apart,
    show half of the edges between blocks."""
    half = _BLOCK // 2
    moved = cv2.copyMakeBorder(face, half, 0, half, 0, cv2.BORDER_REFLECT_101)
    result: Rgb = cv2.addWeighted(_through_coder(face), 0.5, _through_coder(moved)[half:, half:], 0.5, 0)
    return result


def _through_coder(face: Rgb) -> Rgb:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(face, cv2.COLOR_RGB2BGR), _CODED)
    decoded: Rgb = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)
    return decoded


def unwoven(face: Rgb) -> Rgb:
    """The face without its decoder's weave."""
    luma = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    weave = cv2.sepFilter2D(luma, cv2.CV_32F, _UNWOVEN * _WEAVE, _WEAVE)
    result: Rgb = cv2.subtract(face, cv2.merge([weave, weave, weave]), dtype=cv2.CV_8U)
    return result


def steepness(rgb: Rgb, core: Mask) -> float:
    """Mean squared gradient of luma well inside what is replaced (`core` 1), in squared levels a pixel
    (Tenengrad; Krotkov 1988). 0 where there is no inside."""
    return _steepness(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), core)


def sharpened(face: Rgb, core: Mask, steep: float) -> Rgb:
    """The face a little steeper than `steep`, its source's `steepness`; all of one side. Its rim stays
    as it is: it meets what nobody sharpens."""
    raw = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    luma = cv2.GaussianBlur(raw, (0, 0), _PRINT * len(raw))
    own = _steepness(luma, core)
    if own < _FLAT or steep < _FLAT:
        return face
    gain = float(np.clip(_STEEPER * np.sqrt(steep / own), *_GAIN))
    sharp = _without_halos(cv2.addWeighted(luma, gain, _broad(luma), 1 - gain, 0), luma)
    more = cv2.multiply(cv2.subtract(sharp, raw, dtype=cv2.CV_16S), _well_inside(core), dtype=cv2.CV_16S)
    # cv2 keeps what the type cannot hold at its ends
    result: Rgb = cv2.add(face, cv2.merge([more, more, more]), dtype=cv2.CV_8U)
    return result


def _without_halos(sharp: Channel, luma: Channel) -> Channel:
    beside = np.ones((3, 3), np.uint8)
    darkest, lightest = cv2.erode(luma, beside), cv2.dilate(luma, beside)
    bounded: Channel = cv2.min(cv2.max(sharp, cv2.subtract(darkest, _BEYOND)), cv2.add(lightest, _BEYOND))
    return bounded


def _well_inside(core: Mask) -> Mask:
    inside: Mask = cv2.resize(well_inside(reduced(core, _CELLS)), core.shape, interpolation=cv2.INTER_LINEAR)
    return inside


def _broad(luma: Channel) -> Channel:
    """Without what is finer; on half the pixels a side, which is as good and quicker."""
    half = cv2.resize(luma, (0, 0), fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(half, (0, 0), _BROAD * len(half))
    broad: Channel = cv2.resize(soft, luma.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return broad


def _steepness(luma: Channel, core: Mask) -> float:
    width = round(2 * _RIM * len(core)) | 1
    inside = cv2.erode(cv2.compare(core, 0.5, cv2.CMP_GT), np.ones((width, width), np.uint8))
    squares = sum(cv2.norm(change, cv2.NORM_L2SQR, inside) for change in cv2.spatialGradient(luma))
    return squares / _SOBEL**2 / max(cv2.countNonZero(inside), 1)

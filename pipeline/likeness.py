"""Does a new face repeat its source? The last question before it is shown, and what may be done about light.

Two faces in one light that comes from the side correlate whoever they are: half of each is dark. So light
and detail are compared apart. Where a new face is like its source in light alone, its shadows are filled
until it is not; a face whose detail is the source's stays refused in whatever light.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from veilcast.arrays import Float32
from veilcast.types import Rgb

Values = Float32[np.ndarray, " n"]
Mask = Float32[np.ndarray, "s s"]

EXPOSED = 0.9  # correlation of luma from which a face counts as shown
COPIED = 0.92  # the same of detail: other people with this pose and expression reach .88
INNER = (0.30, 0.26, 0.72, 0.74)  # eyes to mouth in the patch: top, left, bottom, right
LENS_PX = 128  # pixels: what is looked at of a larger patch
_SHADE = 0.06  # of the patch's side: what is larger is light and shade
_FILL_FROM = 0.8  # correlation up to which no shadow is filled; from there on steadily more
_FILL_PER, _MOST_FILL = 5.0, 0.8
_FILL_CELLS = 64  # a side: light is evened out there
_FILL_SHADE = 0.1  # of the side: how large the shadows are that are filled
OVAL = 0.7  # of a tracked box: what evaluation calls its inner face (veilcast.evaluation.coverage.INNER)
_UNDER = 0.99  # of a mask: from here on nothing of the source is left
_DARKEST = 8.0  # levels: a shadow is never filled as if it were darker


@dataclass(frozen=True, slots=True)
class Inner:
    """A patch's inner face, without its mean: lightly blurred luma, the same in the middle of the tracked
    box, as evaluation looks at it, and luma without light and shade."""

    luma: Values = field(repr=False)
    oval: Values = field(repr=False)
    detail: Values = field(repr=False)


Like = Callable[[Rgb], "Likeness"]


@dataclass(frozen=True, slots=True)
class Likeness:
    """Two correlations, -1 to 1."""

    luma: float
    detail: float

    @property
    def shown(self) -> bool:
        """Whether one face counts as the other; also where a value is not a number."""
        return not (self.luma <= EXPOSED and self.detail <= COPIED)


def luma(rgb: np.ndarray) -> Mask:
    result: Mask = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return result


class Lens:
    """Shows the inner face of any patch laid over the same source."""

    def __init__(self, core: Mask, oval: Mask | None = None) -> None:
        """What lies under `core` alone is looked at: beside a turned head the patch shows a background that
        stays. `oval`: 1 in the middle of the tracked box; None = no more than the rest."""
        core = reduced(core, LENS_PX)
        self._side = len(core)
        top, left, bottom, right = (round(edge * self._side) for edge in INNER)
        self._window = slice(top, bottom), slice(left, right)
        self._under = (core[self._window] > _UNDER).astype(np.float32)
        self._weights = np.maximum(self._shade(self._under), 1e-6)
        self._oval = None if oval is None else reduced(oval, LENS_PX) > 0

    def __call__(self, rgb: Rgb) -> Inner:
        broad = cv2.GaussianBlur(luma(reduced(rgb, LENS_PX)), (0, 0), 0.01 * self._side + 0.5)
        soft, under = broad[self._window], self._under > 0
        fine = soft - self._shade(soft * self._under) / self._weights
        there, light = _centred(soft[under]), _centred(fine[under])
        return Inner(there, there if self._oval is None else _centred(broad[self._oval]), light)

    def _shade(self, values: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
        shade: Float32[np.ndarray, "h w"] = cv2.GaussianBlur(values, (0, 0), _SHADE * self._side)
        return shade


def reduced(patch: np.ndarray, side: int) -> np.ndarray:
    """At most so many pixels a side, each the mean of what it covers."""
    if len(patch) <= side:
        return patch
    small: np.ndarray = cv2.resize(patch, (side, side), interpolation=cv2.INTER_AREA)
    return small


def _centred(values: Values) -> Values:
    flat: Values = values - values.mean() if values.size else values
    return flat


def compare(a: Inner, b: Inner) -> Likeness:
    """Where a face is so flat that nothing can be said, its luma counts as shown; its detail does not: what
    has none repeats none."""
    shared = max(correlation(a.luma, b.luma), correlation(a.oval, b.oval))
    return Likeness(shared, correlation(a.detail, b.detail, flat=0.0))


def correlation(x: Values, y: Values, flat: float = 1.0) -> float:
    """-1 to 1; `flat` where either has so little in it that nothing can be said."""
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > len(x) else flat


def well_inside(core: Mask) -> Mask:
    """1 in the middle of what a mask covers, falling to 0 at its rim."""
    inside: Mask = np.clip(2 * cv2.GaussianBlur(core, (0, 0), 0.04 * len(core)) - 1, 0, 1)
    return inside


def relit(face: Rgb, core: Mask, like: Like) -> Rgb:
    """The face with its large shadows filled, the more the more its luma repeats the source's: steadily, so
    that nothing flickers. What is unlike it anyhow, or repeats the source's detail, stays as it is."""
    found = like(face)
    amount = min((found.luma - _FILL_FROM) * _FILL_PER, _MOST_FILL)
    if not amount > 0 or not found.detail <= COPIED:
        return face
    return filled(face, core, amount)


def filled(face: Rgb, core: Mask, amount: float) -> Rgb:
    """Light and shade under `core` evened out: 0 = not at all, 1 = wholly. Nothing changes at its rim."""
    small, under = reduced(face, _FILL_CELLS), reduced(core, _FILL_CELLS)
    gain = cv2.resize(filling(luma(small), under, amount), core.shape)
    gain = 1 + core * (gain - 1)
    # cv2 rounds to the nearest and keeps what the type cannot hold at its ends
    result: Rgb = cv2.multiply(face, cv2.merge([gain, gain, gain]), dtype=cv2.CV_8U)
    return result


def filling(grey: Mask, under: Mask, amount: float) -> Mask:
    """How much lighter each cell becomes by that; `under`: the core, on as many cells."""
    shade = cv2.GaussianBlur(grey, (0, 0), _FILL_SHADE * len(grey))
    mean = float((shade * under).sum() / max(float(under.sum()), 1.0))
    gain: Mask = ((mean + _DARKEST) / (shade + _DARKEST)) ** (amount * well_inside(under))
    return gain

"""The values that every stage speaks: immutable, picklable, checked once where they are made.

Coordinates. A `Box` and every landmark are in pixels of the *displayed* picture: after the
container's rotation, before any sample-aspect-ratio scaling. Pixel (x, y) covers the square
[x, x + 1) x [y, y + 1). `Orientation` takes them to and from the stored picture, whose planes a
`Frame` holds.

Time. `pts * time_base`, exact; seconds as a float exist only where a person reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any, Literal, Protocol

import numpy as np

from veilcast.arrays import Float32, Float64, Shaped, UInt8

Plane = Shaped[np.ndarray, "h w"]  # uint8 up to 8 bits a sample, else uint16 (native, low bits)
Points = Float32[np.ndarray, "n 2"]
Boxes = Float32[np.ndarray, "n 4"]  # x0 y0 x1 y1
Rgb = UInt8[np.ndarray, "h w 3"]
Affine = Float64[np.ndarray, "2 3"]


@dataclass(frozen=True, slots=True)
class Box:
    """Half-open rectangle [x0, x1) x [y0, y1) in pixels of the displayed picture."""

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        # `not (a <= b)` also refuses NaN, which `a > b` would let through
        if not (self.x0 <= self.x1 and self.y0 <= self.y1):
            raise ValueError(f"box corners must be ordered numbers, got {self!r}")

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def scaled(self, factor: float) -> Box:
        """The box grown (factor > 1) or shrunk about its centre."""
        dx, dy = self.width * (factor - 1) / 2, self.height * (factor - 1) / 2
        return Box(self.x0 - dx, self.y0 - dy, self.x1 + dx, self.y1 + dy)

    def intersection(self, other: Box) -> float:
        """Area in common, in square pixels."""
        w = min(self.x1, other.x1) - max(self.x0, other.x0)
        h = min(self.y1, other.y1) - max(self.y0, other.y0)
        return w * h if w > 0 and h > 0 else 0.0

    def iou(self, other: Box) -> float:
        """Intersection over union, 0 to 1."""
        common = self.intersection(other)
        union = self.area + other.area - common
        return common / union if union > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Face:
    """One detection. `landmarks`: (5, 2) left eye, right eye, nose, left and right mouth corner,
    left and right as seen in the picture; None where the detector gives none."""

    box: Box
    score: float  # 0 to 1, the detector's own scale
    landmarks: Points | None = None
    detector: str = ""


class TrackState(StrEnum):
    TENTATIVE = "tentative"  # seen too few times to be sure; covered all the same
    CONFIRMED = "confirmed"
    COASTING = "coasting"  # not seen now, carried on its prediction
    SMOOTHED = "smoothed"  # placed by the backward pass: before its start, across a gap, after its end
    LOST = "lost"  # ended away from the border without a reason: what `--on-lost` is about
    MANUAL = "manual"  # drawn or edited by a person


@dataclass(frozen=True, slots=True)
class Track:
    """A snapshot of one track in one frame, never the tracker's own state."""

    id: int  # unique within one stream instance
    box: Box
    landmarks: Points | None
    state: TrackState
    misses: int  # looked-at frames since the last detection
    score: float | None = None  # of the detection in this frame; None where there is none
    keep: bool = False  # a person asked to leave this face; counts only with --allow-keep


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How samples are laid out. One 2-D array per component, in the order Y U V, R G B or Y, then
    alpha: a packed format gives strided views of the same memory."""

    name: str  # FFmpeg's name: "yuv420p10le"
    family: Literal["yuv", "rgb", "grey"]
    depth: int  # significant bits a sample, in the low bits
    log2_chroma_w: int = 0  # 1 = chroma has half the width
    log2_chroma_h: int = 0
    alpha: bool = False

    @property
    def dtype(self) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        return np.dtype(np.uint8) if self.depth <= 8 else np.dtype(np.uint16)


@dataclass(frozen=True, slots=True)
class Colour:
    """ITU-T H.273 code points; 2 = unspecified. `full_range`: None = unspecified."""

    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    full_range: bool | None = None


@dataclass(frozen=True, slots=True)
class Orientation:
    """How the stored picture is turned for display: `quarter_turns` clockwise, after mirroring
    left to right where `mirrored`."""

    quarter_turns: int = 0  # 0 to 3
    mirrored: bool = False

    def displayed_size(self, width: int, height: int) -> tuple[int, int]:
        return (height, width) if self.quarter_turns % 2 else (width, height)


class Picture(Protocol):
    """A displayed picture that lies on a device, for networks that run there."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        ...

    def padded(self, width: int, height: int, bgr: bool) -> Any:
        """What such a network takes in place of an array (1, height, width, 3) uint8: the picture, black to
        its right and below it."""
        ...


class Elsewhere(Protocol):
    """The samples of one frame in another memory, that of a device: what pipeline.pixels asks for there.
    `frame` says how they are to be read. Raises EngineError where they are gone or the device fails."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the stored picture."""
        ...

    def picture(self, frame: Frame, size: tuple[int, int]) -> Picture:
        """As pixels.to_rgb; it stays there."""
        ...

    def crops(self, frame: Frame, affines: Sequence[Affine], side: int) -> Sequence[Rgb]:
        """As pixels.crop_to_rgb, each; they come down."""
        ...

    def sparse_luma(self, step_x: int, step_y: int) -> Plane:
        """Every few samples of the first plane; they come down."""
        ...


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture. `planes` are *writable views* of the decoder's own buffer; whoever covers
    the frame edits them in place, once (safety: from then on the buffer belongs to its SafeFrame). A frame
    that is only looked at may lie elsewhere alone: without planes it passes no gate."""

    index: int  # 0, 1, 2 ... in presentation order
    pts: int  # in time_base
    time_base: Fraction  # seconds a tick
    planes: tuple[Plane, ...]
    format: PixelFormat
    colour: Colour = Colour()
    orientation: Orientation = Orientation()
    damaged: bool = False  # the decoder says or suspects that these pixels are wrong
    there: Elsewhere | None = field(default=None, repr=False, compare=False)

    @property
    def time(self) -> Fraction:
        return self.pts * self.time_base

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the stored picture in pixels."""
        if self.there is not None:
            return self.there.size
        height, width = self.planes[0].shape
        return width, height

    @property
    def displayed_size(self) -> tuple[int, int]:
        """(width, height) of the displayed picture in pixels."""
        return self.orientation.displayed_size(*self.size)


@dataclass(frozen=True, slots=True)
class Scene:
    """A frame and what is known to be in it: the unit between stages."""

    frame: Frame
    tracks: tuple[Track, ...]
    slate: str | None = None  # reason to cover the whole picture, None = cover the tracks


@dataclass(frozen=True, slots=True)
class Identity:
    """A sampled person. `embedding` has unit norm. Key material: never logged, never stored."""

    seed: bytes = field(repr=False)
    embedding: Float32[np.ndarray, " d"] = field(repr=False)
    number: int = 0  # of the candidate in its draw: without the key it says nothing


@dataclass(frozen=True, slots=True)
class Patch:
    """A synthetic face for one track: `rgb` (s, s, 3) and the affine that takes displayed-picture
    pixels to patch pixels."""

    track: int
    rgb: Rgb
    to_patch: Affine


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What the container says about the video stream, read once."""

    codec: str  # FFmpeg's codec name: "h264"
    width: int  # stored picture, pixels
    height: int
    format: PixelFormat
    colour: Colour
    orientation: Orientation
    sample_aspect_ratio: Fraction
    time_base: Fraction
    rate: Fraction | None  # average frames a second, where known
    frames: int | None  # the container's own count, where it has one
    duration: Fraction | None  # seconds, where known

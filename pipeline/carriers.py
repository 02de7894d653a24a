"""What can be read off a decoded picture: its samples as arrays, its colour, its side data.

A carrier is an av.VideoFrame, known here by its attributes alone: this file does not import av.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from veilcast.pipeline.codecs import PACKED
from veilcast.types import Colour, Orientation, PixelFormat, Plane

# display matrices of whole quarter turns, by degrees counter-clockwise
QUARTERS = {
    90: (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30),
    180: (-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30),
    270: (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30),
}


def views(carrier: Any, layout: PixelFormat) -> tuple[Plane, ...]:
    """One (h, w) view of the picture's own memory per component, in the order of `PixelFormat`."""
    if layout.name in PACKED:
        step, offsets = PACKED[layout.name]
        plane = carrier.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        return tuple(rows[:, o : o + step * (plane.width - 1) + 1 : step] for o in offsets)
    planes = [_plane(plane, layout) for plane in carrier.planes]
    # FFmpeg stores planar RGB as G B R (A)
    order = (2, 0, 1, 3)[: len(planes)] if layout.family == "rgb" else range(len(planes))
    return tuple(planes[i] for i in order)


def _plane(plane: Any, layout: PixelFormat) -> Plane:
    rows = np.frombuffer(plane, layout.dtype).reshape(plane.height, plane.line_size // layout.dtype.itemsize)
    return rows[:, : plane.width]


def blacken(carrier: Any, layout: PixelFormat) -> None:
    """Makes a new picture black, or near it: whatever memory held before must not be seen."""
    for i, plane in enumerate(views(carrier, layout)):
        plane[...] = 1 << (layout.depth - 1) if layout.family == "yuv" and i in (1, 2) else 0


def side_data(carrier: Any, kind: str) -> bytes | None:
    """One piece of side data by av's name for it; None where there is none, or one without a name."""
    try:
        return next((bytes(item) for item in carrier.side_data if item.type.name == kind), None)
    except ValueError:
        return None


def side_kinds(carrier: Any) -> tuple[str, ...]:
    """The kinds of side data of a picture by av's names, sorted; none where one of them has no name."""
    try:
        return tuple(sorted({item.type.name for item in carrier.side_data}))
    except ValueError:
        return ()


def display_matrix(carrier: Any) -> tuple[int, ...] | None:
    """FFmpeg's 3x3 display matrix, row by row: 16.16 fixed point, the last column 2.30."""
    data = side_data(carrier, "DISPLAYMATRIX")
    if data is not None:
        return tuple(int(value) for value in np.frombuffer(data[:36], np.int32))
    # beside a kind of side data that av cannot name it gives the angle alone
    return QUARTERS.get(round(carrier.rotation) % 360)


def orientation(matrix: tuple[int, ...] | None) -> Orientation:
    """Quarter turns and mirroring of a display matrix. A slanted one counts as upright: its pixels are
    looked at as they are stored."""
    if matrix is None:
        return Orientation()
    a, b, c, d = ((value > 0) - (value < 0) for value in (matrix[0], matrix[1], matrix[3], matrix[4]))
    turns = {(1, 0, 0, 1): 0, (0, 1, -1, 0): 1, (-1, 0, 0, -1): 2, (0, -1, 1, 0): 3}
    # mirrored left to right first: the first column of the turn's matrix changes its sign
    mirrored = {(-1, 0, 0, 1): 0, (0, -1, -1, 0): 1, (1, 0, 0, -1): 2, (0, 1, 1, 0): 3}
    key = (a, b, c, d)
    if key in mirrored:
        return Orientation(mirrored[key], mirrored=True)
    return Orientation(turns.get(key, 0))


def colour_of(carrier: Any) -> Colour:
    full = {1: False, 2: True}.get(int(carrier.color_range))
    if carrier.format.name.startswith("yuvj"):
        full = True
    return Colour(int(carrier.color_primaries), int(carrier.color_trc), int(carrier.colorspace), full)

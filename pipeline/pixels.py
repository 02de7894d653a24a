"""Planes to RGB and back: a whole picture for the detectors, a patch for the face networks.

All geometry is in continuous picture coordinates: pixel (x, y) covers [x, x + 1) x [y, y + 1) and a
chroma sample covers the pixels it stands for, so one affine serves every plane. Nothing here knows
containers or codecs; only `paste_rgb` writes, and only under its mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import ceil, floor
from typing import Any

import cv2
import numpy as np

from veilcast.arrays import Float32, Float64
from veilcast.pipeline import colours
from veilcast.types import Affine, Frame, Orientation, Picture, Plane, Rgb

_ROTATIONS = {1: cv2.ROTATE_90_CLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_COUNTERCLOCKWISE}

Matrix3 = Float64[np.ndarray, "3 3"]


def to_rgb(
    frame: Frame, size: tuple[int, int] | None = None, window: tuple[int, int, int, int] | None = None
) -> Rgb:
    """The displayed picture, or its `window` (x, y, width, height in displayed pixels, inside the
    picture), as (h, w, 3), scaled to `size` (width, height). Planes are scaled before they are
    converted, which is what makes a small picture of a large frame cheap."""
    x, y, width, height = window or (0, 0, *frame.displayed_size)
    out_w, out_h = size or (width, height)
    stored = _stored_rectangle(frame, x, y, width, height)
    turned = frame.orientation.quarter_turns % 2 == 1
    target = (out_h, out_w) if turned else (out_w, out_h)
    whole = _side_by_side(frame)
    if whole is not None:  # its planes at once
        part = _cut(whole, stored, (1, 1))
        rgb = part.copy() if part.shape[:2] == target[::-1] else _resized(part, target)
    else:
        planes = [_resized(_cut(plane, stored, sub), target) for plane, sub in _colour_planes(frame)]
        rgb = colours.to_rgb(frame, planes)
    return np.ascontiguousarray(_turned(rgb, frame.orientation))


def picture(frame: Frame, size: tuple[int, int]) -> Rgb | Picture:
    """As `to_rgb`, but where the frame lies: for a network that looks there, at once; the samples themselves
    where they are that picture already."""
    if frame.there is not None:
        return frame.there.picture(frame, size)
    whole = _side_by_side(frame) if size == frame.size and frame.orientation == Orientation() else None
    return to_rgb(frame, size) if whole is None else whole


def crops_to_rgb(frame: Frame, affines: Sequence[Affine], side: int) -> Sequence[Rgb]:
    """Several patches, cut out where the frame lies."""
    if frame.there is not None and affines:
        return frame.there.crops(frame, affines, side)
    return [crop_to_rgb(frame, affine, side) for affine in affines]


def crop_to_rgb(frame: Frame, affine: Affine, side: int) -> Rgb:
    """The patch (side, side, 3) that `affine` (displayed pixels to patch pixels) cuts out. Beyond the
    picture its border is repeated."""
    if frame.there is not None:
        return frame.there.crops(frame, [affine], side)[0]
    to_patch = _square(affine) @ _stored_to_displayed(frame)
    planes = [
        patch
        for sub, alike in _alike(frame)
        for patch in _warped([frame.planes[n] for n in alike], to_patch @ _scaling(*sub), side)
    ]
    return colours.to_rgb(frame, planes)


def paste_rgb(frame: Frame, rgb: Rgb, affine: Affine, mask: Float32[np.ndarray, "s s"]) -> None:
    """Blend a patch (s, s, 3) into the frame's planes, in place. `affine` takes displayed pixels to
    patch pixels; `mask` (s, s), 0 to 1, is the patch's weight. Samples of weight 0 are not written."""
    rows, columns = _shown(mask)
    rgb, mask = rgb[rows, columns], mask[rows, columns]
    shift = np.array([[1.0, 0, -columns.start], [0, 1, -rows.start], [0, 0, 1]])
    to_patch = shift @ _square(affine) @ _stored_to_displayed(frame)
    values = colours.to_planes(frame, rgb)
    for sub, alike in _alike(frame):
        planes, shown = [frame.planes[n] for n in alike], [values[n] for n in alike]
        _blend(planes, to_patch @ _scaling(*sub), shown, mask, (1 << frame.format.depth) - 1)


# what does the same elsewhere (gpu/) needs to know


def plane_matrices(frame: Frame, affine: Affine) -> list[Matrix3]:
    """For each colour plane: its samples -> pixels of the patch that `affine` cuts out of the display."""
    to_patch = _square(affine) @ _stored_to_displayed(frame)
    return [to_patch @ _scaling(*sub) for sub in _spans(frame)]


def luma(frame: Frame, size: tuple[int, int]) -> Plane:
    """A small grey picture (h, w) uint8 of the stored frame: enough to see whether it changed."""
    plane = frame.planes[1] if frame.format.family == "rgb" else frame.planes[0]
    return colours.to_8_bits(_resized(plane, size), frame.format.depth)


# planes and their geometry


def _colour_planes(frame: Frame) -> Iterator[tuple[Plane, tuple[int, int]]]:
    """Each plane but alpha, with the stored pixels that one of its samples spans (x, y)."""
    spans = _spans(frame)
    return zip(frame.planes[: len(spans)], spans, strict=True)


def _alike(frame: Frame) -> Iterator[tuple[tuple[int, int], list[int]]]:
    """The numbers of those planes together whose samples span the same."""
    for sub, numbered in groupby(enumerate(_spans(frame)), key=lambda numbered: numbered[1]):
        yield sub, [number for number, _ in numbered]


def _side_by_side(frame: Frame) -> Rgb | None:
    """The stored picture where the planes are views of one RGB array (h, w, 3)."""
    planes, whole = frame.planes, frame.planes[0].base
    if frame.format.name != "rgb24" or not isinstance(whole, np.ndarray):
        return None
    if whole.shape != (*planes[0].shape, len(planes)):
        return None
    views = [whole[..., channel].__array_interface__ for channel in range(len(planes))]
    return whole if views == [plane.__array_interface__ for plane in planes] else None


def _spans(frame: Frame) -> list[tuple[int, int]]:
    if frame.format.family == "grey":
        return [(1, 1)]
    chroma = (1 << frame.format.log2_chroma_w, 1 << frame.format.log2_chroma_h)
    return [(1, 1), *2 * [chroma if frame.format.family == "yuv" else (1, 1)]]


def _stored_to_displayed(frame: Frame) -> Matrix3:
    width, height = frame.size
    matrix = np.eye(3)
    if frame.orientation.mirrored:
        matrix = np.array([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]])
    for _ in range(frame.orientation.quarter_turns % 4):
        matrix = np.array([[0.0, -1, height], [1, 0, 0], [0, 0, 1]]) @ matrix
        width, height = height, width
    return matrix


def _stored_rectangle(frame: Frame, x: int, y: int, width: int, height: int) -> tuple[int, int, int, int]:
    corners = np.array([[x, x + width], [y, y + height], [1, 1]], float)
    back = np.linalg.inv(_stored_to_displayed(frame)) @ corners
    (x0, x1), (y0, y1) = np.sort(np.rint(back[:2]).astype(int), axis=1)
    return int(x0), int(y0), int(x1), int(y1)


def _cut(plane: np.ndarray, rectangle: tuple[int, int, int, int], sub: tuple[int, int]) -> np.ndarray:
    x0, y0, x1, y1 = rectangle
    return plane[y0 // sub[1] : -(-y1 // sub[1]), x0 // sub[0] : -(-x1 // sub[0])]


def _turned(picture: Rgb, orientation: Orientation) -> Rgb:
    shown = cv2.flip(picture, 1) if orientation.mirrored else picture
    quarters = orientation.quarter_turns % 4
    return cv2.rotate(shown, _ROTATIONS[quarters]) if quarters else shown


def _square(affine: Affine) -> Matrix3:
    return np.vstack([affine, [0.0, 0.0, 1.0]])


def _scaling(x: float, y: float) -> Matrix3:
    return np.diag([float(x), float(y), 1.0])


def _resized(samples: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Of a plane, or of a picture (h, w, 3); the samples themselves where they have the size."""
    height, width = samples.shape[:2]
    if (width, height) == size:
        return samples
    shrinks = width > size[0] or height > size[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    result: np.ndarray = cv2.resize(samples, size, interpolation=how)
    return result


def _for_cv2(matrix: Matrix3) -> Float64[np.ndarray, "2 3"]:
    """cv2 puts whole coordinates on pixel centres, we on their corners."""
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    inverse = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    moved: Matrix3 = inverse @ matrix @ half
    return moved[:2]


def _shrunk(
    sources: Sequence[np.ndarray[Any, Any]], matrix: Matrix3
) -> tuple[list[np.ndarray[Any, Any]], Matrix3]:
    """Average `sources`, all of one size, first where `matrix` would shrink them so much that samples are
    skipped."""
    step = int(1 / np.sqrt(max(abs(np.linalg.det(matrix[:2, :2])), 1e-12)))
    height, width = sources[0].shape[:2]
    if step < 2 or step > min(width, height):
        return list(sources), matrix
    size = (-(-width // step), -(-height // step))
    beyond = (0, size[1] * step - height, 0, size[0] * step - width)  # whole steps are quick to average
    whole = [cv2.copyMakeBorder(source, *beyond, cv2.BORDER_REPLICATE) for source in sources]
    small = [cv2.resize(source, size, interpolation=cv2.INTER_AREA) for source in whole]
    return small, matrix @ _scaling(step, step)


def _warped(planes: Sequence[Plane], to_patch: Matrix3, side: int) -> list[Plane]:
    """What `to_patch` cuts out of each of some planes of one size."""
    height, width = planes[0].shape
    x0, y0, x1, y1 = _bounds(np.linalg.inv(to_patch), side, side, width, height, margin=4)
    shift = np.array([[1.0, 0, x0], [0, 1, y0], [0, 0, 1]])
    cuts = [np.ascontiguousarray(plane[y0:y1, x0:x1]) for plane in planes]
    sources, matrix = _shrunk(cuts, to_patch @ shift)
    flags, border, at = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE, _for_cv2(matrix)
    return [cv2.warpAffine(source, at, (side, side), flags=flags, borderMode=border) for source in sources]


def _bounds(
    matrix: Matrix3, width: int, height: int, limit_w: int, limit_h: int, margin: int = 1
) -> tuple[int, int, int, int]:
    """Whole-sample rectangle, inside the limits and never empty, round a transformed rectangle."""
    corners = matrix @ np.array([[0, width, width, 0], [0, 0, height, height], [1, 1, 1, 1]], float)
    (low_x, low_y), (high_x, high_y) = corners[:2].min(1).tolist(), corners[:2].max(1).tolist()
    x0, x1 = _whole(low_x - margin, high_x + margin, limit_w)
    y0, y1 = _whole(low_y - margin, high_y + margin, limit_h)
    return x0, y0, x1, y1


def _whole(low: float, high: float, limit: int) -> tuple[int, int]:
    """Whole ends of a span, at least one apart, inside 0 to `limit`. Raises ValueError for no number."""
    first = floor(min(max(low, 0), limit - 1))
    return first, ceil(min(max(high, first + 1), limit))


def _blend(
    planes: Sequence[Plane],
    to_patch: Matrix3,
    values: Sequence[Float32[np.ndarray, "h w"]],
    mask: Float32[np.ndarray, "h w"],
    top: int,
) -> None:
    """`values` into `planes`, all of one size."""
    (rows, columns), from_patch, size = _reached(planes[0], to_patch, mask.shape)
    (thin, *small), matrix = _shrunk([np.ascontiguousarray(mask, np.float32), *values], from_patch)
    at = _for_cv2(matrix)
    weight = cv2.warpAffine(thin, at, size, flags=cv2.INTER_LINEAR, borderValue=0)
    enlarged = abs(np.linalg.det(matrix[:2, :2])) > 1  # which costs sharpness, least by cubic interpolation
    flags, border = cv2.INTER_CUBIC if enlarged else cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
    written = weight > 0
    for plane, value in zip(planes, small, strict=True):
        painted = cv2.warpAffine(value, at, size, flags=flags, borderMode=border)
        window = plane[rows, columns]
        change = cv2.multiply(cv2.subtract(painted, window, dtype=cv2.CV_32F), weight)
        # cv2 rounds to the nearest and keeps what the type cannot hold at its ends
        mixed = cv2.add(window, change, dtype=cv2.CV_8U if plane.dtype == np.uint8 else cv2.CV_16U)
        np.copyto(window, np.minimum(mixed, top, dtype=plane.dtype), where=written)


def _shown(mask: Float32[np.ndarray, "h w"], margin: int = 8) -> tuple[slice, slice]:
    """Rows and columns of a mask with weight in them, and some more, so that interpolation sees the same."""
    spans = []
    for axis in (1, 0):
        there = np.flatnonzero(mask.any(axis))
        low, high = (there[0], there[-1] + 1) if len(there) else (0, 1)
        spans.append(slice(max(int(low) - margin, 0), min(int(high) + margin, mask.shape[1 - axis])))
    return spans[0], spans[1]


def _reached(
    plane: Plane, to_patch: Matrix3, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], Matrix3, tuple[int, int]]:
    """The samples of the plane that a patch of `shape` reaches, patch -> those samples, their (w, h)."""
    side_h, side_w = shape
    back = np.linalg.inv(to_patch)
    x0, y0, x1, y1 = _bounds(back, side_w, side_h, plane.shape[1], plane.shape[0])
    shift = np.array([[1.0, 0, -x0], [0, 1, -y0], [0, 0, 1]])
    return (slice(y0, y1), slice(x0, x1)), shift @ back, (x1 - x0, y1 - y0)

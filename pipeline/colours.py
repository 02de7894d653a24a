"""Samples to RGB and back: what the colour of a frame means, by ITU-T H.273."""

from __future__ import annotations

import cv2
import numpy as np

from veilcast.arrays import Float32, Float64
from veilcast.types import Colour, Frame, Plane, Rgb

# Kr, Kb of ITU-T H.273 table 4, by its code point
_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
_GBR = 0
_HD_HEIGHT_PX = 576  # above it, untagged YUV is BT.709 by custom


def to_rgb(frame: Frame, planes: list[Plane]) -> Rgb:
    """(h, w, 3) of a frame's colour planes, all of one size (h, w)."""
    small = [to_8_bits(plane, frame.format.depth) for plane in planes]
    matrix: Float64[np.ndarray, "3 4"] | None = None
    if frame.format.family == "grey":
        small, matrix = small * 3, None if _is_full(frame) else _from_limited_grey()
    elif frame.format.family == "yuv" and frame.colour.matrix == _GBR:
        small = [small[2], small[0], small[1]]
    elif frame.format.family == "yuv":
        matrix = to_rgb_matrix(frame)
    picture = cv2.merge(small)
    rgb: Rgb = picture if matrix is None else cv2.transform(picture, matrix)
    return rgb


def to_planes(frame: Frame, rgb: Rgb) -> list[Float32[np.ndarray, "h w"]]:
    """Sample values (not rounded) in the frame's own depth and range, one array a plane."""
    depth, full = frame.format.depth, _is_full(frame)
    picture = rgb.astype(np.float32)
    if frame.format.family == "rgb" or (frame.format.family == "yuv" and frame.colour.matrix == _GBR):
        red, green, blue = cv2.split(picture * np.float32(((1 << depth) - 1) / 255))
        return [red, green, blue] if frame.format.family == "rgb" else [green, blue, red]
    matrix = _rgb_to_yuv(frame.colour, frame.size[1], depth, full)
    planes = 1 if frame.format.family == "grey" else 3
    return [cv2.transform(picture, row[None]) for row in matrix[:planes]]


def to_rgb_matrix(frame: Frame) -> Float64[np.ndarray, "3 4"]:
    """8-bit YUV samples of this frame -> RGB, (3, 4): the last column is added."""
    from_rgb = _rgb_to_yuv(frame.colour, frame.size[1], 8, _is_full(frame))
    matrix: Float64[np.ndarray, "3 4"] = np.linalg.inv(from_rgb)[:3]
    return matrix


def to_8_bits(plane: Plane, depth: int) -> Plane:
    small: Plane = plane if depth == 8 else cv2.convertScaleAbs(plane, alpha=2.0 ** (8 - depth))
    return small


def _is_full(frame: Frame) -> bool:
    if frame.colour.full_range is not None:
        return frame.colour.full_range
    return frame.format.family != "yuv" or frame.format.name.startswith("yuvj")


def _from_limited_grey() -> Float64[np.ndarray, "3 4"]:
    scale = 255 / 219
    return np.hstack([np.eye(3) * scale, np.full((3, 1), -16 * scale)])


def _rgb_to_yuv(colour: Colour, height: int, depth: int, full: bool) -> Float64[np.ndarray, "4 4"]:
    """8-bit RGB to YUV samples of `depth` bits, homogeneous (ITU-T H.273 equations 23 to 25, 38 to 40)."""
    guess = 1 if height > _HD_HEIGHT_PX else 6
    kr, kb = _LUMA_WEIGHTS.get(colour.matrix, _LUMA_WEIGHTS[guess])
    y = np.array([kr, 1 - kr - kb, kb])
    u, v = (np.array([0, 0, 1]) - y) / (2 * (1 - kb)), (np.array([1, 0, 0]) - y) / (2 * (1 - kr))
    step = 1 << (depth - 8)
    top = (1 << depth) - 1
    span_y, span_c, black = (top, top, 0) if full else (219 * step, 224 * step, 16 * step)
    rows = np.vstack([y * span_y, u * span_c, v * span_c]) / 255
    offset = np.array([[black], [128 * step], [128 * step]])
    return np.vstack([np.hstack([rows, offset]), [0, 0, 0, 1]])

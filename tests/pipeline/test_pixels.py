"""Planes to RGB and back, in every layout that the product promises."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import numpy as np
import pytest

from veilcast.pipeline.pixels import crop_to_rgb, luma, paste_rgb, picture, to_rgb
from veilcast.types import Colour, Frame, Orientation, PixelFormat, Plane

FORMATS = [
    PixelFormat("yuv420p", "yuv", 8, 1, 1),
    PixelFormat("yuv422p", "yuv", 8, 1, 0),
    PixelFormat("yuv444p", "yuv", 8, 0, 0),
    PixelFormat("yuv411p", "yuv", 8, 2, 0),
    PixelFormat("yuv420p10le", "yuv", 10, 1, 1),
    PixelFormat("yuv422p10le", "yuv", 10, 1, 0),
    PixelFormat("yuva444p10le", "yuv", 10, 0, 0, alpha=True),
    PixelFormat("gbrp", "rgb", 8),
    PixelFormat("gbrp10le", "rgb", 10),
    PixelFormat("gray", "grey", 8),
    PixelFormat("gray10le", "grey", 10),
]
TURNS = [Orientation(turns, mirrored) for turns in range(4) for mirrored in (False, True)]


UNTAGGED, UPRIGHT = Colour(), Orientation()


def frame_of(
    planes: list[Plane],
    layout: PixelFormat,
    colour: Colour = UNTAGGED,
    orientation: Orientation = UPRIGHT,
) -> Frame:
    return Frame(0, 0, Fraction(1, 25), tuple(planes), layout, colour, orientation)


def flat(layout: PixelFormat, values: tuple[int, ...], width: int = 64, height: int = 48) -> list[Plane]:
    """One constant plane a component; the values are given for 8 bits."""
    planes = []
    for number, value in enumerate(values):
        chroma = layout.family == "yuv" and number in (1, 2)
        shape = (
            -(-height // (1 << layout.log2_chroma_h)) if chroma else height,
            -(-width // (1 << layout.log2_chroma_w)) if chroma else width,
        )
        planes.append(np.full(shape, value << (layout.depth - 8), layout.dtype))
    return planes


def noisy(layout: PixelFormat, seed: int = 1, width: int = 64, height: int = 48) -> list[Plane]:
    """Smooth random content in legal range."""
    random = np.random.default_rng(seed)
    count = {"yuv": 3, "rgb": 3, "grey": 1}[layout.family] + layout.alpha
    planes = flat(layout, (128,) * count, width, height)
    step = 1 << (layout.depth - 8)
    for plane in planes:
        rows, columns = np.mgrid[0 : plane.shape[0], 0 : plane.shape[1]]
        phase = random.uniform(0, 6, 2)
        wave = np.sin(rows / plane.shape[0] * 5 + phase[0]) * np.cos(columns / plane.shape[1] * 5 + phase[1])
        plane[:] = np.rint((128 + 20 * wave) * step)
    return planes


# BT.709 and BT.601 red, limited and full range, from the standards' tables
@pytest.mark.parametrize(
    ("samples", "matrix", "full"),
    [
        ((63, 102, 240), 1, False),
        ((81, 90, 240), 6, False),
        ((76, 85, 255), 6, True),
        ((74, 97, 240), 9, None),
    ],
)
def test_red_is_red_in_every_matrix_and_range(
    samples: tuple[int, ...], matrix: int, full: bool | None
) -> None:
    layout = FORMATS[0]
    rgb = to_rgb(frame_of(flat(layout, samples), layout, Colour(matrix=matrix, full_range=full)))
    assert np.abs(rgb.astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("layout", FORMATS, ids=lambda layout: layout.name)
def test_white_is_white_in_every_layout(layout: PixelFormat) -> None:
    white = {"yuv": (235, 128, 128, 255), "rgb": (255, 255, 255), "grey": (255,)}[layout.family]
    planes = flat(layout, white[: 4 if layout.alpha else len(white) if layout.family != "yuv" else 3])
    if layout.family != "yuv":  # 255 << 2 is not yet full scale at 10 bits
        planes = [np.full_like(plane, (1 << layout.depth) - 1) for plane in planes]
    assert to_rgb(frame_of(planes, layout)).min() >= 252


def test_untagged_video_is_bt601_when_small_and_bt709_when_large() -> None:
    layout = FORMATS[0]
    small = to_rgb(frame_of(flat(layout, (81, 90, 240)), layout))
    large = to_rgb(frame_of(flat(layout, (63, 102, 240), 960, 720), layout))
    for rgb in (small, large):
        assert np.abs(rgb[0, 0].astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("orientation", TURNS, ids=str)
def test_the_picture_is_turned_for_display(orientation: Orientation) -> None:
    layout = PixelFormat("gray", "grey", 8)
    stored = np.arange(48, dtype=np.uint8).reshape(6, 8)
    shown = to_rgb(frame_of([stored], layout, orientation=orientation))[:, :, 0]
    mirrored = stored[:, ::-1] if orientation.mirrored else stored
    assert np.array_equal(shown, np.rot90(mirrored, -orientation.quarter_turns))


@pytest.mark.parametrize("orientation", TURNS, ids=str)
@pytest.mark.parametrize("layout", [FORMATS[0], FORMATS[7]], ids=lambda layout: layout.name)
def test_a_window_is_that_part_of_the_whole(orientation: Orientation, layout: PixelFormat) -> None:
    frame = frame_of(noisy(layout), layout, orientation=orientation)
    whole, part = to_rgb(frame), to_rgb(frame, window=(8, 4, 20, 16))
    assert np.abs(part.astype(int) - whole[4:20, 8:28]).max() <= 4  # chroma is interpolated at the edge


@pytest.mark.parametrize("orientation", TURNS, ids=str)
def test_scaling_gives_the_size_asked_for(orientation: Orientation) -> None:
    frame = frame_of(noisy(FORMATS[4]), FORMATS[4], orientation=orientation)
    assert to_rgb(frame, (20, 30)).shape == (30, 20, 3)


@pytest.mark.parametrize("orientation", TURNS, ids=str)
@pytest.mark.parametrize("layout", FORMATS, ids=lambda layout: layout.name)
def test_a_whole_pixel_crop_is_that_window(layout: PixelFormat, orientation: Orientation) -> None:
    frame = frame_of(noisy(layout), layout, orientation=orientation)
    crop = crop_to_rgb(frame, np.array([[1.0, 0, -8], [0, 1, -8]]), 32)
    window = to_rgb(frame)[8:40, 8:40]
    assert np.abs(crop.astype(int) - window).max() <= 3


@pytest.mark.parametrize("orientation", TURNS, ids=str)
@pytest.mark.parametrize("layout", FORMATS, ids=lambda layout: layout.name)
def test_a_crop_pasted_back_changes_next_to_nothing(layout: PixelFormat, orientation: Orientation) -> None:
    frame = frame_of(noisy(layout), layout, orientation=orientation)
    before = [plane.copy() for plane in frame.planes]
    affine = np.array([[1.2, 0.3, -20.0], [-0.3, 1.2, 2.0]])
    paste_rgb(frame, crop_to_rgb(frame, affine, 40), affine, np.ones((40, 40), np.float32))
    step = 1 << (layout.depth - 8)
    for old, new in zip(before, frame.planes, strict=True):
        # the patch's rim repeats what lies beyond the picture; 8-bit RGB in between costs the rest
        assert np.abs(old.astype(int) - new.astype(int)).max() <= 6 * step


@pytest.mark.parametrize("layout", FORMATS, ids=lambda layout: layout.name)
def test_a_patch_appears_at_its_place_in_its_colour(layout: PixelFormat) -> None:
    frame = frame_of(noisy(layout), layout)
    patch = np.full((16, 16, 3), (200, 60, 90), np.uint8)
    paste_rgb(frame, patch, np.array([[0.5, 0, -8], [0, 0.5, -4]]), np.ones((16, 16), np.float32))
    shown = to_rgb(frame)[14:34, 22:42].astype(int)
    expected = [200, 60, 90] if layout.family != "grey" else [0.299 * 200 + 0.587 * 60 + 0.114 * 90] * 3
    assert np.abs(shown - expected).max() <= 5


@pytest.mark.parametrize("orientation", TURNS, ids=str)
def test_what_a_network_looks_at_is_what_is_displayed(orientation: Orientation) -> None:
    """Also where it is given the samples themselves: they are one array, and neither scaled nor turned."""
    memory = np.random.default_rng(3).integers(0, 256, (48, 64, 3), np.uint8)
    layout = PixelFormat("rgb24", "rgb", 8)
    rgb = frame_of([memory[:, :, n] for n in range(3)], layout, orientation=orientation)
    bgr = frame_of([memory[:, :, n] for n in (2, 1, 0)], layout, orientation=orientation)
    for frame in (rgb, bgr):
        for size in (frame.displayed_size, (40, 30), (64, 48)):
            assert np.array_equal(np.asarray(picture(frame, size)), to_rgb(frame, size))
    given = np.shares_memory(np.asarray(picture(rgb, (64, 48))), memory)
    assert given == (orientation == Orientation())


@pytest.mark.parametrize("size", [(64, 48), (40, 30), (100, 70)])
@pytest.mark.parametrize("orientation", TURNS)
def test_a_picture_in_one_array_is_shown_as_its_planes_are(
    orientation: Orientation, size: tuple[int, int]
) -> None:
    packed = np.stack(noisy(FORMATS[7]), axis=-1)
    layout = PixelFormat("rgb24", "rgb", 8)
    views = [packed[..., channel] for channel in range(3)]
    shown = to_rgb(frame_of(views, layout, orientation=orientation), size)
    apart = frame_of([view.copy() for view in views], layout, orientation=orientation)
    np.testing.assert_array_equal(shown, to_rgb(apart, size))
    assert not np.shares_memory(shown, packed), "a cover must not show in what was looked at before"


def test_a_patch_that_is_enlarged_keeps_its_detail() -> None:
    """Stripes of four pixels, each six tenths larger: linear interpolation would leave .81 of them."""
    frame = frame_of(flat(FORMATS[0], (128, 128, 128)), FORMATS[0])
    wave = 128 + 80 * np.sin(np.arange(40) * np.pi / 2 + 0.4)
    patch = np.repeat(np.tile(wave, (40, 1)).astype(np.uint8)[..., None], 3, 2)
    paste_rgb(frame, patch, np.array([[0.625, 0, 0], [0, 0.625, 0]]), np.ones((40, 40), np.float32))
    shown = to_rgb(frame)[16:32, 8:56, 1]
    assert shown.std() > 0.9 * patch.std()


@pytest.mark.parametrize("first", [9, 10, 11, 12])
def test_a_patch_made_smaller_covers_to_its_edge(first: int) -> None:
    """Also where its shown part is no whole number of the steps that it is averaged by."""
    frame = frame_of(flat(PixelFormat("gray", "grey", 8), (20,)), PixelFormat("gray", "grey", 8))
    mask = np.zeros((96, 96), np.float32)
    mask[first:, first:] = 1
    paste_rgb(frame, np.full((96, 96, 3), 235, np.uint8), np.array([[3.0, 0, 0], [0, 3.0, 0]]), mask)
    assert (
        frame.planes[0][8:31, 8:31] == frame.planes[0][20, 20]
    ).all()  # 32 samples, the last one interpolated


@pytest.mark.parametrize("side", [8, 40, 300])
@pytest.mark.parametrize("layout", FORMATS, ids=lambda layout: layout.name)
def test_samples_outside_the_mask_are_not_written(layout: PixelFormat, side: int) -> None:
    frame = frame_of(noisy(layout), layout)
    before = [plane.copy() for plane in frame.planes]
    mask = np.zeros((side, side), np.float32)
    mask[side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = 1
    scale = side / 32  # the patch spans 32 pixels, its mask the middle 16: [24, 40) x [16, 32)
    affine = np.array([[scale, 0, -16 * scale], [0, scale, -8 * scale]])
    paste_rgb(frame, np.full((side, side, 3), 255, np.uint8), affine, mask)
    reach = 4  # one patch sample of interpolation
    for number, (old, new) in enumerate(zip(before, frame.planes, strict=True)):
        if number == 3:
            assert np.array_equal(old, new), "alpha is not a colour"
            continue
        chroma = layout.family == "yuv" and number > 0
        sx = 1 << (layout.log2_chroma_w if chroma else 0)
        sy = 1 << (layout.log2_chroma_h if chroma else 0)
        rows, columns = np.nonzero(old != new)
        assert rows.size, "the patch must show"
        assert columns.min() * sx >= 24 - reach - sx
        assert (columns.max() + 1) * sx <= 40 + reach + sx
        assert rows.min() * sy >= 16 - reach - sy
        assert (rows.max() + 1) * sy <= 32 + reach + sy


def test_a_patch_half_outside_the_picture_is_cut_at_the_border() -> None:
    frame = frame_of(noisy(FORMATS[0]), FORMATS[0])
    affine = np.array([[1.0, 0, 10], [0, 1, 10]])
    paste_rgb(frame, np.full((32, 32, 3), 255, np.uint8), affine, np.ones((32, 32), np.float32))
    assert to_rgb(frame)[5, 5].min() >= 250


def test_a_strided_view_of_packed_memory_is_edited_in_place() -> None:
    memory = np.full((48, 64, 3), 100, np.uint8)
    layout = PixelFormat("rgb24", "rgb", 8)
    frame = frame_of([memory[:, :, n] for n in range(3)], layout)
    patch = np.full((16, 16, 3), (9, 8, 7), np.uint8)
    paste_rgb(frame, patch, np.array([[1.0, 0, -16], [0, 1, -16]]), np.ones((16, 16), np.float32))
    assert memory[24, 24].tolist() == [9, 8, 7]
    assert memory[4, 4].tolist() == [100, 100, 100]


@pytest.mark.parametrize("family", ["yuv", "rgb", "grey"])
def test_the_small_grey_picture_follows_the_content(family: Literal["yuv", "rgb", "grey"]) -> None:
    layout = next(layout for layout in FORMATS if layout.family == family)
    frame = frame_of(noisy(layout), layout)
    assert luma(frame, (16, 12)).shape == (12, 16)
    assert luma(frame, (16, 12)).std() > 2

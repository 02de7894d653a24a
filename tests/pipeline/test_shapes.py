import numpy as np
import pytest

from veilcast.pipeline.shapes import Ellipse, Polygon, Rect, Whole, alpha, bounds, inner, pooled, stored
from veilcast.types import Orientation

WHOLE = Rect(0, 0, 60, 40)


def test_a_region_outside_the_picture_has_no_bounds() -> None:
    assert bounds(Ellipse(-50, 10, 20, 20), 60, 40) is None
    assert bounds(Ellipse(-10, 10, 20, 20), 60, 40) == Rect(0, 0, 10, 30)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_shape_without_sense_is_the_whole_picture(bad: float) -> None:
    for region in (Ellipse(bad, 5, 5, 5), Polygon(((0, 0), (bad, 5), (5, 5)))):
        assert bounds(region, 60, 40) == WHOLE
        assert (alpha(region, WHOLE, 0) == 1).all()


def test_every_pixel_that_an_ellipse_touches_is_covered() -> None:
    region = Ellipse(30.3, 20.7, 10.5, 8.2)
    mask = alpha(region, WHOLE, 0)
    fine = np.linspace(0, 2 * np.pi, 2000)
    x = (region.x + region.rx * np.cos(fine)).astype(int)
    y = (region.y + region.ry * np.sin(fine)).astype(int)
    assert (mask[y, x] == 1).all()
    assert mask.sum() < np.pi * 12 * 9.7


def test_feather_lies_outside_only_and_ends() -> None:
    region = Ellipse(30, 20, 10, 8)
    hard, soft = alpha(region, WHOLE, 0), alpha(region, WHOLE, 4)
    assert (soft[hard == 1] == 1).all()
    assert ((soft > 0) & (soft < 1)).any()
    assert (soft[alpha(Ellipse(30, 20, 17, 15), WHOLE, 0) == 0] == 0).all()


def test_a_polygon_covers_what_it_touches() -> None:
    mask = alpha(Polygon(((10, 10), (30, 10), (30, 20), (10, 20))), WHOLE, 0)
    assert (mask[10:20, 10:30] == 1).all()
    assert mask[:8].sum() == 0
    assert mask.sum() < 23 * 13


def test_a_chroma_sample_is_covered_as_much_as_its_most_covered_pixel() -> None:
    mask = np.zeros((5, 6), np.float32)
    mask[4, 5] = 1
    mask[0, 1] = 0.5
    assert pooled(mask, 1, 1).tolist() == [[0.5, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert pooled(mask, 1, 0).shape == (5, 3)


def test_the_inner_rectangle_is_covered_whole() -> None:
    region = Ellipse(30.4, 20.2, 12, 9)
    core = inner(region, 60, 40)
    assert core is not None
    assert (alpha(region, WHOLE, 0)[core.y0 : core.y1, core.x0 : core.x1] == 1).all()
    assert inner(Ellipse(30, 20, 1, 1), 60, 40) is None
    assert inner(Whole("slate"), 60, 40) == WHOLE


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_regions_follow_the_display_rotation(turns: int, mirrored: bool) -> None:
    orientation = Orientation(turns, mirrored)
    shown_width, shown_height = orientation.displayed_size(60, 40)
    region = Ellipse(shown_width * 0.3, shown_height * 0.6, 9, 5)
    shown = alpha(region, Rect(0, 0, shown_width, shown_height), 0)
    there = alpha(stored(region, orientation, 60, 40), WHOLE, 0)
    displayed = np.rot90(there[:, ::-1] if mirrored else there, -turns)
    assert np.array_equal(displayed, shown)
    corners = Polygon(((2, 3), (20, 3), (20, 12)))
    shown = alpha(corners, Rect(0, 0, shown_width, shown_height), 0)
    there = alpha(stored(corners, orientation, 60, 40), WHOLE, 0)
    displayed = np.rot90(there[:, ::-1] if mirrored else there, -turns)
    assert abs(displayed - shown).sum() <= 3  # a pixel on an edge may round apart

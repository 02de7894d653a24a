"""What of a patch is hidden, pixel by pixel."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from veilcast.diffusion import patch


def inside(polygon: np.ndarray, x: float, y: float) -> bool:
    """The even-odd rule for one point, edge by edge."""
    crossed = 0
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        if (y0 <= y) != (y1 <= y):
            crossed += x0 + (y - y0) * (x1 - x0) / (y1 - y0) > x
    return bool(crossed % 2)


@given(arrays(np.float64, (7, 2), elements=st.floats(-6, 22, width=32)))
def test_a_pixel_is_hidden_where_its_centre_lies_in_the_outline(polygon: np.ndarray) -> None:
    side = 16
    want = [[inside(polygon, x + 0.5, y + 0.5) for x in range(side)] for y in range(side)]
    np.testing.assert_array_equal(patch.fill(polygon, side), np.array(want, np.float32))


def test_the_same_outline_hides_the_same_at_twice_the_side() -> None:
    oval = np.stack([np.cos(np.arange(40) / 40 * 2 * np.pi), np.sin(np.arange(40) / 40 * 2 * np.pi)], 1)
    small, large = (patch.fill((oval * 0.3 + 0.5) * side, side) for side in (64, 128))
    assert abs(small.mean() - large.mean()) < 0.01

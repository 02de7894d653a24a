"""Faces that only the alpha channel shows: what is seen, what is looked at, what is covered."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from tests.pipeline.test_detect import BrightSpot, both, corners, finder

from veilcast.config import Cover, Detect
from veilcast.pipeline.cover import cover
from veilcast.pipeline.detectors.network import CENTERFACE, YUNET
from veilcast.pipeline.pictures import found
from veilcast.pipeline.shapes import Ellipse
from veilcast.pipeline.transparency import ways
from veilcast.types import Frame, Orientation, PixelFormat

LAYOUTS = (
    PixelFormat("rgba", "rgb", 8, alpha=True),
    PixelFormat("ya8", "grey", 8, alpha=True),
    PixelFormat("yuva420p", "yuv", 8, 1, 1, alpha=True),
    PixelFormat("yuva444p10le", "yuv", 10, alpha=True),
)
SIZE = (640, 360)


def veiled(layout: PixelFormat, white: bool, shades: Sequence[int] = (40, 220, 250), turns: int = 0) -> Frame:
    """Black, or white, all over; the alpha of it shows dark, over white or over black, with a bright face and
    a thing that is brighter still."""
    luma = np.full((SIZE[1], SIZE[0]), shades[0], np.uint16)
    luma[60:108, 100:132] = shades[1]
    luma[70:90, 110:120] = shades[2]
    scale = 1 << (layout.depth - 8)
    alpha = ((luma if white else 255 - luma) * scale).astype(layout.dtype)
    colour = {"rgb": [255 * white] * 3, "grey": [255 * white], "yuv": [235 if white else 16, 128, 128]}
    planes = [
        np.full(
            (SIZE[1] >> (layout.log2_chroma_h * (n > 0)), SIZE[0] >> (layout.log2_chroma_w * (n > 0))),
            value * scale,
            layout.dtype,
        )
        for n, value in enumerate(colour[layout.family])
    ]
    return Frame(0, 0, Fraction(1, 25), (*planes, alpha), layout, orientation=Orientation(turns))


@pytest.mark.parametrize("white", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_what_alpha_shows_is_looked_at_as_it_is_seen(layout: PixelFormat, white: bool) -> None:
    frame = veiled(layout, white)
    over = ways(frame)[1 if white else 2](SIZE)
    assert isinstance(over, np.ndarray)
    assert over[80, 105].tolist() == pytest.approx([220] * 3, abs=3)
    assert over[0, 0].tolist() == pytest.approx([40] * 3, abs=3)


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_a_face_that_only_alpha_shows_is_found(layout: PixelFormat, still: bool) -> None:
    frame = veiled(layout, white=True)
    faces = found(frame, both()) if still else both().find(frame)
    assert faces
    assert any(corners(face) == pytest.approx([100, 60, 132, 108], abs=4) for face in faces)


def test_it_is_found_where_it_is_displayed() -> None:
    faces = both().find(veiled(LAYOUTS[0], white=True, turns=1))
    assert faces
    assert any(corners(face) == pytest.approx([360 - 108, 100, 360 - 60, 132], abs=4) for face in faces)


@pytest.mark.parametrize("shades", [(255, 255, 255), (128, 128, 128), (0, 255, 255)])
def test_a_cut_out_costs_no_second_look(shades: Sequence[int]) -> None:
    networks = BrightSpot(CENTERFACE), BrightSpot(YUNET)
    frame = veiled(LAYOUTS[0], True, shades)
    frame.planes[-1][5, :90] = 77  # a soft edge
    finder(Detect(look_s=0), *networks).find(frame)
    plain = BrightSpot(CENTERFACE), BrightSpot(YUNET)
    finder(Detect(look_s=0), *plain).find(
        Frame(0, 0, frame.time_base, frame.planes[:3], PixelFormat("gbrp", "rgb", 8))
    )
    assert [len(n.pictures) for n in networks] == [len(n.pictures) for n in plain]


@pytest.mark.parametrize("replacewith", ["solid", "mosaic", "synthetic"])
def test_no_cover_leaves_what_alpha_shows(replacewith: str) -> None:
    """A synthetic face replaces colours alone, so it is no cover there."""
    frame = veiled(LAYOUTS[0], white=True)
    before = frame.planes[-1].copy()
    painters = {7: lambda frame: None} if replacewith == "synthetic" else {}
    region = Ellipse(116, 84, 40, 40, 7)
    covered = cover(frame, (region,), Cover.model_validate({"replacewith": replacewith}), painters)
    assert len(np.unique(before[70:98, 102:130])) == 2
    assert (frame.planes[-1][70:98, 102:130] != before[70:98, 102:130]).mean() > 0.5
    assert bool(covered.failures) == (replacewith == "synthetic")

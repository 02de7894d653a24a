from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.oracle import Canary, Person, still, walk

from veilcast.config import Limits
from veilcast.pipeline.cuts import CutFinder, small_luma
from veilcast.pipeline.decode import Decoder
from veilcast.types import Frame, PixelFormat

CLIP = Canary(
    [Person(1, walk(60, 100, 100, 0, 60)), Person(2, still(250, 150, 50))], 40, cuts=frozenset({20})
)


def found(frames: Sequence[Frame]) -> list[int]:
    finder = CutFinder()
    return [n for n, frame in enumerate(frames) if finder.is_cut(small_luma(frame))]


def painted(frame: Frame, change: object) -> Frame:
    """The frame with another luma."""
    return replace(frame, planes=(np.asarray(change).astype(np.uint8), *frame.planes[1:]))


def test_a_hard_cut_is_found_where_it_is() -> None:
    assert found(list(CLIP.frames())) == [20]


def test_a_walk_through_the_picture_is_no_cut() -> None:
    large = Canary([Person(1, walk(0, 120, 400, 0, 200))], 40)
    assert found(list(large.frames())) == []


def test_a_flash_and_a_fade_are_no_cuts() -> None:
    frames = list(replace(CLIP, cuts=frozenset()).frames())
    flash = [painted(f, np.full_like(f.planes[0], 235)) if n == 20 else f for n, f in enumerate(frames)]
    fade = [painted(f, f.planes[0] * max(0.05, 1 - n / 40)) for n, f in enumerate(frames)]
    bright = [painted(f, np.minimum(f.planes[0] * 1.6, 255)) if n > 20 else f for n, f in enumerate(frames)]
    assert found(flash) == found(fade) == found(bright) == []


def test_a_cut_over_a_black_frame_is_found_after_it() -> None:
    frames = list(CLIP.frames())
    black = [painted(f, np.full_like(f.planes[0], 16)) if n == 19 else f for n, f in enumerate(frames)]
    assert found(black) == [20]


def test_a_pan_is_no_cut() -> None:
    wide = np.kron(np.random.default_rng(0).uniform(0, 255, (12, 60)), np.ones((20, 20)))
    frame = CLIP.frame(0)
    assert found([painted(frame, wide[:, 8 * n : 8 * n + 320]) for n in range(40)]) == []


def test_ten_bits_count_like_eight() -> None:
    deep = replace(CLIP, format=PixelFormat("yuv420p10le", "yuv", 10, 1, 1))
    assert found(list(deep.frames())) == [20]


def test_a_picture_that_changes_its_shape_is_a_cut() -> None:
    portrait = replace(CLIP, size=(240, 320), cuts=frozenset())
    assert found([CLIP.frame(0), CLIP.frame(1), portrait.frame(2), portrait.frame(3)]) == [2]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "cuts"),
    [
        ("stage_multi_hamilton_640x360.mp4", [20, 82, 211]),  # seen by eye
        ("street_group_1080p.mp4", []),  # a camera that turns, people who run past
        ("expr_d12_512.mp4", []),  # a face that fills the picture and jumps
    ],
)
def test_cuts_of_real_footage_are_those_that_the_eye_sees(shared: Path, name: str, cuts: list[int]) -> None:
    with Decoder(shared / "videos" / name, Limits()) as decoder:
        finder = CutFinder()
        assert [frame.index for frame in decoder.frames() if finder.is_cut(small_luma(frame))] == cuts

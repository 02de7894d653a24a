"""What is asked to be covered in a frame, and what the output says about itself."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from veilcast.config import Config, overlay
from veilcast.errors import ConfigError
from veilcast.pipeline import stages
from veilcast.pipeline.cuts import CutFinder
from veilcast.pipeline.detectors.candidates import Look
from veilcast.pipeline.plan import Plan
from veilcast.pipeline.shapes import Ellipse, Polygon, Whole
from veilcast.pipeline.stages import Covers, fills, marks, planned
from veilcast.types import Box, Frame, PixelFormat, Track, TrackState

GREY = PixelFormat("gray", "grey", 8)
START = Fraction(7)  # seconds: a stream need not begin at 0


def frame(index: int) -> Frame:
    planes = (np.zeros((60, 80), np.uint8),)
    return Frame(index, 700 + index * 10, Fraction(1, 100), planes, GREY)


def face(box: Box) -> Track:
    return Track(1, box, None, TrackState.CONFIRMED, 0, 0.9)


FACE = face(Box(10, 10, 30, 40))


def test_a_face_is_an_ellipse_larger_than_its_box() -> None:
    (region,) = Covers.of(Config()).regions(frame(0), (FACE,), START)
    assert isinstance(region, Ellipse)
    assert region.rx > 10
    assert region.ry > 15


def test_seconds_count_from_the_first_frame() -> None:
    covers = Covers.of(overlay(Config(), {"start_s": 0.3, "end_s": 0.6}))
    covered = [n for n in range(10) if covers.regions(frame(n), (FACE,), START)]
    assert covered == [3, 4, 5]


def test_zones_are_covered_whether_there_is_a_face_or_not() -> None:
    covers = Covers.of(overlay(Config(), {"zones": "0,0 20,0 20,20"}))
    assert [type(r) for r in covers.regions(frame(0), (), START)] == [Polygon]
    with pytest.raises(ConfigError):
        Covers.of(overlay(Config(), {"zones": "0,0 20,0"}))


def test_a_box_as_large_as_the_picture_is_a_slate_whatever_the_method() -> None:
    covers = Covers.of(overlay(Config(), {"cover.replacewith": "blur"}))
    (region,) = covers.regions(frame(0), (FACE, face(Box(-40, -30, 120, 90))), START)
    assert isinstance(region, Whole)
    assert not fills(Box(0, 0, 79, 60), (80, 60))


def test_who_asks_for_lost_faces_hears_of_all_of_them() -> None:
    """With a slate or an end for them, no look can say that somebody is gone."""
    nothing = Look((), np.empty((0, 4), np.float32))

    def told(on_lost: str) -> list[bool]:
        looked = iter([(frame(0), nothing), (frame(1), None), (frame(2), nothing)])
        config = overlay(Config(), {"cover.on_lost": on_lost})
        return [seen.faint is not None for _, seen in stages.observed(looked, CutFinder(), config)]

    assert told("hold") == [True, False, True]
    assert told("slate") == told("stop") == [False] * 3


def test_a_plan_serves_the_very_frames_that_it_was_made_from() -> None:
    plan = Plan(Fraction(1, 100))
    plan.append(700, [FACE])
    assert len(planned(plan, frame(0))) == 1
    with pytest.raises(ConfigError, match="end at frame 0"):
        planned(plan, frame(1))
    shifted = Plan(Fraction(1, 100))
    shifted.append(701, [FACE])
    with pytest.raises(ConfigError, match="pts 701"):
        planned(shifted, frame(0))


def test_an_output_with_generated_faces_says_so() -> None:
    assert marks(Config()) == {}
    generated = marks(overlay(Config(), {"cover.replacewith": "synthetic"}))
    assert "compositeWithTrainedAlgorithmicMedia" in generated["comment"]

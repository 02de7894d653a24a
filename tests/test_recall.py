"""What the recall benchmark counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.recall import (
    LENIENT,
    SCORES,
    Pooled,
    Tally,
    beginning,
    boxes,
    count,
    faces,
    persisting,
    shares,
    total,
    written,
)
from benchmarks.recall_table import table
from tests.media import Clip, make
from tests.pipeline.round_trip import samples

from veilcast.types import Box


def rows(*found: tuple[float, float, float, float, float]) -> np.ndarray:
    return np.array(found, np.float32).reshape(-1, 5)


def test_what_two_detectors_see_at_one_place_is_one_face_that_both_see() -> None:
    raw = {
        "0/centerface/1": rows((10, 10, 40, 50, 0.8)),
        "0/yunet/2": rows((11, 11, 41, 50, 0.9), (100, 10, 130, 50, 0.9)),
    }
    pooled = faces(raw, 0, SCORES)
    assert [sorted(p.detectors) for p in pooled] == [["centerface", "yunet"], ["yunet"]]


def test_scores_below_the_stated_ones_make_no_face_but_excuse_a_cover() -> None:
    raw = {"0/centerface/1": rows((10, 10, 40, 50, 0.3))}
    assert faces(raw, 0, SCORES) == []
    assert len(boxes(raw, 0, LENIENT)) == 1


def test_a_face_that_no_neighbouring_frame_shows_is_not_counted() -> None:
    steady, flash = Pooled(Box(0, 0, 20, 20), frozenset("a")), Pooled(Box(90, 0, 120, 30), frozenset("a"))
    kept = persisting([[steady], [steady, flash], []])
    assert kept == [[steady], [steady], []]


def test_a_small_face_that_one_detector_sees_counts_among_all_alone() -> None:
    tally = Tally()
    small = Pooled(Box(0, 0, 13, 13), frozenset({"centerface"}))
    large = Pooled(Box(50, 0, 90, 50), frozenset({"centerface", "tiny_retinaface"}))
    tiny = Pooled(Box(100, 0, 108, 8), frozenset({"centerface", "yunet"}))
    count(tally, [small, large, tiny], exposed={id(small), id(tiny)})
    assert (tally.all_12, tally.all_12_exposed) == (2, 1)
    assert (tally.agreed_16, tally.agreed_16_exposed) == (1, 0)
    assert (tally.judge_12, tally.judge_12_exposed) == (1, 0)


def test_clips_add_up_and_the_longest_run_is_the_longest_of_all() -> None:
    both = total([Tally(all_12=100, all_12_exposed=1, longest_run_24=1), Tally(all_12=300, longest_run_24=4)])
    assert shares(both)["exposed_all_12_percent"] == pytest.approx(0.25)
    assert shares(both)["exposed_agreed_16_percent"] is None
    assert both.longest_run_24 == 4


def test_the_beginning_of_a_clip_has_its_very_frames(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.mp4", Clip(frames=60, options={"bf": "2"}))
    short = samples(beginning(whole, tmp_path, 20))
    assert 20 <= len(short) < 60
    for part, all_ in zip(short[:20], samples(whole), strict=False):
        np.testing.assert_array_equal(part[0], all_[0])


def test_the_table_says_how_many_of_the_exposed_ones_a_person_found_to_be_faces(tmp_path: Path) -> None:
    tally = Tally(agreed_16=10, agreed_16_exposed=1, all_12=200, all_12_exposed=2, longest_run_24=1)
    tally.cases = [
        (3, Pooled(Box(0, 0, 20, 20), frozenset({"a", "b"}))),
        (4, Pooled(Box(80, 0, 120, 40), frozenset({"a"}))),
    ]
    result = written({"clip.mp4": {"veilcast": tally}, "all clips": {"veilcast": tally}})
    (tmp_path / "seen.csv").write_text("clip,frame,x,y\nclip.mp4,3,11,9\nclip.mp4,4,11,9\n")
    text = table(result, tmp_path / "seen.csv")
    assert "| veilcast | 1 of 10 (10.00 %) | 2 of 200 (1.00 %) |" in text
    assert "Of the 2 that veilcast left exposed, 1 show a face (0.50 % of all, the widest 20 px)" in text
    assert "Nobody has looked" in table(result, tmp_path / "none.csv")

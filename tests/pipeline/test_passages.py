"""A file smoothed in passages is the file smoothed whole: same cover, same people, less memory."""

from __future__ import annotations

from fractions import Fraction

import pytest

from veilcast.config import Tracking
from veilcast.pipeline.passages import UNSEEN, Passages
from veilcast.pipeline.stages import fills
from veilcast.trackers.base import Observation
from veilcast.trackers.smoothing import smooth
from veilcast.types import Box, Face, Track

SIZE = (640, 360)
SETTINGS = Tracking()


def walker(index: int, speed_px: float = 0.3, start: float = 20.0) -> Face:
    x = start + index * speed_px
    return Face(Box(x, 100, x + 40, 150), 0.9)


def film(frames: int, every: int = 3, cuts: frozenset[int] = frozenset()) -> list[Observation]:
    """Two people walk in opposite directions; every third frame is looked at."""
    return [
        Observation(
            n,
            Fraction(n, 25),
            (walker(n), walker(n, -0.3, 580)) if n % every == 0 else None,
            cut=n in cuts,
        )
        for n in range(frames)
    ]


def in_passages(observations: list[Observation], frames: int) -> list[tuple[Track, ...]]:
    passages = Passages(SETTINGS, SIZE, 0.3, frames)
    told = [tracks for seen in observations for tracks in passages.push(seen)]
    return told + passages.flush()


def boxes(tracks: tuple[Track, ...]) -> list[tuple[float, ...]]:
    return sorted((round(t.box.x0, 1), round(t.box.y0, 1), round(t.box.x1, 1)) for t in tracks)


@pytest.mark.parametrize("cuts", [frozenset[int](), frozenset({200, 201, 450})])
def test_passages_cover_what_one_piece_would(cuts: frozenset[int]) -> None:
    observations = film(900, cuts=cuts)
    whole = smooth(observations, SETTINGS, SIZE, 0.3)
    parts = in_passages(observations, 400)
    assert len(parts) == len(whole)
    for n, (one, other) in enumerate(zip(whole, parts, strict=True)):
        found = [t for t in other if t.id != UNSEEN]
        assert len(one) == len(found), f"frame {n}"
        for a, b in zip(boxes(one), boxes(tuple(found)), strict=True):
            assert a == pytest.approx(b, abs=1.5), f"frame {n}"


def test_people_keep_their_ids_across_a_seam() -> None:
    ids = {track.id for tracks in in_passages(film(900), 300) for track in tracks}
    assert len(ids) == 2


def test_people_get_new_ids_after_a_cut() -> None:
    parts = in_passages(film(400, cuts=frozenset({200})), 1000)
    assert not {t.id for t in parts[199]} & {t.id for t in parts[200]}


def test_frames_come_in_order_and_none_is_lost() -> None:
    for frames in (100, 333, 5000):
        assert len(in_passages(film(777), frames)) == 777


def test_a_passage_holds_a_bounded_number_of_frames() -> None:
    passages = Passages(SETTINGS, SIZE, 0.3, 200)
    held = []
    for seen in film(1500):
        passages.push(seen)
        held.append(len(passages._seen))
    assert max(held) < 600


def test_a_frame_that_nobody_looked_at_is_covered_whole() -> None:
    observations = [Observation(n, Fraction(n, 25), () if n < 20 else None, cut=n == 20) for n in range(22)]
    parts = in_passages(observations, 1000)
    assert [any(fills(t.box, SIZE) for t in tracks) for tracks in parts] == [False] * 20 + [True] * 2


def test_an_empty_file_gives_nothing() -> None:
    assert in_passages([], 100) == []

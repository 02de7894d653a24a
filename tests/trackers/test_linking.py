from fractions import Fraction
from itertools import pairwise

from veilcast.config import Tracking
from veilcast.trackers import kalman
from veilcast.trackers.base import Observation
from veilcast.trackers.life import Hit, Life
from veilcast.trackers.linking import bridge, extend_back
from veilcast.types import Box, Face

RATE = 25


def box(x: float, side: float = 40) -> Box:
    return Box(x - side / 2, 100 - side / 2, x + side / 2, 100 + side / 2)


def life(id: int, *seen: tuple[int, float], segment: int = 0, side: float = 40) -> Life:
    """A track that was detected at these (frame, x)."""
    hits = [Hit(n, Fraction(n, RATE), Face(box(x, side), 0.9), box(x, side)) for n, x in seen]
    state = kalman.start(hits[0].face.box)
    for before, hit in pairwise(hits):
        state = kalman.update(kalman.predict(state, float(hit.time - before.time)), hit.face.box)
    return Life(id, segment, hits, state, seen=len(hits))


def walked(id: int, first: int, last: int, segment: int = 0, side: float = 40) -> Life:
    """Somebody who walks 4 px a frame, seen from one frame to another."""
    return life(id, *((n, 100 + 4 * n) for n in range(first, last + 1)), segment=segment, side=side)


def frames(lives: list[Life]) -> list[list[int]]:
    return [[hit.index for hit in life.hits] for life in lives]


def test_a_face_that_goes_on_where_it_would_be_is_one_track_under_the_earlier_id() -> None:
    joined = bridge([walked(1, 0, 10), walked(2, 20, 30)], Tracking())
    assert [life.id for life in joined] == [1]
    assert frames(joined) == [[*range(11), *range(20, 31)]]
    assert joined[0].seen == 22


def test_a_chain_of_gaps_is_one_track() -> None:
    joined = bridge([walked(1, 0, 10), walked(2, 15, 25), walked(3, 30, 40)], Tracking())
    assert [life.id for life in joined] == [1]


def test_a_gap_that_is_too_long_or_holds_a_cut_is_not_bridged() -> None:
    assert len(bridge([walked(1, 0, 10), walked(2, 40, 50)], Tracking(bridge_s=1.0))) == 2
    assert len(bridge([walked(1, 0, 10), walked(2, 12, 20, segment=1)], Tracking())) == 2


def test_another_size_is_another_face() -> None:
    assert len(bridge([walked(1, 0, 10), walked(2, 15, 25, side=100)], Tracking())) == 2


def test_tracks_at_the_same_time_stay_two() -> None:
    assert len(bridge([walked(1, 0, 20), walked(2, 10, 30)], Tracking())) == 2


def test_the_nearest_of_two_goes_on() -> None:
    stranger = life(3, *((n, 145 + 4 * (n - 20)) for n in range(20, 31)))
    joined = bridge([walked(1, 0, 10), walked(2, 20, 30), stranger], Tracking())
    assert {life.id: life.hits[-1].face.box.centre[0] for life in joined} == {1: 220, 3: 185}


def seen(weak: dict[int, float], cut: int | None = None) -> list[Observation]:
    """Thirty frames with weak detections at x."""
    return [
        Observation(n, Fraction(n, RATE), (Face(box(weak[n]), 0.2),) if n in weak else (), n == cut)
        for n in range(30)
    ]


def test_a_track_begins_with_the_weak_detections_that_led_to_it() -> None:
    track = walked(1, 15, 25)
    extend_back([track], seen({n: 100 + 4 * n for n in range(8, 15)}), Tracking())
    assert track.hits[0].index == 8
    assert track.seen == 11 + 7


def test_weak_detections_elsewhere_or_long_before_are_not_its_own() -> None:
    track = walked(1, 25, 29)
    extend_back([track], seen({24: 600.0, 5: 120.0}), Tracking(lead_s=0.4))
    assert track.hits[0].index == 25


def test_a_track_does_not_go_back_over_a_cut() -> None:
    track = walked(1, 15, 25)
    extend_back([track], seen({n: 100 + 4 * n for n in range(8, 15)}, cut=12), Tracking())
    assert track.hits[0].index == 12


def test_a_weak_detection_belongs_to_one_track() -> None:
    one, other = walked(1, 15, 25), life(2, *((n, 104 + 4 * n) for n in range(15, 26)))
    extend_back([one, other], seen({14: 157.0}), Tracking())
    assert sorted([one.hits[0].index, other.hits[0].index]) == [14, 15]

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from veilcast.config import Tracking
from veilcast.trackers.online import KalmanTracker
from veilcast.types import Box, Face, Track, TrackState

SIZE = (640, 360)
RATE = 25


def face(x: float, y: float = 180, side: float = 40, score: float = 0.9) -> Face:
    return Face(Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2), score)


def run(
    frames: Sequence[Sequence[Face] | None], settings: Tracking | None = None, rate: int = RATE
) -> list[tuple[Track, ...]]:
    tracker = KalmanTracker(settings or Tracking(), SIZE, strong=0.3)
    return [tracker.update(n, Fraction(n, rate), faces) for n, faces in enumerate(frames)]


def ids(tracks: Sequence[Track]) -> list[int]:
    return [track.id for track in tracks]


def test_a_face_counts_from_its_first_detection() -> None:
    ((track,),) = run([[face(100)]])
    assert track.state is TrackState.TENTATIVE
    assert track.score == 0.9


def test_a_face_seen_three_times_is_confirmed() -> None:
    assert [tracks[0].state for tracks in run([[face(100 + n)] for n in range(4)])] == [
        *[TrackState.TENTATIVE] * 2,
        *[TrackState.CONFIRMED] * 2,
    ]


def test_a_weak_detection_prolongs_a_track_but_starts_none() -> None:
    out = run([[face(100, score=0.2)], [face(100)], [face(100, score=0.2)]])
    assert [len(tracks) for tracks in out] == [0, 1, 1]
    assert out[2][0].score == 0.2


def test_a_strong_detection_is_matched_before_a_weak_one() -> None:
    out = run([[face(100)], [face(102)], [face(104, score=0.2), face(109)]])
    assert [track.score for track in out[-1]] == [0.9]


def test_a_missed_face_is_carried_on_with_a_growing_box() -> None:
    out = run([[face(100 + 4 * n)] for n in range(10)] + [[]] * 10)
    coasting = [tracks[0] for tracks in out[10:]]
    assert {track.state for track in coasting} == {TrackState.COASTING}
    assert [track.misses for track in coasting] == list(range(1, 11))
    widths = [track.box.width for track in coasting]
    assert widths == sorted(widths)
    assert widths[-1] > 1.3 * 40
    for n, track in enumerate(coasting, 10):
        assert track.box.intersection(face(100 + 4 * n).box) > 0.9 * 1600


def test_a_frame_not_looked_at_is_no_miss() -> None:
    out = run([[face(100 + n)] if n % 5 == 0 else None for n in range(50)])
    assert all(len(tracks) == 1 and tracks[0].misses == 0 for tracks in out)
    assert {track.id for tracks in out for track in tracks} == {1}


@pytest.mark.parametrize("rate", [10, 25, 60])
def test_a_track_coasts_for_the_same_time_at_any_frame_rate(rate: int) -> None:
    seen = [[face(100)] for _ in range(rate)]
    out = run(seen + [[] for _ in range(4 * rate)], Tracking(coast_s=1.0, hold_s=0.5), rate)
    covered_s = sum(bool(tracks) for tracks in out[rate:]) / rate
    assert covered_s == pytest.approx(1.5, abs=1.1 / rate)


def test_a_track_lost_in_the_middle_says_so_and_one_that_left_does_not() -> None:
    middle = run([[face(300)] for _ in range(25)] + [[]] * 60)
    left = run([[face(60 - 2.4 * n)] for n in range(25)] + [[]] * 60)
    assert TrackState.LOST in {track.state for tracks in middle for track in tracks}
    assert TrackState.LOST not in {track.state for tracks in left for track in tracks}


def test_crossing_faces_keep_their_ids() -> None:
    pairs = [[face(100 + 8 * n, 170), face(400 - 8 * n, 200)] for n in range(36)]
    out = run([pair if n % 2 else pair[::-1] for n, pair in enumerate(pairs, 1)])
    assert {tuple(sorted(ids(tracks))) for tracks in out} == {(1, 2)}
    first = {track.id: track.box.centre[0] for track in out[0]}
    last = {track.id: track.box.centre[0] for track in out[-1]}
    assert first[1] < first[2]
    assert last[1] > last[2]


def test_fast_faces_are_followed_over_frames_not_looked_at() -> None:
    out = run([[face(50 + 8 * n)] if n % 4 == 0 else None for n in range(60)])
    assert {track.id for tracks in out for track in tracks} == {1}


def test_a_new_face_that_races_past_is_one_track() -> None:
    """Eleven heads a second, looked at six times a second: somebody close to a camera that turns."""
    out = run([[face(60 + 18 * n)] if n % 4 == 0 else None for n in range(24)])
    assert {track.id for tracks in out for track in tracks} == {1}


def test_a_new_face_does_not_take_the_detection_of_a_known_one() -> None:
    known = [face(200 + 2 * n) for n in range(12)]
    out = run([[item] for item in known[:10]] + [[known[10], face(290)], [known[11]]])
    assert [track.id for track in out[-1] if track.misses == 0] == [1]


def test_a_duplicate_widens_the_cover_and_starts_no_track() -> None:
    ((track,),) = run([[face(100), face(106, score=0.8)]])
    assert track.box.x0 <= 80
    assert track.box.x1 >= 126


def test_a_cut_ends_all_tracks() -> None:
    tracker = KalmanTracker(Tracking(), SIZE)
    for n in range(5):
        tracker.update(n, Fraction(n, RATE), [face(100)])
    tracker.cut()
    assert tracker.update(5, Fraction(5, RATE), []) == ()
    assert ids(tracker.update(6, Fraction(6, RATE), [face(100)])) == [2]


def test_ids_are_counted_for_each_tracker() -> None:
    one, other = KalmanTracker(Tracking(), SIZE), KalmanTracker(Tracking(), SIZE)
    assert ids(one.update(0, Fraction(0), [face(100), face(300)])) == [1, 2]
    assert ids(other.update(0, Fraction(0), [face(100)])) == [1]


def test_landmarks_are_carried_with_the_box() -> None:
    points = np.array([[90, 170], [110, 170], [100, 180], [92, 190], [108, 190]], np.float32)
    seen = Face(face(100).box, 0.9, points)
    later = run([[seen], [seen], []])[-1][0]
    assert later.landmarks is not None
    assert later.landmarks == pytest.approx(points, abs=2)


def test_an_infinite_box_is_covered_and_breaks_nothing() -> None:
    out = run([[Face(Box(-np.inf, 0, np.inf, 360), 0.9)], [face(100)], [face(100)]])
    assert out[0][0].box.width >= SIZE[0]
    assert all(np.isfinite([t.box.x0, t.box.x1]).all() for tracks in out for t in tracks)


def test_a_score_without_sense_counts_as_a_face() -> None:
    assert len(run([[face(100, score=float("nan"))]])[0]) == 1

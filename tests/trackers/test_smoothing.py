from collections.abc import Sequence
from fractions import Fraction
from math import ceil

import pytest

from veilcast.config import Tracking
from veilcast.trackers.base import Observation
from veilcast.trackers.beside import LookAhead
from veilcast.trackers.smoothing import smooth, unknown
from veilcast.types import Box, Face, Track, TrackState

SIZE = (640, 360)
RATE = 25


def face(x: float, y: float = 180, side: float = 40, score: float = 0.9) -> Face:
    return Face(Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2), score)


def seen(
    frames: Sequence[Sequence[Face] | None], cuts: Sequence[int] = (), rate: int = RATE
) -> list[Observation]:
    return [
        Observation(n, Fraction(n, rate), None if faces is None else tuple(faces), n in cuts)
        for n, faces in enumerate(frames)
    ]


def run(frames: Sequence[Sequence[Face] | None], cuts: Sequence[int] = ()) -> list[tuple[Track, ...]]:
    return smooth(seen(frames, cuts), Tracking(), SIZE, strong=0.3)


def covered(out: Sequence[Sequence[Track]]) -> list[int]:
    """The frames with a track."""
    return [n for n, tracks in enumerate(out) if tracks]


def held(tracks: Sequence[Track], truth: Face) -> bool:
    """Whether a box holds nine tenths of the face."""
    return any(track.box.intersection(truth.box) >= 0.9 * truth.box.area for track in tracks)


def test_cover_leads_the_first_detection_and_lags_the_last() -> None:
    out = run([[]] * 30 + [[face(300)]] * 10 + [[]] * 40)
    lead, lag = round(Tracking().lead_s * RATE), round((Tracking().lag_s + Tracking().hold_s) * RATE)
    assert covered(out) == list(range(30 - int(lead), 39 + int(lag) + 1))


def test_a_lone_detection_is_kept_and_covered_around_its_time() -> None:
    out = run([[]] * 30 + [[face(300)]] + [[]] * 30)
    lone = int(Tracking().lone_s * RATE)
    assert covered(out) == list(range(30 - lone, 30 + lone + 1))
    assert out[30][0].state is TrackState.TENTATIVE


@pytest.mark.parametrize("score", [0.9, float("nan")])
def test_one_clear_detection_gives_a_track_its_whole_lead_and_lag(score: float) -> None:
    """Of a score without sense nobody knows that it is low."""

    def spans(clearest: float) -> list[int]:
        scores = [0.5, 0.5, clearest, 0.5]
        return covered(run([[]] * 30 + [[face(300, score=s)] for s in scores] + [[]] * 40))

    settings = Tracking()
    hold = settings.hold_s
    first, last = 30 - settings.lead_s * RATE, 33 + (settings.lag_s + hold) * RATE
    assert spans(score) == list(range(int(first), int(last) + 1))
    first, last = 30 - settings.doubt_s * RATE, 33 + (settings.doubt_s + hold) * RATE
    assert spans(0.7) == list(range(ceil(first), int(last) + 1))


@pytest.mark.parametrize("length", [1, 2, 5, 15])
def test_a_dropout_is_bridged_where_the_face_is(length: int) -> None:
    path = [face(100 + 4 * n, side=40 + n / 3) for n in range(80)]
    out = run([[] if 40 <= n < 40 + length else [path[n]] for n in range(80)])
    assert all(held(out[n], path[n]) for n in range(80))
    assert {track.id for tracks in out for track in tracks} == {1}
    assert {out[n][0].state for n in range(40, 40 + length)} == {TrackState.SMOOTHED}


def test_a_gap_longer_than_a_track_lives_is_one_track_still() -> None:
    settings = Tracking(coast_s=0.2, bridge_s=1.0, hold_s=0.0)
    path = [face(100 + 4 * n) for n in range(80)]
    frames = seen([[] if 40 <= n < 55 else [path[n]] for n in range(80)])
    out = smooth(frames, settings, SIZE)
    assert {track.id for tracks in out for track in tracks} == {1}
    assert all(held(out[n], path[n]) for n in range(80))


def test_two_people_far_apart_are_never_joined() -> None:
    out = run([[face(100)]] * 20 + [[]] * 3 + [[face(400)]] * 20)
    assert {track.id for tracks in out for track in tracks} == {1, 2}


def test_frames_not_looked_at_are_interpolated() -> None:
    path = [face(100 + 5 * n) for n in range(60)]
    out = run([[path[n]] if n % 4 == 0 else None for n in range(57)])
    assert all(held(out[n], path[n]) for n in range(57))
    assert {track.misses for tracks in out for track in tracks} == {0}


def test_a_track_goes_back_along_weak_detections() -> None:
    path = [face(100 + 4 * n, score=0.2 if n < 40 else 0.9) for n in range(80)]
    out = run([[path[n]] for n in range(80)])
    assert all(held(out[n], path[n]) for n in range(80))
    assert out[0][0].score == 0.2


def test_somebody_who_enters_is_covered_before_the_first_detection() -> None:
    path = [face(-40 + 6 * n) for n in range(60)]
    out = run([[path[n]] if path[n].box.x0 > 10 else [] for n in range(60)])
    inside = [n for n in range(60) if path[n].box.x1 > 10]
    assert all(held(out[n], path[n]) for n in inside)


def test_between_two_first_detections_far_apart_both_places_are_covered() -> None:
    """They may be one face that raced or two that were each seen once."""
    first, second = face(200), face(268)
    out = run([[first], None, None, None, [second], [], [], []])
    for n in range(1, 4):
        assert held(out[n], first)
        assert held(out[n], second)


def test_a_face_that_races_on_evenly_is_one_and_its_cover_stays_tight() -> None:
    path = [face(60 + 15 * n) for n in range(20)]
    out = run([[path[n]] if n % 4 == 0 else None for n in range(17)])
    assert all(held(out[n], path[n]) for n in range(17))
    assert max(track.box.width for tracks in out for track in tracks) < 2.1 * 40


def test_nothing_crosses_a_cut() -> None:
    out = run([[face(200)]] * 20 + [[face(400)]] * 20, cuts=[20])
    assert all(track.box.x1 < 300 for tracks in out[:20] for track in tracks)
    assert all(track.box.x0 > 300 for tracks in out[20:] for track in tracks)
    late = run([[face(200)]] * 20 + [[]] * 40, cuts=[20])
    assert covered(late) == list(range(20))
    early = run([[]] * 20 + [[face(200)]] * 20, cuts=[20])
    assert covered(early) == list(range(20, 40))


def test_a_face_lost_in_the_middle_says_so_where_it_ends() -> None:
    out = run([[face(300)]] * 20 + [[]] * 60)
    states = [track.state for tracks in out for track in tracks]
    assert states[-1] is TrackState.LOST
    assert TrackState.LOST not in states[:20]


@pytest.mark.parametrize(
    "frames",
    [
        [[face(80 - 3 * n)] for n in range(20)] + [[]] * 60,  # walks out
        [[face(300)]] * 20,  # the video ends
        [[]] * 20 + [[face(300)]] + [[]] * 60,  # seen once: nothing that could be lost
    ],
)
def test_a_face_that_left_or_was_never_sure_is_not_lost(frames: list[list[Face]]) -> None:
    assert TrackState.LOST not in {track.state for tracks in run(frames) for track in tracks}


def test_the_box_in_a_frame_holds_the_raw_detection() -> None:
    jumpy = [face(300 + (12 if n % 2 else -12)) for n in range(30)]
    out = run([[item] for item in jumpy])
    for tracks, item in zip(out, jumpy, strict=True):
        assert any(track.box.intersection(item.box) == pytest.approx(item.box.area) for track in tracks)


def test_a_smoothed_box_is_steadier_than_the_detections() -> None:
    noise = [3, -2, 1, -3, 2, 0, -1, 3, -3, 1] * 5
    out = run([[face(300 + dx)] if n % 2 == 0 else None for n, dx in enumerate(noise[:49])])
    between = [out[n][0].box.centre[0] for n in range(5, 45, 2)]
    assert max(between) - min(between) < 5


def ahead(frames: Sequence[Observation], delay: int) -> dict[int, tuple[Track, ...]]:
    window = LookAhead(Tracking(), SIZE, strong=0.3, frames=delay)
    out = {}
    for observation in frames:
        for index, tracks in window.push(observation):
            assert index == observation.index - delay
            out[index] = tracks
    return out | dict(window.flush())


def test_the_look_ahead_gives_every_frame_once_and_late() -> None:
    assert list(ahead(seen([[face(300)]] * 20), delay=5)) == list(range(20))


def test_the_look_ahead_covers_before_the_first_detection_as_far_as_it_sees() -> None:
    out = ahead(seen([[]] * 20 + [[face(300)]] * 10), delay=5)
    assert covered([out[n] for n in range(30)])[0] == 20 - 5


def test_the_look_ahead_stops_at_a_cut_on_both_sides() -> None:
    out = ahead(seen([[face(200)]] * 20 + [[]] * 3 + [[face(500)]] * 10, cuts=[20]), delay=5)
    assert all(track.box.x1 < 300 for n in range(20) for track in out[n])
    assert all(track.box.x0 > 400 for n in range(20, 33) for track in out[n])
    assert covered([out[n] for n in range(33)]) == list(range(33))


def test_the_look_ahead_with_no_frames_is_causal_and_coasts() -> None:
    out = ahead(seen([[]] * 5 + [[face(300)]] * 10 + [[]] * 40), delay=0)
    ends = int((Tracking().coast_s + Tracking().hold_s) * RATE)
    assert covered([out[n] for n in range(55)]) == list(range(5, 14 + ends + 1))


def test_frames_that_nobody_looked_at_are_unknown() -> None:
    frames = [Observation(n, Fraction(n, RATE), () if n < 5 else None, n in (10, 12)) for n in range(40)]
    expected = [n >= 10 for n in range(40)]
    assert unknown(frames, Tracking(lead_s=0.5)) == expected


def test_cover_that_leads_and_lags_grows_with_doubt() -> None:
    path = {n: face(100 + 4 * n) for n in range(30, 60)}
    out = run([[path[n]] if n in path else [] for n in range(90)])
    seen, before, after = (out[n][0].box for n in (45, 22, 67))
    assert min(before.width, after.width) > 1.1 * seen.width

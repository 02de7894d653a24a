"""Each packet gets the times of its frame, in an order that can be decoded."""

from __future__ import annotations

import itertools

import pytest

from veilcast.pipeline.timeline import Timeline


def timeline(pts: list[int], delay: int = 0, durations: list[int] | None = None) -> Timeline:
    times = Timeline(nominal=40, delay=delay)
    for at, duration in zip(pts, durations or [0] * len(pts), strict=True):
        times.note(at, duration)
    return times


def test_frames_decoded_out_of_order_keep_their_own_pts_and_rising_dts() -> None:
    times = timeline([0, 40, 80, 130], delay=2)
    stamped = [times.stamp(number) for number in (0, 3, 1, 2)]
    assert [pts for pts, _, _ in stamped] == [0, 130, 40, 80]
    assert [dts for _, dts, _ in stamped] == [-80, -40, 0, 40]
    assert all(dts <= pts for pts, dts, _ in stamped)


def test_a_first_frame_that_lasts_long_does_not_put_off_all_others() -> None:
    times = timeline([0, 2000, 2040, 2080, 2120], delay=2)
    stamped = [times.stamp(number) for number in (0, 3, 1, 2, 4)]
    dts = [decoded for _, decoded, _ in stamped]
    assert dts == [-80, -40, 0, 2000, 2040]
    gaps = [after - before for before, after in itertools.pairwise(dts)]
    assert sum(gaps) + times.rest(dts[-1]) == 2120 + 40


def test_a_frame_that_states_how_long_its_decoding_takes_lasts_until_the_next() -> None:
    # as an mp4 with B-frames has it
    times = timeline([0, 40, 2040, 2080], durations=[40, 2000, 2000, 40])
    assert [times.stamp(number)[2] for number in range(4)] == [40, 2000, 40, 40]


@pytest.mark.parametrize(("durations", "told"), [([0, 0, 0], [30, 30, 50]), ([7, 8, 9], [7, 8, 9])])
def test_a_frame_lasts_as_it_states_or_as_long_as_the_gap_before_it(
    durations: list[int], told: list[int]
) -> None:
    times = timeline([100, 130, 180], durations=durations)
    assert [times.stamp(number)[2] for number in range(3)] == told


def test_durations_in_decoding_order_add_up_to_the_whole() -> None:
    times = timeline([0, 40, 80, 130], delay=1, durations=[40, 40, 50, 60])
    stamped = [times.stamp(number) for number in (0, 2, 1, 3)]
    dts = [decoded for _, decoded, _ in stamped]
    gaps = [after - before for before, after in itertools.pairwise(dts)]
    assert sum(gaps) + times.rest(dts[-1]) == 130 + 60


@pytest.mark.parametrize(
    ("keys", "entry"), [([0], None), ([0, 8], 8), ([0, 5, 9], 9), ([0, 15], 15), ([0, 4, 16], None)]
)
def test_a_file_is_entered_at_its_key_frame_nearest_to_the_middle(keys: list[int], entry: int | None) -> None:
    times = timeline(list(range(0, 800, 40)))
    for number in range(20):
        times.stamp(number, number in keys)
    assert times.entry == entry


def test_a_file_without_frames_cannot_be_entered() -> None:
    assert timeline([]).entry is None

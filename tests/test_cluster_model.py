"""The model of a cluster: it keeps the books, and names what is full."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from benchmarks.cluster import Times, feeding, simulate

TIMES = Times()


def test_one_actor_takes_the_sum_of_its_work() -> None:
    times = replace(TIMES, message_s=0, journal_s=0, storage_bytes_s=1e18)
    result = simulate(1, 3, 0.1, times)
    frames = 3 * 0.1 * 3600 * 25
    a_frame = times.scout_s + times.cover_s + times.join_s + times.verify_s
    assert result.wall_h * 3600 == pytest.approx(frames * a_frame, rel=1e-6)
    assert result.busy == pytest.approx(1)


def test_actors_are_busy_up_to_a_hundred_and_then_something_is_full() -> None:
    for actors in (1, 10, 100):
        assert simulate(actors, 20 * actors, 0.2, TIMES).busy > 0.9
    full = simulate(1000, 10_000, 0.05, TIMES)
    assert full.bottleneck in ("driver", "storage")
    assert full.busy < 0.9


@pytest.mark.parametrize(
    ("slow", "name"), [({"message_s": 0.1}, "driver"), ({"storage_bytes_s": 2e7}, "storage")]
)
def test_what_is_made_slow_is_named(slow: dict[str, Any], name: str) -> None:
    assert simulate(50, 500, 0.1, replace(TIMES, **slow)).bottleneck == name


def test_more_actors_never_take_longer() -> None:
    walls = [simulate(actors, 200, 0.1, TIMES).wall_h for actors in (1, 2, 4, 8, 16, 32)]
    assert walls == sorted(walls, reverse=True)


def test_a_single_file_takes_its_search_however_many_actors_there_are() -> None:
    result = simulate(100, 1, 1.0, TIMES)
    assert result.wall_h * 3600 >= 90_000 * TIMES.scout_s
    assert result.bottleneck == "the last files"


def test_gpus_that_are_fed_by_too_many_hold_them_up_and_are_named() -> None:
    """Work that one GPU can do in seven tenths of the time leaves actors busy; twice as much does not."""
    fed = feeding(TIMES)
    enough = simulate(fed, 20 * fed, 0.1, TIMES, gpus=1, spread=0.8)
    too_many = simulate(3 * fed, 60 * fed, 0.1, TIMES, gpus=1, spread=0.8)
    assert enough.busy > 0.9
    assert too_many.busy < 0.6
    assert too_many.bottleneck == "GPUs"


def test_files_of_all_lengths_add_up() -> None:
    assert simulate(4, 500, 0.1, TIMES, spread=0.8).hours == pytest.approx(50, rel=0.01)

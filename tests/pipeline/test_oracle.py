"""Canary clips through detector, tracker, cover and gate: no person's code is ever in the output."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from tests.oracle import (
    Canary,
    Person,
    ScriptedDetector,
    face_box,
    leaks,
    misses,
    still,
    visible,
    walk,
)

from veilcast.config import Cover, Tracking
from veilcast.pipeline.cover import regions
from veilcast.pipeline.cuts import CutFinder, small_luma
from veilcast.pipeline.gate import release
from veilcast.pipeline.ledger import Ledger
from veilcast.trackers.base import Observation
from veilcast.trackers.beside import LookAhead
from veilcast.trackers.smoothing import smooth
from veilcast.types import Box, Orientation, PixelFormat, Plane, Track

METHODS = ["solid", "mosaic", "blur"]
STREET = Canary(
    [
        Person(1, walk(40, 90, 60, 5, 40)),
        Person(2, walk(290, 130, -60, 0, 50)),  # crosses the first
        Person(3, walk(340, 200, -50, -5, 26), from_s=1.0),  # enters
    ]
)


def observed(canary: Canary, detector: ScriptedDetector) -> list[Observation]:
    """What the tracker is told, cuts found in the pictures."""
    cuts = CutFinder()
    return [
        replace(observation, cut=cuts.is_cut(small_luma(canary.frame(observation.index))))
        for observation in detector.observations()
    ]


def shown(
    canary: Canary, placed: Sequence[Sequence[Track]], settings: Cover | None = None
) -> Iterator[tuple[int, Plane]]:
    """The luma that leaves the gate, frame by frame."""
    settings = settings or Cover()
    ledger = Ledger()
    for n in range(canary.count):
        frame = canary.frame(n)
        safe = release(frame, regions(placed[n], (), frame.displayed_size, settings), settings, ledger)
        yield n, safe.frame.planes[0]
    ledger.balance(canary.count)


def file(
    canary: Canary, detector: ScriptedDetector, settings: Cover | None = None
) -> list[tuple[int, Plane]]:
    """The whole-file pipeline."""
    placed = smooth(observed(canary, detector), Tracking(), canary.size, strong=0.3)
    return list(shown(canary, placed, settings))


def stream(canary: Canary, detector: ScriptedDetector, frames: int) -> list[tuple[int, Plane]]:
    """The stream pipeline with a look-ahead."""
    window = LookAhead(Tracking(), canary.size, strong=0.3, frames=frames)
    placed: dict[int, tuple[Track, ...]] = {}
    for observation in observed(canary, detector):
        placed.update(window.push(observation))
    placed.update(window.flush())
    return list(shown(canary, [placed[n] for n in range(canary.count)]))


def test_control_every_uncovered_face_is_seen_by_the_oracle() -> None:
    raw = [(n, STREET.frame(n).planes[0]) for n in range(STREET.count)]
    faces = sum(len(visible(STREET, n, luma)) for n, luma in raw)
    assert faces > 200
    assert len(leaks(STREET, raw)) == faces


def test_control_half_a_face_is_seen_by_the_oracle() -> None:
    canary = Canary([Person(1, still(160, 120, 60))], 1)
    luma = canary.frame(0).planes[0]
    luma[:, :150] = 16
    assert leaks(canary, [(0, luma)], threshold=0.4)


@pytest.mark.parametrize("method", METHODS)
def test_no_face_leaks_from_a_street_with_planted_dropouts(method: str) -> None:
    dropouts = misses(1, (10, 1), (20, 2), (30, 5), (50, 15)) | misses(2, (5, 15), (60, 5))
    out = file(STREET, ScriptedDetector(STREET, dropouts), Cover(replacewith=method))
    assert leaks(STREET, out) == []
    assert max(seen for n, luma in out for _, seen in visible(STREET, n, luma)) < 0.45


@pytest.mark.parametrize("every", [2, 3, 5])
def test_no_face_leaks_where_the_detector_looks_at_some_frames_only(every: int) -> None:
    assert leaks(STREET, file(STREET, ScriptedDetector(STREET, every=every))) == []


def test_no_face_leaks_before_it_is_first_detected() -> None:
    late = misses(1, (0, 10)) | misses(2, (0, 10)) | misses(3, (25, 10))
    assert leaks(STREET, file(STREET, ScriptedDetector(STREET, late))) == []


def test_no_face_leaks_after_it_is_last_detected() -> None:
    lost = misses(1, (70, 12)) | misses(2, (88, 12))
    out = file(replace(STREET, count=82), ScriptedDetector(replace(STREET, count=82), lost))
    assert leaks(STREET, out) == []


def test_a_face_detected_once_is_covered_around_that_time() -> None:
    canary = Canary([Person(1, still(160, 120, 40), from_s=0.8, until_s=1.16)], 50)
    seen_once = misses(1, *((n, 1) for n in range(50) if n != 24))
    assert leaks(canary, file(canary, ScriptedDetector(canary, seen_once))) == []


def test_no_face_leaks_while_it_is_detected_weakly() -> None:
    weak = misses(1, (0, 40), (60, 40))
    assert leaks(STREET, file(STREET, ScriptedDetector(STREET, weak=weak))) == []


def test_no_face_leaks_where_people_cross_and_one_is_missed_there() -> None:
    crossing = misses(1, (45, 8))
    assert leaks(STREET, file(STREET, ScriptedDetector(STREET, crossing))) == []


def test_no_face_leaks_while_it_comes_closer() -> None:
    def approach(time: float) -> Box:
        return face_box(160, 120, 24 * 2 ** (time * 0.6))

    canary = Canary([Person(1, approach)], 90)
    detector = ScriptedDetector(canary, misses(1, (30, 5), (60, 10)), every=3)
    assert leaks(canary, file(canary, detector)) == []


def test_no_face_leaks_around_a_hard_cut() -> None:
    def jump(time: float) -> Box:
        return face_box(80, 90, 50) if time < 1.0 else face_box(240, 150, 40)

    canary = Canary([Person(1, jump)], 50, cuts=frozenset({25}))
    around = misses(1, (22, 3), (25, 3))
    assert leaks(canary, file(canary, ScriptedDetector(canary, around))) == []


@pytest.mark.parametrize("rate", [10, 60])
def test_no_face_leaks_at_other_frame_rates(rate: int) -> None:
    canary = replace(STREET, rate=STREET.rate * rate / 25, count=2 * rate)
    planted = misses(1, (rate // 2, rate // 5), (rate, rate // 2))
    assert leaks(canary, file(canary, ScriptedDetector(canary, planted, every=max(1, rate // 10)))) == []


@pytest.mark.parametrize("orientation", [Orientation(1), Orientation(2), Orientation(3, True)])
def test_no_face_leaks_from_a_rotated_video(orientation: Orientation) -> None:
    canary = replace(STREET, orientation=orientation, count=40)
    raw = [(n, canary.frame(n).planes[0]) for n in range(0, 40, 10)]
    assert leaks(canary, raw)
    assert leaks(canary, file(canary, ScriptedDetector(canary))) == []


@pytest.mark.parametrize("name", ["yuv422p10le", "gbrp", "gray"])
def test_no_face_leaks_in_other_pixel_formats(name: str) -> None:
    formats = {
        "yuv422p10le": PixelFormat("yuv422p10le", "yuv", 10, 1, 0),
        "gbrp": PixelFormat("gbrp", "rgb", 8),
        "gray": PixelFormat("gray", "grey", 8),
    }
    canary = replace(STREET, format=formats[name], count=30)
    assert leaks(canary, file(canary, ScriptedDetector(canary))) == []


def test_a_stream_covers_dropouts_by_coasting_and_first_frames_by_looking_ahead() -> None:
    planted = misses(1, (0, 5), (30, 5), (50, 10)) | misses(3, (25, 4))
    assert leaks(STREET, stream(STREET, ScriptedDetector(STREET, planted), frames=8)) == []


def test_control_a_stream_without_look_ahead_shows_the_frames_before_the_first_detection() -> None:
    late = misses(1, (0, 5))
    seen = leaks(STREET, stream(STREET, ScriptedDetector(STREET, late), frames=0))
    assert sorted(leak.frame for leak in seen) == list(range(5))


def test_little_is_covered_where_there_is_no_face() -> None:
    """At most 5 % of the covered area lies outside twice a true box, leads and lags included."""
    canary = replace(STREET, count=60)
    placed = smooth(ScriptedDetector(canary, every=3).observations(), Tracking(), canary.size, strong=0.3)
    covered = false = 0
    for n, luma in shown(canary, placed):
        changed = luma != canary.frame(n).planes[0]
        covered += int(np.count_nonzero(changed))
        for _, box in canary.present(n):
            near = box.scaled(2)
            rows = slice(max(0, int(near.y0)), max(0, int(near.y1)))
            changed[rows, max(0, int(near.x0)) : max(0, int(near.x1))] = False
        false += int(np.count_nonzero(changed))
    assert covered > 0
    assert false <= 0.05 * covered

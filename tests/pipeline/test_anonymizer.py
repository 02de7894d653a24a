"""Frames pushed one by one come back covered, in order, and the caller's own pictures stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest

from veilcast.config import Config
from veilcast.errors import ConfigError, EngineError
from veilcast.pipeline.anonymizer import Anonymizer
from veilcast.pipeline.detect import FaceFinder
from veilcast.pipeline.drawn import drawn
from veilcast.types import Frame, Rgb

FACE = (slice(115, 145), slice(115, 140))  # well inside the drawn face


def film(frames: int, first: int = 0) -> Iterator[Rgb]:
    """An empty wall; the drawn face appears in frame `first`."""
    face = drawn()
    wall = np.full_like(face, (120, 125, 130))
    for n in range(frames):
        yield face if n >= first else wall


def is_covered(rgb: Rgb) -> bool:
    return bool(np.all(rgb[FACE] == 0))


def test_every_picture_comes_back_covered_and_in_order() -> None:
    with Anonymizer(Config(), rate=10, look_ahead_s=0.5) as anonymizer:
        back = [anonymizer.push(rgb) for rgb in film(12)]
        rest = anonymizer.flush()
    assert [len(safe) for safe in back] == [0] * 5 + [1] * 7
    assert len(rest) == 5
    assert all(is_covered(rgb) for safe in [*back, rest] for rgb in safe)


def test_the_look_ahead_covers_a_face_before_it_is_seen() -> None:
    with Anonymizer(Config(), rate=10, look_ahead_s=0.5) as anonymizer:
        safe = [
            rgb for picture in film(20, first=10) for rgb in anonymizer.push(picture)
        ] + anonymizer.flush()
    covered = [is_covered(rgb) for rgb in safe]
    assert all(covered[10:])
    assert any(covered[6:10])
    assert not any(covered[:4])


def test_causal_processing_gives_each_picture_back_at_once() -> None:
    with Anonymizer(Config(), rate=10) as anonymizer:
        assert all(is_covered(anonymizer.process(rgb)) for rgb in film(4))


def test_the_callers_picture_is_not_touched() -> None:
    face = drawn()
    with Anonymizer(Config(), rate=10) as anonymizer:
        anonymizer.process(face)
    assert np.array_equal(face, drawn())


def test_after_a_failed_look_faces_are_covered_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    face, wall = drawn(), np.full_like(drawn(), (120, 125, 130))
    find, looks = FaceFinder.find, iter([False, False, False, True])

    def failing(finder: FaceFinder, frame: Frame) -> object:
        if next(looks, False):
            raise EngineError("the network failed")
        return find(finder, frame)

    monkeypatch.setattr(FaceFinder, "find", failing)
    moving = [np.roll(wall if n < 3 else face, 12 * n - 60, axis=1) for n in range(12)]
    safe: list[Rgb] = []
    with Anonymizer(Config(), rate=10, look_ahead_s=0.3) as anonymizer:
        for rgb in moving:
            with suppress(EngineError):
                safe += anonymizer.push(rgb)
        safe += anonymizer.flush()
    shown = [*range(3), *range(4, 12)]  # all but the one that nobody could look at
    assert len(safe) == len(shown)
    for n, rgb in zip(shown[4:], safe[4:], strict=True):
        assert is_covered(np.roll(rgb, 60 - 12 * n, axis=1)), n


def test_pictures_of_one_stream_have_one_size() -> None:
    with Anonymizer(Config(), rate=10) as anonymizer:
        anonymizer.process(drawn())
        with pytest.raises(ConfigError, match="one size"):
            anonymizer.process(drawn()[:-10])


@pytest.mark.parametrize(
    "rgb", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32)]
)
def test_what_is_not_a_picture_is_refused(rgb: np.ndarray) -> None:
    with Anonymizer(Config()) as anonymizer, pytest.raises(ConfigError, match="uint8 RGB"):
        anonymizer.push(rgb)


def test_outside_its_block_it_does_not_work() -> None:
    with pytest.raises(ConfigError, match="with block"):
        Anonymizer(Config()).push(drawn())


def test_the_package_offers_it_by_name() -> None:
    import veilcast

    assert veilcast.Anonymizer is Anonymizer
    with pytest.raises(AttributeError, match="nonsense"):
        _ = veilcast.nonsense

"""People who pass a camera one after another: who is met, and who is forgotten."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from tests.live_media import CLIP

from veilcast.pipeline.live_faces import REMEMBERED, TRIES, LiveFaces
from veilcast.pipeline.overload import Level
from veilcast.types import Box, Frame, Track, TrackState

FRAME = CLIP.frame(0)


class Nobody:
    """A studio in which nobody is ever seen well enough, but for those of `meets`."""

    def __init__(self, meets: Collection[int] = ()) -> None:
        self._meets, self.known = meets, set[int]()
        self.looks: list[int] = []

    def forget(self, keep: Sequence[int] = ()) -> None:
        self.known &= set(keep)

    def meet_one(self, frame: Frame, track: Track, nonce: bytes) -> None:
        self.looks.append(track.id)
        self.known |= {track.id} & set(self._meets)

    def next_painters(self, frame: Frame, tracks: Sequence[Track], hurry: bool = False) -> dict[int, object]:
        return {}


def seen(number: int) -> Track:
    landmarks = np.zeros((5, 2), np.float32)
    return Track(number, Box(10, 10, 60, 60), landmarks, TrackState.CONFIRMED, 0, score=0.9)


def shown(faces: LiveFaces, *numbers: int) -> None:
    faces.painters(FRAME, [seen(number) for number in numbers], Level.FULL)


def test_looks_at_people_who_have_gone_are_forgotten() -> None:
    """Months on one connection: what is remembered does not grow with everybody who ever passed."""
    faces = LiveFaces(Nobody(), b"nonce")  # type: ignore[arg-type]
    for number in range(5 * REMEMBERED):
        shown(faces, number)
        assert len(faces._tries) <= REMEMBERED + 1


def test_whoever_stays_is_not_looked_at_anew_because_others_are_forgotten() -> None:
    studio = Nobody()
    faces = LiveFaces(studio, b"nonce")  # type: ignore[arg-type]
    for number in range(1, 3 * REMEMBERED):
        shown(faces, 0, number)
    assert studio.looks.count(0) == TRIES


def test_personas_of_people_who_have_gone_are_forgotten() -> None:
    studio = Nobody(range(10 * REMEMBERED))
    faces = LiveFaces(studio, b"nonce")  # type: ignore[arg-type]
    for number in range(3 * REMEMBERED):
        shown(faces, number)
        assert len(studio.known) <= REMEMBERED + 1

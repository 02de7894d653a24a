"""The tracker: forward in time, one frame after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from veilcast.config import Tracking
from veilcast.trackers import kalman
from veilcast.trackers.assignment import assign, distances, hull, same_face
from veilcast.trackers.life import Hit, Ids, Life
from veilcast.types import Box, Face, Track


class KalmanTracker:
    """Two-stage association as in ByteTrack (Zhang et al., ECCV 2022): strong detections are matched
    first and start tracks, weak ones prolong tracks that are left. Every track counts as a face from
    its first detection on.

    settings: times and growth; size: (width, height) of the displayed picture; strong: the score from
    which a detection starts a track; retired: called with each life that ended.
    """

    def __init__(
        self,
        settings: Tracking,
        size: tuple[int, int],
        strong: float = 0.0,
        history: int | None = 1,
        retired: Callable[[Life], None] = lambda life: None,
    ) -> None:
        self.lives: list[Life] = []
        self._settings = settings
        self._size = size
        self._strong = strong
        self._history = history  # hits to remember a track; None = all
        self._retired = retired
        self._ids = Ids()
        self._segment = 0

    def update(self, index: int, time: Fraction, faces: Sequence[Face] | None) -> tuple[Track, ...]:
        """The tracks in this frame: seen, coasting, and LOST for those that coasted too long in the
        middle of the picture."""
        self.advance(index, time, faces)
        return tuple(life.snapshot(index, time, self._settings, self._size) for life in self.lives)

    def advance(self, index: int, time: Fraction, faces: Sequence[Face] | None) -> None:
        """`update` for those who read `lives` instead of snapshots."""
        if faces is not None:
            self._associate(index, time, [_clipped(face, self._size) for face in faces])
        for life in [life for life in self.lives if life.is_over(time, self._settings, self._size)]:
            self.lives.remove(life)
            self._retired(life)

    def cut(self) -> None:
        """Ends all tracks; a face of the next frame is a new one."""
        for life in self.lives:
            self._retired(life)
        self.lives = []
        self._segment += 1

    def _associate(self, index: int, time: Fraction, faces: list[Face]) -> None:
        weak = [face for face in faces if face.score < self._strong]
        strong = [face for face in faces if not face.score < self._strong]  # one without sense counts
        moving = [life for life in self.lives if life.seen > 1]
        fresh = [life for life in self.lives if life.seen == 1]  # may be anywhere by now: they choose last
        moving, strong = self._match(index, time, moving, strong)
        fresh, strong = self._match(index, time, fresh, strong)
        waiting, weak = self._match(index, time, moving + fresh, weak)
        for life in waiting:
            life.misses += 1
        for face in strong + weak:
            self._place_spare(Hit(index, time, face, face.box))
        self._trim()

    def _match(
        self, index: int, time: Fraction, lives: list[Life], faces: list[Face]
    ) -> tuple[list[Life], list[Face]]:
        """Gives detections to lives; returns the lives and the detections that are left."""
        pairs = assign(distances([life.place(time) for life in lives], [face.box for face in faces]))
        for row, column in pairs:
            lives[row].see(Hit(index, time, faces[column], faces[column].box))
        seen, taken = {row for row, _ in pairs}, {column for _, column in pairs}
        return (
            [life for n, life in enumerate(lives) if n not in seen],
            [face for n, face in enumerate(faces) if n not in taken],
        )

    def _place_spare(self, hit: Hit) -> None:
        """A detection without a track: a duplicate widens the cover of its face, another starts a track."""
        for life in self.lives:
            if life.last.index == hit.index and same_face(life.last.face.box, hit.face.box):
                last = life.last
                life.hits[-1] = Hit(last.index, last.time, last.face, hull([last.cover, hit.cover]))
                return
        if not hit.face.score < self._strong:
            self.lives.append(Life(self._ids.take(), self._segment, [hit], kalman.start(hit.face.box)))

    def _trim(self) -> None:
        if self._history is not None:
            for life in self.lives:
                del life.hits[: -self._history]


def _clipped(face: Face, size: tuple[int, int]) -> Face:
    """The face with its box cut to a picture's width or height around the picture, so that nothing
    infinite reaches the filter."""
    width, height = size
    box = face.box
    x0, x1 = (min(max(x, -width), 2 * width) for x in (box.x0, box.x1))
    y0, y1 = (min(max(y, -height), 2 * height) for y in (box.y0, box.y1))
    if (x0, y0, x1, y1) == (box.x0, box.y0, box.x1, box.y1):
        return face
    return Face(Box(x0, y0, x1, y1), face.score, face.landmarks, face.detector)

"""What gives way when a machine cannot keep up, in this order and no other: fewer detection scales, fewer
sampler steps (and smaller scales), solid cover, slate. The source itself is never an answer."""

from __future__ import annotations

from enum import IntEnum

HIGH = 0.6  # of the latency allowed, from which a frame counts as late
LOW = 0.3  # below which there is room
LATE_FRAMES = 3  # in a row before something gives way
CALM_S = 3.0  # without a late frame before it comes back
RELAPSE = 2.0  # how much longer the calm must be after each relapse
MOST_CALM_S = 60.0


class Level(IntEnum):
    FULL = 0
    SCALES = 1  # small faces are looked for by the light network alone, at the picture's own size
    STEPS = 2  # large pictures are looked at in half their size; synthetic faces are made in one step
    SOLID = 3  # no generated faces
    SLATE = 4  # nothing is looked at: the whole picture is covered


class Overload:
    """The level, from the delays of the frames, one after the other.

    limit_s: the latency allowed, arrival to output. A step that was taken back too early is kept longer
    the next time, so that the level does not swing.
    """

    def __init__(self, limit_s: float, top: Level = Level.SLATE) -> None:
        self._limit_s, self._top = limit_s, top
        self.level = Level.FULL
        self._late = 0
        self._calm_since_s: float | None = None
        self._calm_s = CALM_S
        self._eased_s = float("-inf")

    def saw(self, delay_s: float, now_s: float) -> Level:
        """Takes the delay that a frame has beyond its look-ahead, and the time."""
        if delay_s > HIGH * self._limit_s:
            self._late += 1
            self._calm_since_s = None
            if self._late >= LATE_FRAMES and self.level < self._top:
                self._worse(now_s)
        elif delay_s < LOW * self._limit_s:
            self._late = 0
            if self._calm_since_s is None:
                self._calm_since_s = now_s
            if self.level > Level.FULL and now_s - self._calm_since_s >= self._calm_s:
                self._better(now_s)
        return self.level

    def _worse(self, now_s: float) -> None:
        self.level = Level(self.level + 1)
        self._late = 0
        relapsed = now_s - self._eased_s < 2 * self._calm_s
        self._calm_s = min(self._calm_s * RELAPSE, MOST_CALM_S) if relapsed else CALM_S

    def _better(self, now_s: float) -> None:
        self.level = Level(self.level - 1)
        self._eased_s = self._calm_since_s = now_s

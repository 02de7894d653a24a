"""A camera's clock, brought to one that never stops, jumps or goes back. Pure but for its memory."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from statistics import median

TICKS = 90_000  # a second, of every frame of a live session
BASE = Fraction(1, TICKS)
MAX_STEP_S = 1.0  # between two frames; more is a jump
MAX_DRIFT_S = 1.0  # from the time of arrival
USUAL_S = 0.04  # between two frames, until it is known
MOST_USUAL = 3.0  # usual steps that a slow camera may take between two frames
GAP = 1.7  # usual steps from which frames are missing
MEMORY = 25  # frames


class Clock:
    """Gives each frame its time in ticks since the start of the session, rising from frame to frame.

    As long as the camera's own times make sense they are kept to the tick, moved by a constant. Where
    one is missing, stands, jumps or wraps, or has drifted from the time of arrival, the constant is
    chosen anew. `count` is time as far as the camera alone tells it.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._offset: Fraction | None = None  # seconds from the camera's clock to ours
        self._steps: deque[int] = deque(maxlen=MEMORY)
        self._camera: Fraction | None = None  # the last frame's time as the camera said it
        self._arrived = 0
        self._strides: deque[int] = deque(maxlen=MEMORY)
        self.jumps = 0
        self.gap = False  # whether frames are missing before the last one
        self.count = 0  # ticks by the camera's own count, whenever its frames came: for what moves in them
        self.broken = False  # nobody knows how much time lies before the last frame

    @property
    def usual(self) -> int:
        """Ticks between two frames."""
        return int(median(self._steps)) if self._steps else round(USUAL_S * TICKS)

    def at(self, time: Fraction | None, arrived_s: float) -> int:
        """time: the camera's, in seconds; None = it does not say. arrived_s: since the session began."""
        now = round(arrived_s * TICKS)
        self._stride(time, now)
        self.gap = False
        ticks = self._kept(time, now)
        if ticks is None:
            ticks = self._anew(time, now)
        elif self._last is not None:
            step = ticks - self._last
            self.gap = len(self._steps) >= 5 and step > GAP * self.usual
            self._steps.append(step)
        self._last = ticks
        return ticks

    def moved(self, time: Fraction) -> int | None:
        """Another stream's time on the same camera's clock; None before the first picture."""
        return None if self._offset is None else round((time + self._offset) * TICKS)

    def restart(self) -> None:
        """A new connection: its clock has nothing to do with the last one's. Time goes on."""
        self._offset = None
        self._steps.clear()

    def _stride(self, time: Fraction | None, now: int) -> None:
        """The time between this frame and the one before. A network that holds frames back and lets go of
        them all at once says nothing about it, so the camera's own count is believed where it can be."""
        told = None if time is None or self._camera is None else round((time - self._camera) * TICKS)
        usual = median(self._strides) if self._strides else 0
        self.broken = told is not None and (told < 0 or told > max(MAX_STEP_S * TICKS, MOST_USUAL * usual))
        stride = told if told and not self.broken else max(1, now - self._arrived)
        self._strides.append(stride)
        self.count += stride
        self._camera, self._arrived = time, now

    def _kept(self, time: Fraction | None, now: int) -> int | None:
        """The camera's own time; None where it makes no sense."""
        if time is None or self._offset is None:
            return None
        ticks = round((time + self._offset) * TICKS)
        if abs(ticks - now) > MAX_DRIFT_S * TICKS:
            return None
        if self._last is not None and not 0 < ticks - self._last <= MAX_STEP_S * TICKS:
            return None
        return ticks

    def _anew(self, time: Fraction | None, now: int) -> int:
        if time is None and self._last is not None and 0 <= now - self._last <= MAX_STEP_S * TICKS:
            ticks = self._last + self.usual
            ticks = ticks if abs(ticks - now) <= MAX_DRIFT_S * TICKS else max(now, self._last + 1)
        else:
            ticks = now if self._last is None else max(now, self._last + 1)
        if time is not None:
            self.jumps += self._offset is not None
            self._offset = Fraction(ticks, TICKS) - time
        return ticks

"""How often a process may be restarted before somebody has to look. Pure but for its memory."""

from __future__ import annotations

from collections import deque

from veilcast.errors import ConfigError, ModelCorrupt, ModelMissing, PrivacyTripped, VeilcastError

SPAN_S = 60.0  # in which failures count
FIRST_S, MOST_S = 0.25, 8.0  # before a restart

# what another try cannot mend
FINAL = (ConfigError, ModelMissing, ModelCorrupt, PrivacyTripped)


class Ladder:
    """`most`: restarts within SPAN_S; with one more failure the ladder ends, for good."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._failures: deque[float] = deque()
        self.ended = False

    def failed(self, error: VeilcastError, now_s: float) -> float | None:
        """Seconds to wait before the restart; None = no more: hold the slate and alarm."""
        self._failures.append(now_s)
        while self._failures and now_s - self._failures[0] > SPAN_S:
            self._failures.popleft()
        self.ended = self.ended or isinstance(error, FINAL) or len(self._failures) > self._most
        if self.ended:
            return None
        return float(min(FIRST_S * 2 ** (len(self._failures) - 1), MOST_S))

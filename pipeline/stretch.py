"""A stretch of a file between two of its key frames: several are decoded side by side."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from veilcast.config import Limits
from veilcast.errors import DamagedMedia
from veilcast.pipeline.decode import Decoder
from veilcast.types import Frame


class Stretch(Decoder):
    """The frames from one entry to the next, numbered from `first` on. `start`, `end`: the times in seconds
    of key frames that nothing refers across; None = where the file starts and ends. Whether frames are
    missing is for those to say who have all stretches. Raises what Decoder raises; DamagedMedia also where
    the container does not lead to `start`."""

    def __init__(
        self,
        source: Path,
        limits: Limits,
        start: Fraction | None = None,
        end: Fraction | None = None,
        first: int = 0,
    ) -> None:
        self._from, self._until, self._first = start, end, first
        super().__init__(source, limits, writable=False)

    def _demux(self) -> Iterator[Any]:
        base = self.stream.time_base
        if self._from is not None and base is not None:
            place = round(self._from / base)
            self.container.seek(place, stream=self.stream, backward=True)
        entered = self._from is None
        for packet in super()._demux():
            if packet is None or _begins(packet, self._until):
                break
            entered = entered or _begins(packet, self._from)
            if not entered:
                raise DamagedMedia(f"{self.source} cannot be entered at {float(self._from or 0):g} s")
            yield packet
        yield None

    def _check_complete(self) -> None:
        """The container counts what the whole file has."""

    def _frame(self, index: int, pts: int, decoded: Any, damaged: bool) -> Frame:
        return super()._frame(self._first + index, pts, decoded, damaged)


def _begins(packet: Any, time: Fraction | None) -> bool:
    """Whether it is the key frame of a time, to the tick."""
    if time is None or packet.pts is None or not packet.is_keyframe:
        return False
    return bool(abs(packet.pts - time / packet.time_base) <= Fraction(1, 2))

"""When frames are shown and decoded, in ticks of a stream's time base. Pure.

Encoders count frames; their packets get the source's own times back here, so that no encoder's idea of time
matters.
"""

from __future__ import annotations

from array import array
from itertools import pairwise


class Timeline:
    """The frames of one output, in order. nominal: ticks of a frame at the stream's own rate; `delay`: by how
    many frames decoding goes ahead of showing."""

    def __init__(self, nominal: int, delay: int = 0) -> None:
        self.pts = array("q")
        self.keys = array("q")  # numbers of the frames that are key frames
        self._nominal, self._delay = nominal, delay
        self._durations: dict[int, int] = {}  # frame number -> ticks, until its packet asks
        self._last_duration = 0
        self._packets = 0
        self._pace: int | None = None  # ticks of a frame before the first one; None = no packet was there yet

    def __len__(self) -> int:
        return len(self.pts)

    def note(self, pts: int, duration: int) -> None:
        """The next frame; `duration` 0 = it states none: then as long as the gap before it."""
        self.pts.append(pts)
        self._durations[len(self.pts) - 1] = self._last_duration = duration or self._gap()

    def stamp(self, number: int, is_key: bool = False) -> tuple[int, int, int]:
        """pts, dts and duration of the next packet, which holds frame `number`. Decoding goes through the
        times of presentation, `delay` frames early. Encoders' own times are not used: x265's are wrong for
        short segments."""
        if is_key:
            self.keys.append(number)
        dts = self._decoding_time(self._packets - self._delay)
        self._packets += 1
        duration = self._durations.pop(number)
        if number + 1 < len(self.pts):  # an mp4 states how long until the next one is decoded
            duration = min(duration, self.pts[number + 1] - self.pts[number])
        return self.pts[number], dts, duration

    def rest(self, dts: int) -> int:
        """The duration of a last packet, such that all together last as long as all frames do, where they are
        added up in decoding order."""
        whole = self.pts[-1] + self._last_duration - self.pts[0]
        return max(1, whole - (dts - self._decoding_time(-self._delay)))

    @property
    def entry(self) -> int | None:
        """The key frame nearest to the middle, where there is one in the middle half."""
        middle = len(self) / 2
        nearest = min(self.keys, key=lambda number: abs(number - middle), default=0)
        return nearest if nearest and abs(nearest - middle) <= middle / 2 else None

    def forget_durations(self) -> None:
        """Of all frames but the last: nobody will ask."""
        for number in [n for n in self._durations if n < len(self.pts) - 1]:
            del self._durations[number]

    def _gap(self) -> int:
        return self.pts[-1] - self.pts[-2] if len(self.pts) > 1 else self._nominal

    def _decoding_time(self, number: int) -> int:
        """Before the first frame, at the quickest pace of those that are known when the first packet comes:
        what is decoded there must be made up for at the end (`rest`), and the first frame may last long."""
        if number >= 0:
            return self.pts[number]
        if self._pace is None:
            gaps = (after - before for before, after in pairwise(self.pts))
            self._pace = min(self._nominal, *gaps) if len(self.pts) > 1 else self._nominal
        return self.pts[0] + number * self._pace

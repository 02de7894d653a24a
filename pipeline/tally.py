"""What a container gave and what its decoder made of it: end of stream is not completeness. Pure."""

from __future__ import annotations

import bisect


class Tally:
    """Packets that went into a decoder against frames that came out, by their pts.

    `trusted`: whether the container's pts are times of presentation. Where they are not, or there are
    none (avi, mxf), frames take the packets' times in order.
    """

    def __init__(self, trusted: bool) -> None:
        self.packets = 0
        self.discarded = 0  # packets that an edit list hides
        self.frames = 0
        self.lost = 0  # pictures that went in and were passed over by a later one
        self._trusted = trusted
        self._stamped = False  # whether any packet had a pts to trust
        self._owed: list[int] = []  # pts that went in and have not come out yet, sorted
        self._slots: list[int] = []  # while there is no pts to trust: the packets' times, sorted

    def sent(self, pts: int | None, dts: int | None, discarded: bool) -> None:
        self.packets += 1
        self.discarded += discarded
        self._stamped |= pts is not None and self._trusted
        if discarded:
            return
        if pts is not None:
            bisect.insort(self._owed, pts)
        time = dts if pts is None else pts
        if time is not None and not self._stamped:
            bisect.insort(self._slots, time)

    def came(self, pts: int | None) -> list[int]:
        """Notes a frame. Returns the pts that it passed over: pictures that will not come any more."""
        self.frames += 1
        if not self._stamped:
            del self._owed[:1]
            return []
        count = 0 if pts is None else bisect.bisect_right(self._owed, pts)
        over = [owed for owed in self._owed[:count] if owed != pts]
        del self._owed[:count]
        self.lost += len(over)
        return over

    def rest(self) -> list[int]:
        """At the end: the pts that are still owed."""
        return self._owed

    def slot(self) -> int | None:
        """The next frame's time where its own pts is none to trust; None where it is."""
        return self._slots.pop(0) if self._slots and not self._stamped else None

    def shortfall(self, stated: int, indexed: int, in_fields: bool) -> str | None:
        """What is missing, as a clause; None where nothing is. `stated`: the container's own count of
        frames, 0 = none. `indexed`: how many of them its edit list shows. `in_fields`: two packets may
        have made one frame."""
        if not self.frames:
            return f"none of its {self.packets} pictures could be decoded"
        edited = self.discarded > 0 or self.packets >= indexed > 0
        if self.packets < stated and not edited:
            return f"it ends after {self.packets} of the {stated} frames that it states"
        lost = self.lost + len(self._owed)
        if lost and not (in_fields and self.frames * 2 >= self.packets):
            return f"{lost} of its {self.packets} pictures could not be decoded"
        return None

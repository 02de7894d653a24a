"""The one gate between pixels and the encoder: nothing but a `SafeFrame` goes on, and nobody makes one whose
covered regions are not those that the cover wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass

from veilcast import config
from veilcast.errors import PrivacyTripped
from veilcast.pipeline.cover import NO_FACES, Covered, Painter, cover, digest, is_solid, slate
from veilcast.pipeline.ledger import Entry, Fate, Ledger
from veilcast.pipeline.shapes import Region, Whole
from veilcast.types import Frame


@dataclass(frozen=True, slots=True)
class SafeFrame:
    """A frame that may be shown. Making one is the check: the frame has an open entry in the ledger,
    what was covered is what the entry asks for, and its pixels are those that the cover wrote. Anything
    else raises PrivacyTripped. From here on nobody else may touch the buffer.
    """

    covered: Covered
    ledger: InitVar[Ledger]

    def __post_init__(self, ledger: Ledger) -> None:
        frame = self.covered.frame
        _check(self.covered, ledger.look(frame.index))
        ledger.claim(frame.index)
        for plane in frame.planes:
            plane.flags.writeable = False

    @property
    def frame(self) -> Frame:
        return self.covered.frame

    @property
    def index(self) -> int:
        return self.covered.frame.index


def _check(covered: Covered, entry: Entry) -> None:
    index = covered.frame.index
    if not covered.frame.planes:
        raise PrivacyTripped(f"frame {index} has no pixels here that could be checked")
    if fate_of(entry.regions) is not entry.fate:
        raise PrivacyTripped(f"frame {index} is {entry.fate} in the ledger but its regions say otherwise")
    if covered.regions != entry.regions:
        raise PrivacyTripped(f"frame {index} was not covered where the ledger asks for it")
    if covered.frame.damaged and entry.fate is not Fate.SLATED:
        raise PrivacyTripped(f"frame {index} is damaged and was not covered whole")
    if not is_solid(covered.frame, covered.solid):
        raise PrivacyTripped(f"frame {index} shows something inside a solid cover")
    if digest(covered.frame, entry.regions) != covered.digest:
        raise PrivacyTripped(f"frame {index} was changed inside its cover after it was covered")


def fate_of(regions: Sequence[Region]) -> Fate:
    if any(isinstance(region, Whole) for region in regions):
        return Fate.SLATED
    return Fate.REDACTED if regions else Fate.CLEAN


def release(
    frame: Frame,
    regions: tuple[Region, ...],
    settings: config.Cover,
    ledger: Ledger,
    reason: str = "",
    faces: Mapping[int, Painter] = NO_FACES,
) -> SafeFrame:
    """Covers a frame, enters it in the ledger and takes it through the gate. Whatever fails on the
    way, the frame leaves as a slate; where even that fails, PrivacyTripped."""
    wanted = (Whole("damaged"),) if frame.damaged else regions
    ledger.entry(frame.index, fate_of(wanted), reason or _reason(wanted), wanted)
    try:
        covered = cover(frame, wanted, settings, faces)
        if covered.failures:
            ledger.amend(frame.index, fate_of(wanted), _solid_instead(covered.failures), wanted)
        return SafeFrame(covered, ledger)
    except Exception as error:  # noqa: BLE001 - whatever it is, the picture must not pass as it is
        why = f"cover failed: {type(error).__name__}"
    whole = (Whole(why),)
    ledger.amend(frame.index, Fate.SLATED, why, whole)
    return SafeFrame(slate(frame, why), ledger)


def _solid_instead(failures: Sequence[str]) -> str:
    return f"covered solid: {', '.join(sorted(set(failures)))}"


def _reason(regions: Sequence[Region]) -> str:
    return next((region.reason for region in regions if isinstance(region, Whole)), "")

from fractions import Fraction

import numpy as np
import pytest

from veilcast.config import Cover
from veilcast.errors import PrivacyTripped
from veilcast.pipeline import cover as covering
from veilcast.pipeline import gate
from veilcast.pipeline.cover import Covered, Refused, cover, digest
from veilcast.pipeline.gate import SafeFrame, release
from veilcast.pipeline.ledger import Fate, Ledger
from veilcast.pipeline.shapes import Ellipse, Region, Whole
from veilcast.types import Frame, PixelFormat

FACE = Ellipse(30, 30, 12, 15, 1)
OTHER = Ellipse(70, 30, 10, 12, 2)
METHODS = ["solid", "mosaic", "blur"]


def noise(index: int = 0, damaged: bool = False) -> Frame:
    rng = np.random.default_rng(index)
    planes = tuple(rng.integers(30, 220, size).astype(np.uint8) for size in ((64, 96), (32, 48), (32, 48)))
    return Frame(
        index, index, Fraction(1, 25), planes, PixelFormat("yuv420p", "yuv", 8, 1, 1), damaged=damaged
    )


def entered(*regions: Region) -> Ledger:
    ledger = Ledger()
    ledger.entry(0, gate.fate_of(regions), regions=regions)
    return ledger


@pytest.mark.parametrize("method", METHODS)
def test_a_covered_frame_with_an_entry_is_safe(method: str) -> None:
    safe = SafeFrame(cover(noise(), [FACE], Cover(replacewith=method)), entered(FACE))
    assert safe.index == 0


def test_a_frame_without_an_entry_is_refused() -> None:
    with pytest.raises(PrivacyTripped, match="no open entry"):
        SafeFrame(cover(noise(), [FACE], Cover()), Ledger())


def test_a_frame_goes_through_once() -> None:
    ledger, covered = entered(FACE), cover(noise(), [FACE], Cover())
    SafeFrame(covered, ledger)
    with pytest.raises(PrivacyTripped, match="no open entry"):
        SafeFrame(covered, ledger)


def test_a_face_in_the_ledger_that_was_not_covered_is_refused() -> None:
    with pytest.raises(PrivacyTripped, match="not covered where"):
        SafeFrame(cover(noise(), [FACE], Cover()), entered(FACE, OTHER))


def test_a_frame_that_the_ledger_calls_clean_but_has_faces_is_refused() -> None:
    ledger = Ledger()
    ledger.entry(0, Fate.CLEAN, regions=(FACE,))
    with pytest.raises(PrivacyTripped, match="its regions say otherwise"):
        SafeFrame(cover(noise(), [FACE], Cover()), ledger)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("plane", range(3))
def test_one_sample_changed_after_the_cover_is_refused(method: str, plane: int) -> None:
    frame = noise()
    covered = cover(frame, [FACE], Cover(replacewith=method))
    y, x = (30, 30) if plane == 0 else (15, 15)
    frame.planes[plane][y, x] ^= 1
    with pytest.raises(PrivacyTripped):
        SafeFrame(covered, entered(FACE))


def test_a_solid_cover_that_shows_something_is_refused_whatever_its_digest_says() -> None:
    frame = noise()
    forged = Covered(frame, (FACE,), (FACE,), digest(frame, [FACE]))
    with pytest.raises(PrivacyTripped, match="shows something"):
        SafeFrame(forged, entered(FACE))


def test_a_damaged_frame_passes_only_as_a_slate() -> None:
    with pytest.raises(PrivacyTripped, match="damaged"):
        SafeFrame(cover(noise(damaged=True), [FACE], Cover()), entered(FACE))
    safe = release(noise(damaged=True), (FACE,), Cover(), Ledger())
    assert (safe.frame.planes[0] == 16).all()


def test_nobody_writes_into_a_safe_frame() -> None:
    safe = release(noise(), (FACE,), Cover(), Ledger())
    with pytest.raises(ValueError, match="read-only"):
        safe.frame.planes[0][30, 30] = 99


def test_release_states_the_fate() -> None:
    ledger = Ledger()
    cases: list[tuple[Region, ...]] = [(), (FACE,), (Whole("lost"),)]
    for n, wanted in enumerate(cases):
        release(noise(n), wanted, Cover(), ledger)
    assert [stretch.fate for stretch in ledger.stretches] == [Fate.CLEAN, Fate.REDACTED, Fate.SLATED]
    assert ledger.stretches[2].reason == "lost"


def test_the_ledger_says_why_a_face_was_covered_solid_instead() -> None:
    def refused(frame: Frame) -> None:
        raise Refused("too much like the source")

    def broken(frame: Frame) -> None:
        raise ValueError("a message that may quote pixels")

    ledger, face = Ledger(), FACE
    for n, painter in enumerate([refused, refused, broken]):
        release(noise(n), (face,), Cover(replacewith="synthetic"), ledger, faces={1: painter})
    assert [(stretch.first, stretch.last, stretch.reason) for stretch in ledger.stretches] == [
        (0, 1, "covered solid: synthetic failed: too much like the source"),
        (2, 2, "covered solid: synthetic failed: ValueError"),
    ]
    assert {stretch.fate for stretch in ledger.stretches} == {Fate.REDACTED}


def test_what_the_cover_cannot_do_leaves_as_a_slate(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(frame: Frame, region: Region) -> None:
        if not isinstance(region, Whole):
            raise ValueError("a message that may quote pixels")
        original(frame, region)

    original = covering._solid
    monkeypatch.setattr(covering, "_solid", broken)
    ledger = Ledger()
    safe = release(noise(), (FACE,), Cover(), ledger)
    assert (safe.frame.planes[0] == 16).all()
    assert ledger.stretches[0].fate is Fate.SLATED
    assert ledger.stretches[0].reason == "cover failed: ValueError"


def test_where_even_the_slate_fails_nothing_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covering, "_solid", lambda frame, region: None)
    with pytest.raises(PrivacyTripped):
        release(noise(), (FACE,), Cover(), Ledger())

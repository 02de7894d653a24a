import pytest

from veilcast.errors import PrivacyTripped
from veilcast.pipeline.ledger import Fate, Ledger, Stretch
from veilcast.pipeline.shapes import Ellipse

FACE = (Ellipse(10, 10, 5, 5, 1),)


def test_a_balanced_ledger_accounts_for_every_frame() -> None:
    ledger = Ledger()
    for n, fate in enumerate([Fate.CLEAN, Fate.CLEAN, Fate.REDACTED, Fate.SLATED]):
        ledger.entry(n, fate)
        ledger.claim(n)
    ledger.entry(4, Fate.DROPPED, "late")
    ledger.balance(5)
    assert dict(ledger.counts) == {Fate.CLEAN: 2, Fate.REDACTED: 1, Fate.SLATED: 1, Fate.DROPPED: 1}


@pytest.mark.parametrize("frames_in", [1, 3])
def test_a_frame_too_many_or_too_few_trips(frames_in: int) -> None:
    ledger = Ledger()
    for n in range(2):
        ledger.entry(n, Fate.CLEAN)
        ledger.claim(n)
    with pytest.raises(PrivacyTripped, match="does not balance"):
        ledger.balance(frames_in)


def test_an_entry_that_never_reached_the_gate_trips() -> None:
    ledger = Ledger()
    ledger.entry(0, Fate.CLEAN)
    with pytest.raises(PrivacyTripped, match="1 are open"):
        ledger.balance(1)


@pytest.mark.parametrize("index", [0, 2])
def test_frames_are_entered_in_order_and_once(index: int) -> None:
    ledger = Ledger()
    ledger.entry(0, Fate.CLEAN)
    with pytest.raises(PrivacyTripped, match="frame 1 was due"):
        ledger.entry(index, Fate.CLEAN)


def test_an_entry_is_claimed_once() -> None:
    ledger = Ledger()
    ledger.entry(0, Fate.CLEAN)
    ledger.claim(0)
    with pytest.raises(PrivacyTripped, match="no open entry"):
        ledger.claim(0)


def test_an_open_entry_can_become_a_slate_but_a_settled_one_cannot() -> None:
    ledger = Ledger()
    ledger.entry(0, Fate.REDACTED, regions=FACE)
    ledger.amend(0, Fate.SLATED, "cover failed")
    assert ledger.claim(0).fate is Fate.SLATED
    with pytest.raises(PrivacyTripped):
        ledger.amend(0, Fate.CLEAN, "")


def test_stretches_hold_frames_in_a_row_and_memory_does_not_grow() -> None:
    ledger = Ledger()
    for n in range(1000):
        ledger.entry(n, Fate.REDACTED if 100 <= n < 900 else Fate.CLEAN)
        ledger.claim(n)
    assert ledger.stretches == [
        Stretch(0, 99, Fate.CLEAN, ""),
        Stretch(100, 899, Fate.REDACTED, ""),
        Stretch(900, 999, Fate.CLEAN, ""),
    ]

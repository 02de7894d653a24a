"""Pictures that went in against pictures that came out."""

from __future__ import annotations

import pytest

from veilcast.pipeline.tally import Tally


def tally(sent: list[int | None], came: list[int | None], trusted: bool = True, hidden: int = 0) -> Tally:
    made = Tally(trusted)
    for number, pts in enumerate(sent):
        made.sent(pts, number, discarded=number < hidden)
    for pts in came:
        made.came(pts)
    return made


def shortfall(made: Tally, stated: int = 0, indexed: int = 0, in_fields: bool = False) -> str | None:
    return made.shortfall(stated, indexed, in_fields)


def test_frames_may_be_stored_out_of_order() -> None:
    assert shortfall(tally([0, 3, 1, 2], [0, 1, 2, 3]), stated=4) is None


@pytest.mark.parametrize(
    ("sent", "came"), [([0, 1, 2, 3], [0, 2, 3]), ([0, 1, 2, 3], [0, 1, 2]), ([0, 3, 1, 2], [0, 1, 3])]
)
def test_a_picture_that_does_not_come_out_is_missed(sent: list[int | None], came: list[int | None]) -> None:
    assert shortfall(tally(sent, came)) == "1 of its 4 pictures could not be decoded"


def test_what_is_passed_over_is_named() -> None:
    made = tally([0, 3, 1, 2, 4], [0])
    assert made.came(3) == [1, 2]
    assert made.rest() == [4]


def test_fewer_frames_than_the_container_states_are_missed() -> None:
    assert shortfall(tally([0, 1], [0, 1]), stated=3) == "it ends after 2 of the 3 frames that it states"
    assert shortfall(tally([0, 1], [0, 1]), stated=3, indexed=2) is None  # an edit list shows two
    assert shortfall(tally([-1, 0, 1], [0, 1], hidden=1), stated=4) is None


def test_two_fields_may_make_one_frame() -> None:
    fields = tally([0, 1, 2, 3], [0, 2])
    assert shortfall(fields, in_fields=True) is None
    assert shortfall(fields) is not None


def test_not_a_single_frame() -> None:
    assert shortfall(tally([0, 1], [])) == "none of its 2 pictures could be decoded"


def test_frames_without_times_take_those_of_their_packets_in_order() -> None:
    made = tally([None, None, None], [None])
    assert [made.slot(), made.slot(), made.slot(), made.slot()] == [0, 1, 2, None]


def test_times_that_are_only_the_order_of_storage_are_not_trusted() -> None:
    made = Tally(trusted=False)
    for pts in (0, 3, 1, 2):
        made.sent(pts, pts, discarded=False)
    assert [made.slot() for _ in range(4)] == [0, 1, 2, 3]

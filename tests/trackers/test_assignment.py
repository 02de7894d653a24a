import numpy as np

from veilcast.trackers.assignment import FORBIDDEN, assign, distances, hull, same_face
from veilcast.types import Box

FACE = Box(0, 0, 20, 20)


def shifted(dx: float, dy: float = 0, scale: float = 1) -> Box:
    return Box(dx, dy, dx + 20, dy + 20).scaled(scale)


def test_what_lies_too_far_or_is_too_large_is_no_match() -> None:
    costs = distances([(FACE, 0.0)], [shifted(2), shifted(40), shifted(0, scale=3)])
    assert np.isfinite(costs[0, 0])
    assert costs[0, 1] == costs[0, 2] == FORBIDDEN


def test_an_uncertain_prediction_reaches_further_but_not_anywhere() -> None:
    assert np.isfinite(distances([(FACE, 10.0)], [shifted(25)])[0, 0])
    assert distances([(FACE, 0.0)], [shifted(25)])[0, 0] == FORBIDDEN
    assert distances([(FACE, 1e6)], [shifted(60)])[0, 0] == FORBIDDEN


def test_everybody_gets_a_partner_where_that_is_possible() -> None:
    costs = np.array([[0.1, 0.2], [0.2, FORBIDDEN]])
    assert assign(costs) == [(0, 1), (1, 0)]


def test_the_cheapest_pairs_win() -> None:
    assert assign(np.array([[0.1, 0.5], [0.5, 0.1]])) == [(0, 0), (1, 1)]


def test_nobody_is_matched_where_all_is_forbidden() -> None:
    assert assign(np.full((2, 3), FORBIDDEN)) == []
    assert assign(np.zeros((0, 3))) == []
    assert assign(distances([], [FACE])) == []


def test_a_repeated_detection_is_the_same_face() -> None:
    assert same_face(FACE, shifted(3))
    assert same_face(FACE, Box(5, 5, 12, 12))
    assert not same_face(FACE, shifted(15))
    assert not same_face(FACE, Box(3, 3, 3, 3))


def test_the_hull_holds_all() -> None:
    assert hull([FACE, shifted(5, -4)]) == Box(0, -4, 25, 20)

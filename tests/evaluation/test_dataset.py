"""What a set still teaches, on sets that teach a known amount."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from veilcast.errors import EvaluationFailed
from veilcast.evaluation.dataset import FEWEST, accuracy, margin, transfer

Array = NDArray[Any]
LABELS = np.arange(200) % 2 == 0
TRUTH = np.arange(300) % 3 == 0


def faces(labels: Array, seed: int, signal: float = 1.5, size: int = 50) -> Array:
    """Random faces whose first five features tell the attribute."""
    rows = np.random.default_rng(seed).normal(size=(len(labels), size))
    rows[:, :5] += signal * np.where(labels, 1, -1)[:, None]
    return rows


def test_a_set_that_keeps_the_attribute_costs_nothing_and_one_that_loses_it_costs_all() -> None:
    test = faces(TRUTH, 1)
    kept = transfer(faces(LABELS, 0), faces(LABELS, 2), LABELS, test, TRUTH)
    assert kept.from_originals > 0.97
    assert abs(kept.lost_points) < 3
    assert kept.chance == pytest.approx(2 / 3)
    lost = transfer(faces(LABELS, 0), faces(LABELS, 2, signal=0), LABELS, test, TRUTH)
    assert lost.from_anonymised < 0.7
    assert lost.lost_points > 25


def test_the_same_set_twice_teaches_the_same() -> None:
    rows = faces(LABELS, 0)
    assert transfer(rows, rows, LABELS, faces(TRUTH, 1), TRUTH).lost_points == 0


def test_shuffled_labels_teach_nothing() -> None:
    shuffled = np.random.default_rng(3).permutation(LABELS)
    assert accuracy(faces(LABELS, 0), shuffled, faces(TRUTH, 1), TRUTH) < 0.75


def test_a_shift_of_all_pictures_is_the_sets_own_affair() -> None:
    """A style that every anonymised picture has must show as what it costs on real ones."""
    moved = faces(LABELS, 2) + 4
    found = transfer(faces(LABELS, 0), moved, LABELS, faces(TRUTH, 1), TRUTH)
    assert found.lost_points > 10


def test_too_few_pictures_tell_nothing() -> None:
    few = np.arange(200) < FEWEST - 1
    with pytest.raises(EvaluationFailed, match="20 pictures of each"):
        transfer(faces(few, 0), faces(few, 1), few, faces(TRUTH, 1), TRUTH)


def test_margins_of_known_angles() -> None:
    angle = np.radians([0, 10, 60, 100])
    rows = np.stack([np.cos(angle), np.sin(angle)], 1)
    people = ["anna", "anna", "bert", "carl"]
    assert margin(rows, people) == pytest.approx(1 - np.cos(np.radians(40)))  # bert and carl
    turned = np.stack([np.cos(angle + np.radians(30)), np.sin(angle + np.radians(30))], 1)
    assert margin(rows, people, turned) == pytest.approx(1 - np.cos(np.radians(30)))
    assert margin(rows[:2], people[:2]) is None

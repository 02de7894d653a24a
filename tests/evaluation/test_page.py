"""Charts and numbers as a reader sees them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from veilcast.evaluation.page import named, shown
from veilcast.evaluation.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, chart


def points(svg: str) -> list[tuple[float, float]]:
    found = re.search(r'points="([^"]*)"', svg)
    assert found
    return [(float(x), float(y)) for x, y in (p.split(",") for p in found.group(1).split())]


def test_a_curve_runs_from_corner_to_corner() -> None:
    svg = chart({"a": [(0, 0), (5, 0.5), (10, 1)]}, Axis("seconds", 0, 10), Axis("share", 0, 1))
    left, right, bottom = LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM
    assert points(svg) == [(left, bottom), ((left + right) / 2, (TOP + bottom) / 2), (right, TOP)]


def test_a_logarithmic_axis_gives_each_decade_its_space() -> None:
    axis = Axis("rate", 1e-3, 1, log=True)
    assert [axis.place(v) for v in (1e-3, 1e-2, 1e-1, 1)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert axis.ticks() == pytest.approx([1e-3, 1e-2, 1e-1, 1])


def test_values_beyond_the_axis_stay_on_the_paper() -> None:
    svg = chart({"a": [(-5, 7), (50, -7)]}, Axis("x", 0, 10), Axis("y", 0, 1))
    assert points(svg) == [(LEFT, TOP), (WIDTH - RIGHT, HEIGHT - BOTTOM)]


def test_names_of_files_cannot_break_the_page() -> None:
    svg = chart({'<b>"&.mp4': [(0, 0), (1, 1)]}, Axis("x", 0, 1), Axis("y", 0, 1))
    assert "<b>" not in svg
    ElementTree.fromstring(svg)  # well formed


def test_numbers_and_names_are_for_people() -> None:
    assert [shown(v) for v in (None, 3, 0.123456, 1234567.0)] == ["–", "3", "0.1235", "1.235e+06"]
    assert named("pose_error_degrees") == "pose error, degrees"
    assert named("longest_run") == "longest run"

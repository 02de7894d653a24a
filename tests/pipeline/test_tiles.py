"""Tiles: nothing small lies across an edge, and no more is looked at than the whole picture."""

from __future__ import annotations

import numpy as np
import pytest

from veilcast.pipeline import tiles
from veilcast.pipeline.detectors.candidates import Candidates, nothing

SIZES = [(1760, 992), (992, 1760), (1280, 896), (700, 300), (120, 90)]


def boxes(size: tuple[int, int], count: int, seed: int) -> np.ndarray:
    """Small ones all over the picture, its edges included."""
    random = np.random.default_rng(seed)
    sides = random.uniform(6, tiles.SMALL_PX - 1, (count, 1))
    middles = random.uniform(0, 1, (count, 2)) * size
    return np.concatenate([middles - sides / 2, middles + sides / 2], 1).astype(np.float32)


def candidates(*corners: tuple[float, float, float, float]) -> Candidates:
    found = np.array(corners, np.float32).reshape(-1, 4)
    points = np.repeat(found[:, None, :2], 5, 1)
    return Candidates(found, np.full(len(found), 0.5, np.float32), points)


@pytest.mark.parametrize("size", SIZES)
def test_every_small_face_lies_whole_in_a_tile_with_room_around_it(size: tuple[int, int]) -> None:
    room = 20
    for seed in range(40):
        small = boxes(size, 1 + seed % 4, seed)
        places = tiles.around(small, size)
        for box in small:
            low = np.maximum(box[:2] - room, 0)
            high = np.minimum(box[2:] + room, size)
            assert any(
                (low >= place[:2]).all() and (high <= place[2:]).all() for place in np.array(places)
            ), box


@pytest.mark.parametrize("size", SIZES)
def test_tiles_lie_in_the_picture_and_are_never_more_than_it(size: tuple[int, int]) -> None:
    for count in (1, 3, 60):
        places = np.array(tiles.around(boxes(size, count, count), size))
        assert (places[:, :2] >= 0).all()
        assert (places[:, 2:] <= size).all()
        assert (places[:, 2:] - places[:, :2]).prod(axis=1).sum() <= size[0] * size[1]


def at(*middles: tuple[float, float]) -> np.ndarray:
    points = np.array(middles, np.float32)
    return np.concatenate([points - 10, points + 10], 1)


def test_faces_side_by_side_are_looked_at_together() -> None:
    places = tiles.around(at((1700, 900), (820, 520), (560, 480), (300, 500)), (1760, 992))
    assert [(x1 - x0, y1 - y0) for x0, y0, x1, y1 in places] == [(768, 352), (320, 352)]
    places = tiles.around(at((600, 480), (300, 500)), (1760, 992))
    assert [(x1 - x0, y1 - y0) for x0, y0, x1, y1 in places] == [(320, 352)] * 2


def test_a_tile_has_its_faces_in_the_middle() -> None:
    ((x0, y0, x1, y1),) = tiles.around(at((600, 500), (740, 580)), (1760, 992))
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == (670, 540)


def test_a_crowd_is_looked_at_in_the_whole_picture_and_an_empty_street_nowhere() -> None:
    assert tiles.around(boxes((1760, 992), 12, 1), (1760, 992)) == [(0, 0, 1760, 992)]
    assert tiles.around(nothing().boxes, (1760, 992)) == []


def test_one_small_face_costs_a_fifteenth_of_a_large_picture() -> None:
    ((x0, y0, x1, y1),) = tiles.around(boxes((1760, 992), 1, 0), (1760, 992))
    assert (x1 - x0) * (y1 - y0) < 1760 * 992 / 15


def test_what_a_tile_shows_is_told_in_pixels_of_the_picture_but_for_what_its_edge_cuts() -> None:
    place, size = (400, 0, 900, 300), (1760, 992)
    seen = candidates((10, 20, 40, 50), (0, 100, 30, 130), (480, 100, 500, 130), (50, 0, 80, 20))
    told = tiles.at_home(seen, place, size)
    assert told.boxes.tolist() == [[410, 20, 440, 50], [450, 0, 480, 20]], (
        "the picture's own edge cuts nothing"
    )
    assert told.points[0, 0].tolist() == [410, 20]


def test_small_is_told_by_area() -> None:
    found = candidates((0, 0, 40, 56), (0, 0, 40, 60), (5, 5, 20, 20))
    assert tiles.small(found.boxes).tolist() == [[0, 0, 40, 56], [5, 5, 20, 20]]

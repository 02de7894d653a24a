"""Network outputs become boxes and points where the papers say; made by hand, no network runs."""

from __future__ import annotations

import numpy as np
import pytest

from veilcast.pipeline.detectors import centerface, retinaface, yunet
from veilcast.pipeline.detectors.candidates import Candidates, joined, nothing, suppressed
from veilcast.pipeline.detectors.network import KINDS, YUNET


def candidates(*rows: tuple[float, float, float, float, float]) -> Candidates:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Candidates(table[:, :4], table[:, 4], np.zeros((len(rows), 5, 2), np.float32))


def centerface_outputs(height: int = 64, width: int = 96) -> dict[str, np.ndarray]:
    h, w = height // 4, width // 4
    return {
        "score": np.zeros((1, 1, h, w), np.float32),
        "size": np.zeros((1, 2, h, w), np.float32),
        "offset": np.zeros((1, 2, h, w), np.float32),
        "points": np.zeros((1, 10, h, w), np.float32),
    }


def test_centerface_finds_the_face_that_its_heat_map_shows() -> None:
    outputs = centerface_outputs()
    row, column = 7, 10
    outputs["score"][0, 0, row, column] = 0.8
    outputs["size"][0, :, row, column] = np.log([20 / 4, 16 / 4])  # height, width
    outputs["offset"][0, :, row, column] = [0.25, -0.25]  # y, x in cells
    outputs["points"][0, :, row, column] = [0.3, 0.25] + [0.5, 0.5] * 4  # y, x in heights and widths
    found = centerface.decode(outputs, 0.5)
    x, y = (column - 0.25 + 0.5) * 4, (row + 0.25 + 0.5) * 4
    assert found.scores.tolist() == pytest.approx([0.8])
    assert found.boxes[0].tolist() == pytest.approx([x - 8, y - 10, x + 8, y + 10], abs=1e-3)
    assert found.points[0, 0].tolist() == pytest.approx([x - 8 + 0.25 * 16, y - 10 + 0.3 * 20], abs=1e-3)


def test_yunet_finds_a_face_on_each_of_its_grids() -> None:
    outputs = {}
    for stride in yunet.STRIDES_PX:
        grid = (64 // stride, 64 // stride)
        outputs[f"score_{stride}"] = np.zeros((1, 1, *grid), np.float32)
        outputs[f"box_{stride}"] = np.zeros((1, 4, *grid), np.float32)
        outputs[f"points_{stride}"] = np.zeros((1, 10, *grid), np.float32)
    outputs["score_16"][0, 0, 2, 1] = 0.9
    outputs["box_16"][0, :, 2, 1] = [0.5, 0.25, np.log(2), np.log(3)]
    outputs["points_16"][0, :2, 2, 1] = [-0.5, 1]
    found = yunet.decode(outputs, 0.5)
    x, y = 1.5 * 16, 2.25 * 16
    assert found.boxes[0].tolist() == pytest.approx([x - 16, y - 24, x + 16, y + 24])
    assert found.points[0, 0].tolist() == pytest.approx([8, 48])


def test_retinaface_decodes_against_the_anchor_of_its_row() -> None:
    every = retinaface.anchors(64, 64)
    row = int(np.flatnonzero((every == [20, 12, 32]).all(axis=1))[0])
    outputs = {
        "loc": np.zeros((1, len(every), 4), np.float32),
        "conf": np.zeros((1, len(every), 2), np.float32),
        "landmarks": np.zeros((1, len(every), 10), np.float32),
    }
    outputs["conf"][0, row, 1] = 0.7
    outputs["loc"][0, row] = [1, -1, 0, np.log(2) / 0.2]
    found = retinaface.decode(outputs, 64, 64, 0.5)
    assert found.boxes[0].tolist() == pytest.approx([23.2 - 16, 8.8 - 32, 23.2 + 16, 8.8 + 32], abs=1e-3)
    assert found.points[0, 0].tolist() == pytest.approx([20, 12])


def test_of_two_boxes_on_one_face_the_better_scored_stays() -> None:
    found = suppressed(candidates((0, 0, 10, 10, 0.5), (1, 0, 11, 10, 0.9), (30, 0, 40, 10, 0.4)), iou=0.4)
    assert found.scores.tolist() == pytest.approx([0.9, 0.4])


def test_neighbours_that_touch_are_two_faces() -> None:
    assert len(suppressed(candidates((0, 0, 10, 10, 0.5), (8, 0, 18, 10, 0.9)), iou=0.4)) == 2


def test_a_box_inside_a_box_is_the_same_face_where_that_is_asked_for() -> None:
    nested = candidates((0, 0, 40, 40, 0.5), (10, 10, 20, 20, 0.9))
    assert len(suppressed(nested, iou=0.4)) == 2
    assert len(suppressed(nested, iou=0.4, inside=0.8)) == 1


@pytest.mark.parametrize(
    "bad",
    [
        (np.nan, 0, 10, 10, 0.9),
        (0, 0, np.inf, 10, 0.9),
        (5, 5, 5, 10, 0.9),
        (-30, 0, -10, 10, 0.9),
        (0, 0, 10, 10, np.nan),
    ],
)
def test_what_is_no_box_in_the_picture_is_dropped_and_its_neighbours_are_not(bad: tuple[float, ...]) -> None:
    good = (1, 1, 9, 9, 0.8)
    found = candidates(bad, good).sane(20, 20)  # type: ignore[arg-type]
    assert found.scores.tolist() == pytest.approx([0.8])


def test_nothing_joined_is_nothing() -> None:
    assert len(joined([])) == len(joined([nothing(), nothing()])) == 0


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_scores_translate_to_the_common_scale_and_back(kind: object) -> None:
    assert isinstance(kind, type(YUNET))
    for score in (0.2, 0.35, 0.5, 0.9):
        own = np.array([kind.own(score)], np.float32)
        assert kind.common(own)[0] == pytest.approx(score, abs=1e-5)

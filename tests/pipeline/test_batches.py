"""How faces are put into batches of few sizes."""

from collections.abc import Mapping

import numpy as np
import pytest

from veilcast.errors import EngineError
from veilcast.pipeline import batches


class Doubling:
    """Stands in for an engine: answers each number with its double, all but `short` of them."""

    def __init__(self, short: int = 0) -> None:
        self.short = short
        self.sizes: list[int] = []

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.sizes.append(len(inputs["x"]))
        return {"y": 2 * inputs["x"][: len(inputs["x"]) - self.short]}


@pytest.mark.parametrize("count", range(1, 41))
def test_every_face_gets_its_own_answer_and_hardly_any_batch_has_room_to_spare(count: int) -> None:
    engine = Doubling()
    faces = np.arange(count, dtype=np.float32)[:, None]
    answers = batches.run(engine, {"x": faces})["y"]  # type: ignore[arg-type]
    assert answers.tolist() == (2 * faces).tolist()
    assert set(engine.sizes) <= set(batches.SIZES)
    assert sum(engine.sizes) - count <= count / 7


@pytest.mark.parametrize(
    ("count", "sizes"), [(3, [2, 1]), (5, [4, 1]), (7, [8]), (11, [8, 2, 1]), (30, [16, 16])]
)
def test_few_faces_are_not_sent_in_a_batch_for_many(count: int, sizes: list[int]) -> None:
    assert [size for _, _, size in batches.split(count)] == sizes


def test_an_answer_for_fewer_faces_than_asked_is_none() -> None:
    with pytest.raises(EngineError, match="answered 3 of 4"):
        batches.run(Doubling(short=1), {"x": np.zeros((4, 1), np.float32)})  # type: ignore[arg-type]

"""Networks that a site brings along, through the product's own engines."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.evaluation.people import POINTS, portrait, scene

from veilcast.errors import ConfigError, InputMissing, ModelMissing
from veilcast.evaluation.networks import (
    CONTEXT,
    TIGHT,
    Network,
    aligned,
    batched,
    open_judges,
    open_recogniser,
)
from veilcast.trt_engines.models import Models
from veilcast.trt_engines.open import open_engine


def small_recogniser(path: Path, batch: int | str = "n", size: int = 4) -> Path:
    """ONNX that averages a 112 px crop down to size x size colours: 48 numbers that tell drawn people."""
    window = {"kernel_shape": [112 // size] * 2, "strides": [112 // size] * 2}
    nodes = [
        helper.make_node("AveragePool", ["input"], ["pooled"], **window),
        helper.make_node("Reshape", ["pooled", "shape"], ["embedding"]),
    ]
    shape = numpy_helper.from_array(np.array([0, -1], np.int64), "shape")
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, 3 * size * size])],
        [shape],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, str(path))
    return path


def test_a_site_brings_its_own_recogniser(tmp_path: Path) -> None:
    path = small_recogniser(tmp_path / "ours.onnx")
    with ExitStack() as stack:
        recogniser = open_recogniser(str(path), Models(tmp_path), 1, stack)
        places = [(20, 30), (100, 60)]
        crops = [recogniser.crop(scene([(portrait(1), *at)]), POINTS + np.array(at)) for at in places]
        crops.append(recogniser.crop(scene([(portrait(2), *places[0])]), POINTS + np.array(places[0])))
        same, again, other = recogniser(np.stack(crops)).astype(float)
        expected = cv2.resize(crops[0].astype(np.float32), (4, 4), interpolation=cv2.INTER_AREA)
    assert recogniser.name == "ours"
    assert same == pytest.approx(((expected - 127.5) / 127.5).transpose(2, 0, 1).ravel(), abs=0.03)
    assert np.abs(same - again).mean() < 0.1 * np.abs(same - other).mean()


def test_a_fixed_batch_is_filled_up_and_the_filling_dropped(tmp_path: Path) -> None:
    path = small_recogniser(tmp_path / "two.onnx", batch=2)
    with open_engine(path, threads=1, precision="f32", cache=tmp_path / "engines") as engine:
        crops = np.random.default_rng(0).integers(0, 255, (5, 112, 112, 3)).astype(np.uint8)
        rows = Network(engine, 112)(crops)["embedding"]
        one = batched(engine, np.ascontiguousarray(crops[4:].transpose(0, 3, 1, 2), np.float32))["embedding"]
    assert rows.shape == (5, 48)
    assert np.allclose(rows[4], one[0], rtol=1e-4)


def test_a_recogniser_that_is_not_there_is_told(tmp_path: Path) -> None:
    with ExitStack() as stack:
        with pytest.raises(InputMissing, match=r"no recogniser at .*none\.onnx"):
            open_recogniser(str(tmp_path / "none.onnx"), Models(tmp_path), 1, stack)
        with pytest.raises(ConfigError, match="give mobilefacenet"):
            open_recogniser("arcface", Models(tmp_path), 1, stack)
        with pytest.raises(ModelMissing, match="models pull mobilefacenet"):
            open_recogniser("mobilefacenet", Models(tmp_path), 1, stack)


def test_networks_that_are_missing_are_left_out(tmp_path: Path) -> None:
    path = small_recogniser(tmp_path / "ours.onnx")
    with open_judges([str(path)], Models(tmp_path)) as judges:
        assert [r.name for r in judges.recognisers] == ["ours"]
        assert not any((judges.mesh, judges.people, judges.features))
        assert judges.lpips is not None, "comes with the product"


def test_a_face_is_aligned_wherever_and_however_large_it_is() -> None:
    small = scene([(portrait(3), 50, 40)])
    large = cv2.resize(small, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    points = POINTS + np.array([50, 40])
    a = aligned(small, points.astype(np.float32), TIGHT, 112).astype(int)
    b = aligned(large, (points * 3).astype(np.float32), TIGHT, 112).astype(int)
    assert np.abs(a - b).mean() < 4


def test_the_wide_crop_shows_more_around_the_same_face() -> None:
    eyes = [np.linalg.norm(t[1] - t[0]) for t in (TIGHT, CONTEXT)]
    assert eyes[1] == pytest.approx(0.228, abs=0.002)
    assert eyes[1] < eyes[0]
    assert CONTEXT.mean(0) == pytest.approx([0.5, 0.52])

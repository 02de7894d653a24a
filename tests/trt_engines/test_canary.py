"""The first opening: what dies, hangs or answers wrongly is passed over, and that is remembered."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.trt_engines.networks import conv_network, eight_bit_network, group_norm_network, pictures

from veilcast.errors import EngineError
from veilcast.trt_engines import canary, openvino_engine
from veilcast.trt_engines.canary import BF16, BF16_PLAIN, EXACT, F32, F32_PLAIN, ORT, Rung, choose
from veilcast.trt_engines.engine import Model, Settings
from veilcast.trt_engines.open import open_engine

MODEL = Model(conv_network(), ".onnx")
RIGHT = {"y": np.linspace(-1, 1, 50, dtype=np.float32)}
Answers = dict[Rung, "np.ndarray | None"]


class Children:
    """Stands in for subprocess.run: writes the answers that `answers` holds; None = the child dies there."""

    def __init__(self, answers: Answers, timeout: bool = False) -> None:
        self.answers = {rung.name: value for rung, value in answers.items()}
        self.timeout = timeout
        self.tried: list[str] = []

    def __call__(self, command: Sequence[str], **_: Any) -> None:
        folder, names = Path(command[4]), command[6:]
        for name in names:
            self.tried.append(name)
            if name not in self.answers:
                (folder / f"{name}.done").touch()  # refused by the backend, in good order
                continue
            value = self.answers[name]
            if value is None:
                if self.timeout:
                    raise subprocess.TimeoutExpired(command, 1)
                return
            np.savez(folder / f"{name}.npz", y=value)
            (folder / f"{name}.done").touch()


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Children]:
    def install(answers: Answers, **more: bool) -> Children:
        stand_in = Children(answers, **more)
        monkeypatch.setattr(subprocess, "run", stand_in)
        monkeypatch.setattr(openvino_engine, "has_bf16", lambda: True)
        return stand_in

    return install


def chosen(cache: Path, precision: str = "auto") -> Rung:
    return choose(MODEL, Settings(precision=precision), cache)  # type: ignore[arg-type]


def test_the_best_rung_is_taken_where_it_agrees(children: Callable[..., Children], tmp_path: Path) -> None:
    tried = children({BF16: RIGHT["y"] * 1.02, EXACT: RIGHT["y"]})
    assert chosen(tmp_path) is BF16
    assert tried.tried == [BF16.name, EXACT.name]  # nothing else is compiled


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(None, id="dies"),
        pytest.param(RIGHT["y"] * np.float32("nan"), id="not a number"),
        pytest.param(RIGHT["y"] * 0, id="zeros"),
        pytest.param(-RIGHT["y"], id="wrong sign"),
        pytest.param(RIGHT["y"][::-1].copy(), id="permuted"),
        pytest.param(RIGHT["y"][:10], id="wrong shape"),
    ],
)
def test_a_rung_that_dies_or_is_wrong_is_passed_over(
    children: Callable[..., Children],
    tmp_path: Path,
    wrong: np.ndarray | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    children({BF16: wrong, BF16_PLAIN: RIGHT["y"], EXACT: RIGHT["y"]})
    with caplog.at_level(logging.WARNING):
        assert chosen(tmp_path) is BF16_PLAIN
        assert chosen(tmp_path) is BF16_PLAIN
    assert len(caplog.records) == 1  # one warning, not one a run
    assert BF16.name in caplog.text


@pytest.mark.parametrize(
    ("off", "taken"),
    [
        pytest.param(1.2, F32, id="rounded as eight bits do"),
        pytest.param(0.2, EXACT, id="wrong wherever eight bits are multiplied"),
    ],
)
def test_a_network_in_eight_bits_is_held_against_its_numbers_in_floating_point(
    children: Callable[..., Children], tmp_path: Path, off: float, taken: Rung
) -> None:
    children({F32: RIGHT["y"] * off, F32_PLAIN: RIGHT["y"] * off, EXACT: RIGHT["y"]})
    model = Model(eight_bit_network(), ".onnx")
    assert choose(model, Settings(precision="f32"), tmp_path) is taken
    assert choose(MODEL, Settings(precision="f32"), tmp_path) is EXACT  # whose tolerance is that of float32


def test_eight_bits_do_not_judge_themselves() -> None:
    """Two that multiply wrongly in the same way say the same."""
    off = {"y": RIGHT["y"] / 5}
    model = Model(eight_bit_network(), ".onnx")
    assert not canary.agrees(F32, {F32.name: off, F32_PLAIN.name: off, EXACT.name: RIGHT}, model)


def test_a_child_that_hangs_is_passed_over(children: Callable[..., Children], tmp_path: Path) -> None:
    children({BF16: None, BF16_PLAIN: None, F32_PLAIN: RIGHT["y"], EXACT: RIGHT["y"]}, timeout=True)
    assert chosen(tmp_path) is F32_PLAIN


def test_onnx_runtime_is_the_last_resort(children: Callable[..., Children], tmp_path: Path) -> None:
    children({BF16: None, BF16_PLAIN: None, F32: None, F32_PLAIN: None, EXACT: None, ORT: RIGHT["y"]})
    assert chosen(tmp_path) is ORT
    assert chosen(tmp_path, "f32") is ORT


def test_a_fast_answer_counts_only_with_a_reference(
    children: Callable[..., Children], tmp_path: Path
) -> None:
    children({BF16: RIGHT["y"], BF16_PLAIN: RIGHT["y"], EXACT: None, ORT: None})
    with pytest.raises(EngineError, match="no backend"):
        chosen(tmp_path)


def test_without_any_backend_there_is_one_sentence(children: Callable[..., Children], tmp_path: Path) -> None:
    children({})
    with pytest.raises(EngineError, match="no backend could run"):
        chosen(tmp_path)
    assert not list(tmp_path.iterdir())  # a failure is not remembered


def test_the_outcome_is_remembered(children: Callable[..., Children], tmp_path: Path) -> None:
    tried = children({BF16: RIGHT["y"], EXACT: RIGHT["y"]})
    chosen(tmp_path)
    tried.tried.clear()
    assert chosen(tmp_path) is BF16
    assert choose(MODEL, Settings(threads=7, streams=3), tmp_path) is BF16  # threads change no number
    assert tried.tried == []


@pytest.mark.parametrize("what", ["version", "processor", "network", "shapes"])
def test_it_is_tried_again_when_something_changed(
    children: Callable[..., Children], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    tried = children({BF16: RIGHT["y"], EXACT: RIGHT["y"]})
    chosen(tmp_path)
    tried.tried.clear()
    model, settings = MODEL, Settings()
    if what == "version":
        monkeypatch.setattr(openvino_engine, "version", lambda: "another")
    elif what == "processor":
        monkeypatch.setattr(canary, "processor", lambda: "another")
    elif what == "network":
        model = Model(MODEL.data + b"\0", ".onnx")
    else:
        settings = Settings(shapes={"picture": (1, 3, 8, 8)})
    choose(model, settings, tmp_path)
    assert tried.tried


@pytest.mark.parametrize("text", ["", "{}", '{"rung": "of another ladder"}', '["rung"]', "\0"])
def test_a_spoilt_record_is_tried_again(children: Callable[..., Children], tmp_path: Path, text: str) -> None:
    children({BF16: RIGHT["y"], EXACT: RIGHT["y"]})
    chosen(tmp_path)
    (record,) = tmp_path.iterdir()
    record.write_text(text)
    assert chosen(tmp_path) is BF16
    assert json.loads(record.read_text()) == {"rung": BF16.name}


def test_a_cache_that_cannot_be_written_costs_time_only(
    children: Callable[..., Children], tmp_path: Path
) -> None:
    children({BF16: RIGHT["y"], EXACT: RIGHT["y"]})
    (tmp_path / "file").write_text("in the way")
    assert chosen(tmp_path / "file" / "engines") is BF16


def test_a_real_child_answers(tmp_path: Path) -> None:
    with open_engine(MODEL.data, precision="f32", cache=tmp_path) as engine:
        assert engine.run({"picture": pictures(1)})["mean"].shape == (1, 4)
    assert len(list(tmp_path.glob("*.json"))) == 1


def test_a_graph_that_kills_the_compiler_on_some_processors_opens_everywhere(tmp_path: Path) -> None:
    """Normalisation, scale and shift in float32: SIGSEGV in compile_model on AMD Zen 4 (2025.1 to 2026.4)."""
    shapes = {"x": (1, 32, 16, 16), "t": (1, 32)}
    with open_engine(group_norm_network(), precision="f32", shapes=shapes, cache=tmp_path) as engine:
        x = np.random.default_rng(0).normal(size=(1, 32, 16, 16)).astype(np.float32)
        y = engine.run({"x": x, "t": np.zeros((1, 32), np.float32)})["y"]
    assert np.isfinite(y).all()
    assert 0 < y.min() < y.max() < 1

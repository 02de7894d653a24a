"""The README's tables are what the benchmarks' JSON says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks import report
from benchmarks.outcome import RESULTS
from benchmarks.peers import known, table
from benchmarks.picture_speed import result
from benchmarks.synthetic import averaged

README = """before
<!-- table pictures -->
old
<!-- /table -->
between
<!-- table speed -->
kept
<!-- /table -->
"""


def results(folder: Path) -> Path:
    (folder / "pictures.json").write_text(json.dumps(result("solid", "groups", 1000, 5000, 50.0)))
    return folder


def test_a_table_is_made_from_its_json_and_the_rest_is_left_alone(tmp_path: Path) -> None:
    text, missing = report.filled(README, results(tmp_path))
    assert missing == ["speed"]
    assert "old" not in text
    assert "| solid | 1,000 | 5,000 | 50 | 20.0 |" in text
    assert text.startswith("before\n")
    assert text.endswith("<!-- table speed -->\nkept\n<!-- /table -->\n")
    assert report.filled(text, tmp_path)[0] == text


def test_a_table_that_nobody_makes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no table is called nothing"):
        report.filled("<!-- table nothing -->\n<!-- /table -->", tmp_path)


@pytest.mark.parametrize("path", report.documents(), ids=lambda path: path.name)
def test_the_documents_are_in_step(path: Path) -> None:
    text = path.read_text()
    assert report.filled(text, RESULTS)[0] == text


ENGINES: dict[str, Any] = {
    "text": "A chip.",
    "rows": [
        {"network": "unet", "engine": engine, "batch": batch, "ms": ms, "gflop": 1.0, "roofline_ms": floor}
        for batch, engine, ms, floor in (
            (1, "torch f32 on cpu", 10.0, 5.0),
            (8, "torch f32 on cpu", 60.0, 30.0),
            (8, "openvino bf16", 20.0, None),
        )
    ],
    "clock": "wall",
    "accounts": {"unet": {"convolutions": 0.75, "softmax": 0.25}},
    "opened_s": {"detectors": 0.5},
}


def test_engines_are_told_beside_torch_of_the_same_batch() -> None:
    text = report.engines_table(ENGINES)
    assert "| unet | 8 | openvino bf16 | 20.00 | 1.00 | – | 3.0 |" in text
    assert "| unet | 1 | torch f32 on cpu | 10.00 | 1.00 | 50% | 1.0 |" in text
    short = report.engines_short_table(ENGINES)
    assert "| network | torch float32 | OpenVINO bfloat16 |" in short  # what nobody measured has no column
    assert "| unet | 60.0 | 20.0 |" in short
    assert "| unet | 75% | 25% |" in report.engines_account_table(ENGINES)


def test_a_method_that_failed_says_so_in_its_row() -> None:
    assert "| mine | clip.mp4: no face |" in table({"mine": {"error": "clip.mp4: no face"}})


def test_a_stopped_run_goes_on_but_not_with_other_clips(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    facts = {"clips": ["a.mp4"], "every": 6}
    methods = {"ours": {"coverage": {}}, "theirs": {"error": "it fell over"}}
    path.write_text(json.dumps({**facts, "methods": methods}))
    assert list(known(path, facts)) == ["ours"]
    assert known(path, {**facts, "clips": ["b.mp4"]}) == {}
    assert known(tmp_path / "none.json", facts) == {}


def test_figures_of_several_keys_are_averaged_and_a_missing_counter_counts_nothing() -> None:
    one = {"name": "a", "tar": 0.25, "none": None, "some": None, "rows": [{"x": 1}], "counts": {"solid": 3}}
    two = {"name": "a", "tar": 0.75, "none": None, "some": 0.5, "rows": [{"x": 2}], "counts": {"made": 8}}
    assert averaged([one, two]) == {
        "name": "a",
        "tar": 0.5,
        "none": None,
        "some": 0.5,
        "rows": [{"x": 1.5}],
        "counts": {"solid": 1.5, "made": 4},
    }

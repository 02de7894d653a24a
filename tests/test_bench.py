"""The commands that the documents give for their figures: scripts/bench runs them, and the tables are made of
what they leave."""

from __future__ import annotations

import importlib
import itertools
import json
import re
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks import cluster, memory, outcome, recall, report, speed

ROOT = report.ROOT
COMMAND = r"python\s+-m\s+benchmarks\."
QUOTED = re.compile(rf"`{COMMAND}([^`]+)`|^ +{COMMAND}([^#\n]+)", re.MULTILINE)
NO_FIGURES = {"report", "calibration"}  # what makes tables of figures, and what makes a part of the product
OWN = re.compile(r" (?!FACES\b|CLIP\b)[A-Z]{2,}\b")  # what only whoever trains a model has: CACHE, RUN, MODEL


def run_by_the_script() -> set[tuple[str, str]]:
    """(document, command) of each that scripts/bench knows."""
    lines = (ROOT / "scripts" / "bench").read_text().split("<< 'END'\n")[1].split("END\n")[0].splitlines()
    told = [line.partition(" ") for line in lines]
    return {(document, command) for documents, _, command in told for document in documents.split(",")}


def quoted() -> Iterator[tuple[str, str]]:
    """(document, command) of each that README and docs give; one|other stands for two commands."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for found in QUOTED.finditer(path.read_text()):
            words = [word.split("|") for word in (found[1] or found[2]).split()]
            for command in map(" ".join, itertools.product(*words)):
                if command.split()[0] not in NO_FIGURES and not OWN.search(command):
                    yield path.name, command


def test_the_script_runs_the_commands_that_the_documents_give() -> None:
    assert set(quoted()) == run_by_the_script()


class Asked(Exception):
    """Where a benchmark would leave its figures."""


def left_by(command: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the JSON that a command leaves."""
    if " --out " in command:
        return Path(command.split(" --out ")[1].split()[0]).stem

    def asked(parser: ArgumentParser, name: str) -> None:
        raise Asked(name)

    benchmark = importlib.import_module(f"benchmarks.{command.split()[0]}")
    monkeypatch.setattr(outcome, "add_out", asked)
    with pytest.raises(Asked) as found:
        benchmark.main()
    return str(found.value)


# of another machine, and of trainings that must have ended
ELSEWHERE = {
    *("engines_amx", "face_stages_amx", "speed_synthetic_amx"),
    *("engines_avx2", "speed_avx2", "speed_synthetic_avx2", "ablations"),
}


@pytest.mark.parametrize("path", report.documents(), ids=lambda path: path.name)
def test_the_tables_of_a_document_are_made_of_what_its_commands_leave(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = {name for _, name, _, _ in report.MARKED.findall(path.read_text())}
    left = {
        left_by(command, monkeypatch) for document, command in run_by_the_script() if document == path.name
    }
    assert {report.SOURCES.get(name, name) for name in tables} - ELSEWHERE <= left


def test_the_next_report_tells_what_a_benchmark_has_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(outcome, "RESULTS", tmp_path)
    monkeypatch.setattr(memory, "made", lambda *rest: None)
    monkeypatch.setattr(memory, "peak_mib", lambda command: 512.0)
    monkeypatch.setattr("sys.argv", ["memory", "--source", __file__])
    memory.main()
    assert str(tmp_path / "memory.json") in capsys.readouterr().err
    text, missing = report.filled("<!-- table memory -->\nold\n<!-- /table -->", tmp_path)
    assert not missing
    assert "| 10000 frames | 512 |" in text


def test_benchmarks_ask_by_default_for_what_the_tables_show() -> None:
    def kept(name: str) -> Any:
        return json.loads((outcome.RESULTS / f"{name}.json").read_text())

    assert [row["clip"] for row in kept("speed")["rows"]] == list(speed.CLIPS)
    assert [row["actors"] for row in kept("cluster")["rows"]] == list(cluster.ACTORS)
    assert list(kept("recall")["clips"]) == [*recall.CLIPS, "all clips"]

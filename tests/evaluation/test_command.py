"""veilcast evaluate from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.evaluation.people import Finder, opened, portrait, save, scene
from typer.testing import CliRunner, Result

from veilcast.commands.evaluate import app
from veilcast.errors import ConfigError, EvaluationFailed, InputMissing, NotWritable
from veilcast.evaluation import job, thresholds

PLACE = (20, 30)


class Detector:
    def detect(self, rgb: object) -> object:
        return Finder([PLACE])(rgb)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def detector(*_: object, **__: object) -> Iterator[Detector]:
        yield Detector()

    monkeypatch.setattr(job, "open_judges", opened)
    monkeypatch.setattr(job, "open_one", detector)
    monkeypatch.setitem(thresholds.SHIPPED, "grid", 0.7)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    for person in range(6):
        for n in range(2):
            name = f"p{person}/{n}.png"
            save(scene([(portrait(person, n), *PLACE)]), tmp_path / "in" / name)
            save(scene([(portrait(50 + person, n), *PLACE)]), tmp_path / "out" / name)
    return tmp_path


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.mark.parametrize("option", ["--json", "--csv", "--html"])
def test_no_result_is_written_over_what_is_measured(option: str, people: Path) -> None:
    before = {path: path.read_bytes() for path in people.rglob("*.png")}
    for name in ("in/p0/0.png", "out/p0/0.png"):
        done = evaluate(people / "in", people / "out", option, people / name)
        assert isinstance(done.exception, ConfigError), done.output
    if option == "--json":
        done = evaluate("--calibrate", people / "in", option, people / "in" / "p0" / "0.png")
        assert isinstance(done.exception, ConfigError), done.output
    assert {path: path.read_bytes() for path in people.rglob("*.png")} == before


def test_three_files_and_the_main_figures(people: Path) -> None:
    files = ("--json", people / "r.json", "--csv", people / "r.csv", "--html", people / "r.html")
    done = evaluate(people / "in", people / "out", *files)
    assert done.exit_code == 0, done.output
    assert "grid: tar" in done.output
    result = json.loads((people / "r.json").read_text())
    assert (result["coverage"]["faces"], result["coverage"]["exposed"]) == (12, 0)
    assert result["reidentification"][0]["rank1_control"] == 1
    assert (people / "r.csv").exists()
    assert "Evaluation of 12 clips" in (people / "r.html").read_text()
    assert not list(people.glob("*.part"))


def test_a_gallery_of_other_pictures_ranks_a_list_of_pairs(people: Path) -> None:
    for person in range(6):
        save(scene([(portrait(person, 9), *PLACE)]), people / "known" / f"p{person}" / "x.png")
    rows = [f"in/p{n}/0.png,in/p{n}/0.png,p{n}" for n in range(6)]
    (people / "list.csv").write_text("\n".join(["original,output,person", *rows]) + "\n")
    done = evaluate(
        "--pairs", people / "list.csv", "--gallery", people / "known", "--json", people / "r.json"
    )
    assert done.exit_code == 0, done.output
    (row,) = json.loads((people / "r.json").read_text())["reidentification"]
    assert (row["rank1"], row["rank5"], row["gallery_people"]) == (1, 1, 6)


def test_a_failed_control_has_its_own_exit_code_and_still_leaves_its_files(people: Path) -> None:
    (people / "t.json").write_text('[{"recogniser": "grid", "threshold": 0.999999}]')
    done = evaluate(
        people / "in", people / "out", "--thresholds", people / "t.json", "--json", people / "r.json"
    )
    assert isinstance(done.exception, EvaluationFailed)
    assert done.exception.exit_code == 60
    assert json.loads((people / "r.json").read_text())["reidentification"][0]["control"] < 0.95


def test_thresholds_are_made_and_read_back(people: Path) -> None:
    for person in range(20):
        for n in range(3):
            save(scene([(portrait(person, n), *PLACE)]), people / "set" / f"p{person}" / f"{n}.png")
    done = evaluate("--calibrate", people / "set", "--json", people / "t.json")
    assert done.exit_code == 0, done.output
    (row,) = json.loads((people / "t.json").read_text())
    assert row["far"] == 0.001
    again = evaluate(people / "in", people / "out", "--thresholds", people / "t.json")
    assert again.exit_code == 0, again.output


def test_labels_decide_what_a_face_is(people: Path) -> None:
    (people / "l.csv").write_text("clip,frame,x,y,width,height\np0/0.png,0,20,30,64,64\n")
    done = evaluate(
        people / "in", people / "out", "--labels", people / "l.csv", "--json", people / "r.json", "-q"
    )
    assert done.exit_code == 0, done.output
    assert json.loads((people / "r.json").read_text())["coverage"]["faces"] == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], ConfigError),
        (["in"], ConfigError),
        (["in", "nowhere"], InputMissing),
        (["in", "out", "--pairs", "l.csv"], ConfigError),
        (["in", "out", "--thresholds", "nowhere.json"], InputMissing),
        (["in", "out", "--json", "nowhere/r.json"], NotWritable),
    ],
)
def test_mistakes_are_typed(people: Path, arguments: list[str], error: type[Exception]) -> None:
    done = evaluate(*(a if a.startswith("-") else people / a for a in arguments))
    assert isinstance(done.exception, error)

"""veilcast batch and veilcast jobs: what a person types and reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from veilcast.commands import batch, jobs
from veilcast.errors import ConfigError, InputMissing
from veilcast.pipeline.intake import default_folder
from veilcast.pipeline.journal import Journal, State
from veilcast.pipeline.stores import Entry

RUN = CliRunner()
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("text", "bytes_s"), [("500K", 5e5), ("20MB", 2e7), ("1Gi/s", 2**30), ("1.5m", 1.5e6), ("9", 9)]
)
def test_rates_are_understood(text: str, bytes_s: float) -> None:
    assert batch.rate(text) == bytes_s


@pytest.mark.parametrize("text", ["", "fast", "-1M", "0", "1T", "1MB/min"])
def test_other_rates_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        batch.rate(text)


def test_priorities_are_understood() -> None:
    assert batch.rule("cam3/*=10") == ("cam3/*", 10)
    assert batch.rule("a=b=-1") == ("a=b", -1)
    for text in ("cam3", "=3", "a=high", "a="):
        with pytest.raises(ConfigError):
            batch.rule(text)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job with a file in each state, where `jobs list` looks."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = default_folder("in", "out")
    folder.mkdir(parents=True)
    with Journal(folder) as journal:
        journal.set(made=1.7e9, source="in", target="out", wall_s=10.0)
        journal.add([(Entry(f"cam{n}/a.mp4", 1, ""), 0) for n in range(5)])
        ends = {State.DONE: "", State.FAILED: "no answer", State.QUARANTINED: "damaged", State.CANCELLED: ""}
        for state, reason in ends.items():
            row = journal.take()
            assert row is not None
            if state is State.DONE:
                journal.seal(row.number, "x", {"frames": 90_000, "seconds_in": 3600.0, "faces": 7})
            journal.settle(row.number, state, "Kind", reason)
    return folder


def states(folder: Path) -> list[str]:
    with Journal(folder) as journal:
        return [str(row.state) for row in journal.rows()]


def test_jobs_are_listed_and_shown(job: Path, tmp_path: Path) -> None:
    listed = RUN.invoke(jobs.app, ["list"]).output
    assert job.name in listed
    assert "1 queued, 1 done, 1 failed, 1 quarantined, 1 cancelled" in listed
    shown = RUN.invoke(jobs.app, ["show", job.name, "--price", "36", "--summary", str(tmp_path / "s")]).output
    assert "failed      cam1/a.mp4: no answer" in shown
    assert "1.000 hours, 90000 frames, 7 faces, 0.1 an hour of footage" in shown
    told = json.loads((tmp_path / "s" / "summary.json").read_text())
    assert [line["state"] for line in told["files"]] == states(job)
    one = RUN.invoke(jobs.app, ["show", str(job), "cam2/*"]).output
    assert "cam2/a.mp4" in one
    assert "cam1/a.mp4" not in one


def test_a_broken_journal_is_told_beside_the_jobs_that_can_be_read(job: Path) -> None:
    broken = job.with_name("0000")
    broken.mkdir()
    (broken / "journal.sqlite").write_bytes(b"no journal " * 99)
    listed = RUN.invoke(jobs.app, ["list"])
    assert listed.exit_code == 0
    first, second = listed.output.splitlines()
    assert "is not a journal" in first
    assert second.startswith(job.name)


def test_files_wait_again_or_are_given_up(job: Path) -> None:
    RUN.invoke(jobs.app, ["retry", job.name, "cam1/*"])
    assert states(job) == ["done", "queued", "quarantined", "cancelled", "queued"]
    RUN.invoke(jobs.app, ["cancel", job.name])
    assert states(job) == ["done", "cancelled", "quarantined", "cancelled", "cancelled"]
    RUN.invoke(jobs.app, ["retry", job.name])
    assert states(job) == ["done", "queued", "queued", "queued", "queued"]


def test_a_job_that_is_not_there_is_told(job: Path) -> None:
    assert isinstance(RUN.invoke(jobs.app, ["show", "nothing"]).exception, InputMissing)


def test_the_same_ends_have_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_folder("in", "out") == default_folder(str(tmp_path / "in"), str(tmp_path / "out"))
    assert default_folder("s3://a/b", "out") != default_folder("s3://a/c", "out")


def test_metrics_are_served_on_loopback_and_hold_no_names(job: Path, tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    from veilcast.pipeline.batch import Event
    from veilcast.service.archive_metrics import ArchiveMetrics

    with Journal(job) as journal:
        rows = list(journal.rows())
    facts = {"frames": 5, "faces": 2, "seconds_in": 1.0, "bytes_in": 3, "bytes_out": 4}
    rows[0].facts.update(facts)
    with ArchiveMetrics(str(tmp_path / "m.prom"), job) as metrics:
        for row in rows[:3]:
            metrics(Event(row, row.state))
    text = (tmp_path / "m.prom").read_text()
    assert 'veilcast_archive_files{state="queued"} 1.0' in text
    assert "veilcast_archive_frames_total 5.0" in text
    assert 'veilcast_archive_failures_total{kind="Kind"} 2.0' in text
    assert "cam0" not in text


def test_a_mistake_stays_a_sentence_where_metrics_are_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("prometheus_client")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    told = RUN.invoke(
        batch.app, [str(tmp_path), str(tmp_path / "out"), "--metrics", str(tmp_path / "m.prom")]
    )
    assert isinstance(told.exception, ConfigError)


def test_the_example_for_kubernetes_calls_options_that_exist() -> None:
    yaml = pytest.importorskip("yaml")
    told = yaml.safe_load((ROOT / "docs" / "kuberay.yaml").read_text())
    assert told["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    words = told["spec"]["entrypoint"].split()
    assert words[:2] == ["veilcast", "batch"]
    help_text = RUN.invoke(batch.app, ["--help"], env={"COLUMNS": "200"}).output
    assert all(word in help_text for word in words if word.startswith("--"))
    groups = [
        told["spec"]["rayClusterSpec"]["headGroupSpec"],
        *told["spec"]["rayClusterSpec"]["workerGroupSpecs"],
    ]
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        assert {"name": "job", "mountPath": "/job"} in container["volumeMounts"]

"""Archives: every file whole or absent, each told, and a job that goes on where it was."""

from __future__ import annotations

import contextlib
import csv
import errno
import json
import os
import threading
from collections import Counter
from pathlib import Path

import pytest
from tests.clips import clip
from tests.pipeline.archive_world import archive, contents, run

from veilcast.config import Config, overlay
from veilcast.errors import ConfigError, InputMissing, JournalBusy, OutputExists
from veilcast.pipeline import accounts, intake
from veilcast.pipeline.batch import Event, Outcome
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.journal import Journal, State, locked


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archive(tmp_path_factory.mktemp("archive") / "in")


def reasons(outcome: Outcome) -> dict[str, tuple[State, str]]:
    with Journal(outcome.folder) as journal:
        return {row.name: (row.state, row.kind) for row in journal.rows()}


def test_every_file_is_covered_under_its_name_and_told(source: Path, tmp_path: Path) -> None:
    outcome = run(source, tmp_path / "out", tmp_path / "job")
    assert outcome.counts[State.DONE] == 4
    assert list(contents(tmp_path / "out")) == list(contents(source))
    for number, name in enumerate(("cam0/000.mp4", "cam1/001.mp4")):
        with Decoder(tmp_path / "out" / name) as decoder:
            frames = [
                frame.planes[0][20:30, 18 + frame.index : 28 + frame.index].max()
                for frame in decoder.frames()
            ]
        assert len(frames) == 30 + number
        assert max(frames) < 28
    told = json.loads((tmp_path / "job" / "reports" / "0000001.json").read_text())
    assert told["outcome"] == "done"
    assert told["ledger"]["counts"] == {"redacted": 30}
    with Journal(outcome.folder) as journal:
        made = accounts.write(journal, tmp_path / "summary", price_an_hour=2.0)
    assert (made.files, made.done, made.frames, made.faces) == (4, 4, 126, 126)
    assert made.cost_an_hour == pytest.approx(made.wall_s / 3600 * 2 / made.hours_in, rel=0.01)
    lines = list(csv.DictReader((tmp_path / "summary" / "summary.csv").open()))
    assert [line["name"] for line in lines] == list(contents(source))
    assert [line["kind"] for line in lines] == [""] * 4
    page = (tmp_path / "summary" / "summary.html").read_text()
    assert page.count("data:image/jpeg") == 4
    assert "http" not in page


def test_the_same_call_again_does_nothing_again(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out", tmp_path / "job")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.mp4")}
    seen: list[Event] = []
    outcome = run(source, tmp_path / "out", tmp_path / "job", seen.append)
    assert seen == []
    assert outcome.counts[State.DONE] == 4
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_job_that_was_stopped_goes_on_and_gives_the_same(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "whole", tmp_path / "job0")
    stop = threading.Event()
    seen: Counter[str] = Counter()

    def stop_in_the_middle(event: Event) -> None:
        if event.progress and event.progress.stage == "covering":
            stop.set()
        if event.progress and event.progress.stage == "finding":
            seen[event.row.name] += 1

    outcome = run(source, tmp_path / "out", tmp_path / "job", stop_in_the_middle, stop=stop)
    assert outcome.counts[State.QUEUED] > 0
    assert set(contents(tmp_path / "out").items()) <= set(contents(tmp_path / "whole").items())
    # the folder of the job may move to another machine
    (tmp_path / "job").rename(tmp_path / "elsewhere")
    outcome = run(source, tmp_path / "out", tmp_path / "elsewhere")
    assert outcome.counts[State.DONE] == 4
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_segments_of_an_interrupted_file_are_not_rendered_again(source: Path, tmp_path: Path) -> None:
    stop = threading.Event()

    def stop_after_two_segments(event: Event) -> None:
        with contextlib.suppress(FileNotFoundError):  # the folder of a file that is done just now
            if len(list((tmp_path / "job" / "work").glob("*/segment-000001"))) > 0:
                stop.set()

    run(source, tmp_path / "out", tmp_path / "job", stop_after_two_segments, stop=stop, workers=1)
    with Journal(tmp_path / "job") as journal:
        kept = {row.number: journal.segments(row.number) for row in journal.rows(State.QUEUED)}
    assert any(kept.values())
    number = next(n for n, segments in kept.items() if segments)
    path = tmp_path / "job" / "work" / f"{number:07d}"
    stamps = {name: (path / f"segment-{name:06d}").stat().st_mtime_ns for name in kept[number]}
    seen: dict[int, int] = {}

    def looked(event: Event) -> None:
        for name in stamps:
            part = path / f"segment-{name:06d}"
            if part.exists():
                seen[name] = part.stat().st_mtime_ns

    run(source, tmp_path / "out", tmp_path / "job", looked)
    assert seen == stamps


def test_whoever_cannot_note_how_far_a_file_is_costs_tries_and_mixes_nothing_up(
    source: Path, tmp_path: Path
) -> None:
    run(source, tmp_path / "whole", tmp_path / "job0")
    failed: set[tuple[str, str]] = set()

    def fails_once_a_stage(event: Event) -> None:
        if event.progress and (met := (event.row.name, event.progress.stage)) not in failed:
            failed.add(met)
            raise OSError(errno.EIO, "not noted")

    outcome = run(source, tmp_path / "out", tmp_path / "job", fails_once_a_stage, retries=9)
    assert {stage for _, stage in failed} >= {"finding", "covering", "joining", "checking"}
    assert outcome.counts[State.DONE] == 4
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    for number, name in enumerate(contents(source), 1):
        told = json.loads((tmp_path / "job" / "reports" / f"{number:07d}.json").read_text())
        assert told["output"]["sha256"] == contents(tmp_path / "out")[name]


def test_files_that_fail_are_told_and_the_rest_is_done(tmp_path: Path) -> None:
    folder = archive(tmp_path / "in", 2)
    (folder / "text.mp4").write_text("hello")
    whole = (folder / "cam0" / "000.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("hello")
    clip(folder / "x.mp4").rename(folder / "without a suffix")
    outcome = run(folder, tmp_path / "out", tmp_path / "job")
    told = reasons(outcome)
    assert told["text.mp4"] == (State.QUARANTINED, "NotVideo")
    assert told["cut.mp4"][0] is State.QUARANTINED
    assert told["without a suffix"] == (State.DONE, "")
    assert outcome.left_behind == ("notes.txt",)
    assert sorted(contents(tmp_path / "out")) == ["cam0/000.mp4", "cam1/001.mp4", "without a suffix"]
    with Journal(outcome.folder) as journal:
        assert all(row.reason and row.attempts == 1 for row in journal.rows(State.QUARANTINED))
        assert journal.move((State.QUARANTINED,), State.QUEUED) == 2
    (folder / "text.mp4").write_bytes(whole)
    assert reasons(run(folder, tmp_path / "out", tmp_path / "job"))["text.mp4"] == (State.DONE, "")


@pytest.mark.parametrize("target", ["out", "memory://redacted"])
def test_a_source_that_changes_at_the_last_moment_gets_no_output(target: str, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    folder = archive(tmp_path / "in", 1)

    def written_to(event: Event) -> None:
        if event.progress and event.progress.stage == "checking":
            os.utime(folder / "cam0" / "000.mp4", ns=(1, 1))

    place = target if "://" in target else str(tmp_path / target)
    outcome = run(folder, place, tmp_path / "job", written_to)
    assert reasons(outcome) == {"cam0/000.mp4": (State.QUARANTINED, "DamagedMedia")}
    system, path = fsspec.core.url_to_fs(place)
    assert not system.find(path)


def test_on_error_stop_ends_the_job_after_the_file_that_failed(tmp_path: Path) -> None:
    folder = archive(tmp_path / "in", 3)
    (folder / "aaa.mp4").write_text("hello")
    outcome = run(folder, tmp_path / "out", tmp_path / "job", on_error="stop", workers=1)
    assert outcome.counts[State.QUARANTINED] == 1
    assert outcome.counts[State.QUEUED] >= 1


def test_an_output_that_exists_is_not_replaced_unless_that_is_asked_for(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "cam0").mkdir(parents=True)
    (tmp_path / "out" / "cam0" / "000.mp4").write_text("somebody's")
    outcome = run(source, tmp_path / "out", tmp_path / "job")
    assert reasons(outcome)["cam0/000.mp4"] == (State.FAILED, OutputExists.__name__)
    assert (tmp_path / "out" / "cam0" / "000.mp4").read_text() == "somebody's"
    with Journal(outcome.folder) as journal:
        journal.move((State.FAILED,), State.QUEUED)
    outcome = run(source, tmp_path / "out", tmp_path / "job", overwrite=True)
    assert outcome.counts[State.DONE] == 4


def test_other_settings_need_a_restart(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out", tmp_path / "job")
    blurred = overlay(Config(), {"cover.replacewith": "blur"})
    with pytest.raises(ConfigError, match="other settings"):
        run(source, tmp_path / "out", tmp_path / "job", config=blurred)
    outcome = run(source, tmp_path / "out", tmp_path / "job", config=blurred, restart=True, overwrite=True)
    assert outcome.counts[State.DONE] == 4


@pytest.mark.parametrize("what", ["zones", "model"])
def test_other_contents_of_a_file_that_settings_name_are_other_settings(what: str, tmp_path: Path) -> None:
    file = {"zones": tmp_path / "zones.toml", "model": tmp_path / "manifest.json"}[what]
    option = ("zones", str(file)) if what == "zones" else ("synthetic.model", str(tmp_path))
    config = overlay(Config(), dict([("cover.replacewith", "synthetic"), option]))
    digests = []
    for edge in (9, 9, 90):
        file.write_text(f"[[zone]]\npoints = [[0, 0], [{edge}, 0], [9, 9]]\n")
        digests.append(intake.settings_digest(config))
    assert digests[0] == digests[1] != digests[2]


def test_one_process_runs_a_job(source: Path, tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    with locked(tmp_path / "job"), pytest.raises(JournalBusy):
        run(source, tmp_path / "out", tmp_path / "job")


def test_places_that_lie_in_one_another_are_refused(source: Path, tmp_path: Path) -> None:
    for target, journal in ((source / "out", tmp_path / "job"), (source, tmp_path / "job"),
                            (tmp_path / "out", tmp_path / "out" / "job")):  # fmt: skip
        with pytest.raises(ConfigError):
            run(source, target, journal)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputMissing):
        run(tmp_path / "empty", tmp_path / "out", tmp_path / "job2")


@pytest.mark.parametrize("restart", [False, True])
def test_a_folder_of_somebody_is_no_journal(restart: bool, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    for name in ("work/footage.mp4", "reports/2026.pdf"):
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_text("mine")
    mine.chmod(0o755)
    before = contents(mine)
    with pytest.raises(ConfigError, match="no job's folder"):
        run(tmp_path / "in", tmp_path / "out", mine, restart=restart)
    assert contents(mine) == before
    assert mine.stat().st_mode & 0o777 == 0o755


def test_a_journal_among_the_originals_or_around_them_is_refused(tmp_path: Path) -> None:
    folder = archive(tmp_path / "work" / "in", 1)
    for journal in (folder / "job", folder, tmp_path / "work", tmp_path):
        with pytest.raises(ConfigError, match="lie in one another"):
            run(folder, tmp_path / "out", journal)
    assert run(folder / "cam0" / "000.mp4", tmp_path / "out", tmp_path / "job").counts[State.DONE] == 1


def test_a_job_deletes_what_it_made_and_nothing_else(tmp_path: Path) -> None:
    own = ("work/0000001/segment-000000", "reports/0000001.json", "identity.key")
    mine = ("work/mine.mp4", "work/mine/a.mp4", "reports/mine.json", "journal.sqlite.bak", "notes.txt")
    with Journal(tmp_path):
        for name in (*own, *mine):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("x")
    intake.forget(tmp_path)
    assert set(contents(tmp_path)) == set(mine)


def test_a_job_that_could_not_begin_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("no video")
    with pytest.raises(InputMissing):
        run(tmp_path / "in", tmp_path / "out", tmp_path / "jobs" / "job")
    assert list((tmp_path / "jobs").iterdir()) == []


@pytest.mark.parametrize("target", ["out", "memory://gone"])
def test_an_output_that_is_gone_is_made_again(target: str, source: Path, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    place = target if "://" in target else str(tmp_path / target)
    run(source, place, tmp_path / "job")
    system, path = fsspec.core.url_to_fs(place)
    system.rm_file(f"{path}/cam1/001.mp4")
    seen: set[str] = set()
    outcome = run(source, place, tmp_path / "job", lambda event: seen.add(event.row.name))
    assert seen == {"cam1/001.mp4"}
    assert outcome.counts[State.DONE] == len(system.find(path)) == 4


def test_hostile_names_stay_inside_and_come_out_as_they_went_in(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    made = clip(tmp_path / "a.mp4", 9).read_bytes()
    names = [b"-rf.mp4", b"a\nb.mp4", b"caf\xe9.mp4", b"$(touch x).mp4", b"'q\".mp4", b"%2e%2e%2f.mp4"]
    names += ["\u202egpj.mp4".encode(), b"concat:a|b.mp4", b"=1+1.mp4", b" .mp4", b"n" * 240 + b".mp4"]
    for name in names:
        (Path(os.fsdecode(os.fsencode(folder) + b"/" + name))).write_bytes(made)
    outcome = run(folder, tmp_path / "out", tmp_path / "job")
    assert outcome.counts[State.DONE] == len(names), reasons(outcome)
    assert sorted(os.fsencode(path.name) for path in (tmp_path / "out").iterdir()) == sorted(names)
    with Journal(outcome.folder) as journal:
        accounts.write(journal, tmp_path / "job")
    assert "'=1+1.mp4" in (tmp_path / "job" / "summary.csv").read_text()
    assert "\u202e" not in (tmp_path / "job" / "summary.html").read_text()


def test_the_jobs_key_is_private_never_in_the_output_and_gone_at_the_end(tmp_path: Path) -> None:
    synthetic = overlay(Config(), {"cover.replacewith": "synthetic"})
    keyed = intake.keyed(synthetic, tmp_path)
    path = tmp_path / "identity.key"
    assert keyed.synthetic.identity_key_file == path
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_bytes()) == 32
    assert intake.keyed(synthetic, tmp_path) == keyed
    assert intake.keyed(Config(), tmp_path / "other") == Config()
    own = overlay(synthetic, {"synthetic.identity_key_file": tmp_path / "mine"})
    assert intake.keyed(own, tmp_path / "other") == own


def test_what_lies_between_is_private_and_gone_at_the_end(source: Path, tmp_path: Path) -> None:
    job = tmp_path / "job"
    modes: set[int] = set()

    def looked(event: Event) -> None:
        for path in (job, *job.glob("work/*")):
            with contextlib.suppress(FileNotFoundError):  # another file's, done in the meantime
                modes.add(path.stat().st_mode & 0o777)

    job.mkdir()
    with Journal(job):
        (job / "identity.key").write_bytes(b"k" * 32)
    run(source, tmp_path / "out", job, looked)
    assert modes == {0o700}
    assert sorted(path.name for path in job.iterdir() if "sqlite" not in path.name) == ["lock", "reports"]


def test_a_higher_priority_goes_first(source: Path, tmp_path: Path) -> None:
    order: list[str] = []

    def began(event: Event) -> None:
        if event.state is State.RUNNING:
            order.append(event.row.name)

    run(source, tmp_path / "out", tmp_path / "job", began, priorities=(("cam1/*", 5), ("*/002*", 9)))
    assert order[0] == "cam0/002.mp4"
    assert set(order[1:3]) == {"cam1/001.mp4", "cam1/003.mp4"}


def test_a_job_that_waits_for_its_rate_can_be_stopped(source: Path, tmp_path: Path) -> None:
    stop = threading.Event()

    def stop_at_once(event: Event) -> None:
        threading.Timer(0.2, stop.set).start()

    outcome = run(source, tmp_path / "out", tmp_path / "job", stop_at_once, stop=stop, limit_bytes_s=0.1)
    assert outcome.counts[State.DONE] == 0
    assert outcome.counts[State.QUEUED] == 4

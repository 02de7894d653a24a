"""The journal: states that survive, names that are bytes, one process at a time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from veilcast.errors import ConfigError, JournalBusy, NotWritable
from veilcast.pipeline.journal import Journal, State, locked, shown
from veilcast.pipeline.stores import Entry


def entered(journal: Journal, *names: str, stamp: str = "1") -> None:
    journal.add([(Entry(name, 10, stamp), 0) for name in names])


def test_files_are_taken_once_by_priority_then_in_order(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.add([(Entry(n, 1, ""), p) for n, p in (("a", 0), ("b", 5), ("c", 0), ("d", 5))])
        taken = [row.name for row in iter(journal.take, None)]
    assert taken == ["b", "d", "a", "c"]


def test_threads_take_each_file_once(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        entered(journal, *(f"{n:03d}" for n in range(200)))
        taken: list[str] = []

        def take() -> None:
            while (row := journal.take()) is not None:
                taken.append(row.name)

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(taken) == [f"{n:03d}" for n in range(200)]


def test_what_is_done_stays_so_until_its_source_changes(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        entered(journal, "a", "b")
        row = journal.take()
        assert row is not None
        journal.seal(row.number, "hash", {"frames": 3})
        journal.settle(row.number, State.DONE)
    with Journal(tmp_path) as journal:
        entered(journal, "a", "b")
        assert journal.row(row.number).state is State.DONE
        assert journal.row(row.number).facts == {"frames": 3}
        entered(journal, "a", stamp="2")
        assert (journal.row(row.number).state, journal.row(row.number).sealed) == (State.QUEUED, "")


def test_what_a_person_cancels_stays_cancelled_unless_it_was_done_by_then(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        entered(journal, "a", "b")
        for end in (State.FAILED, State.DONE):
            row = journal.take()
            assert row is not None
            assert journal.move((State.RUNNING,), State.CANCELLED) == 1
            journal.settle(row.number, end)
        assert [row.state for row in journal.rows()] == [State.CANCELLED, State.DONE]


def test_segments_belong_to_a_file_and_go_when_it_is_done(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        entered(journal, "a", "b")
        for file in (1, 2):
            journal.add_segment(file, 0, "x")
            journal.add_segment(file, 4, "y")
        journal.settle(1, State.DONE)
        assert journal.segments(1) == {}
        assert journal.segments(2) == {0: "x", 4: "y"}


@pytest.mark.parametrize(
    "name", ["a\nb.mp4", "-rf.mp4", "caf\udce9.mp4", "\u202egpj.mp4", "名前/映像.mp4", "a'b\".mp4"]
)
def test_names_of_all_kinds_come_back_as_they_were(name: str, tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        entered(journal, name)
        row = journal.take()
    assert row is not None
    assert row.name == name
    assert shown(name).isprintable()
    shown(name).encode()


def test_one_process_runs_a_job(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(JournalBusy), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_file_that_is_no_journal_is_told(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_text(
        "something else altogether, and long enough to be looked at" * 20
    )
    with pytest.raises(ConfigError, match="is not a journal"):
        Journal(tmp_path)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotWritable, match="nothing"):
        Journal(tmp_path / "nothing")


def test_the_size_of_a_job_does_not_slow_it_down(tmp_path: Path) -> None:
    """Taking and settling reads an index: the work of a file does not grow with the files."""
    with Journal(tmp_path) as journal:
        entered(journal, *(f"{n:06d}.mp4" for n in range(20000)))
        for query in (
            "select number from files where state = 'queued' order by priority desc, number limit 1",
            "select * from files where number = 7",
        ):
            plan = str(journal._do(f"explain query plan {query}"))
            assert "SEARCH" in plan, plan
            assert "TEMP B-TREE" not in plan, plan

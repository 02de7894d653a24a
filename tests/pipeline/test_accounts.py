"""What a person reads about an archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from veilcast.pipeline import accounts
from veilcast.pipeline.account_page import duration, size
from veilcast.pipeline.job_clock import Clock
from veilcast.pipeline.journal import Journal, State
from veilcast.pipeline.stores import Entry


def test_reasons_are_counted_and_nothing_of_a_name_is_markup(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.add([(Entry(name, 1, ""), 0) for name in ("<b>.mp4", "b.mp4", "c.mp4")])
        for kind in ("DamagedMedia", "DamagedMedia", "NotVideo"):
            row = journal.take()
            assert row is not None
            journal.settle(row.number, State.QUARANTINED, kind, "cut <off>")
        made = accounts.write(journal, tmp_path / "s", price_an_hour=1.0)
    page = (tmp_path / "s" / "summary.html").read_text()
    assert made.quarantined == 3
    assert "<td>DamagedMedia<td>quarantined<td class=n>2" in page
    assert "<b>" not in page
    assert "cut &lt;off&gt;" in page


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.51, "4.5 s"), (75, "0:01:15"), (3600 * 1234 + 61, "1,234:01:01")]
)
def test_times_are_told_as_people_tell_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1500, "1.5 kB"), (2.5e12, "2.5 TB"), (5e15, "5,000 TB")]
)
def test_sizes_have_units(count: float, text: str) -> None:
    assert size(count) == text


def test_the_time_of_a_run_that_was_killed_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("veilcast.pipeline.job_clock.time.monotonic", lambda: now)
    with Journal(tmp_path) as journal:
        killed = Clock(journal, now)
        now = 107.0
        killed.tick()  # and never again
        now = 200.0
        with Clock(journal, now):
            now = 203.0
        assert journal.get("wall_s") == 10.0

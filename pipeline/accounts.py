"""What a job did, for whoever must answer for it: totals, and a line for each file, as CSV, JSON, HTML."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from veilcast.pipeline.account_page import as_html
from veilcast.pipeline.files import write_durably
from veilcast.pipeline.journal import Journal, Row, State, shown

Json = dict[str, Any]

PICTURES = 200  # files that are shown with a picture: a page of thousands does not open
COLUMNS = (
    "name", "state", "kind", "reason", "attempts", "hours_in", "hours_out", "bytes_in", "bytes_out", "frames",
    "covered_frames", "faces", "tracks", "work_s", "sha256_in", "sha256_out",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Totals:
    """Of a whole job. `faces`: faces in frames; `tracks`: people, as far as they were followed."""

    files: int
    done: int
    failed: int
    quarantined: int
    cancelled: int
    waiting: int
    hours_in: float
    hours_out: float
    bytes_in: int
    bytes_out: int
    frames: int
    covered_frames: int
    faces: int
    tracks: int
    wall_s: float
    frames_a_second: float
    times_real_time: float
    cost: float | None
    cost_an_hour: float | None  # of footage


def totals(rows: Sequence[Row], wall_s: float, price_an_hour: float | None = None) -> Totals:
    """`price_an_hour`: what an hour of the machines costs, in whatever money."""
    done = [row.facts for row in rows if row.state is State.DONE]
    count = {state: sum(row.state is state for row in rows) for state in State}

    def total(name: str) -> Any:
        return sum(facts.get(name, 0) for facts in done)

    hours, frames = total("seconds_in") / 3600, total("frames")
    cost = None if price_an_hour is None else wall_s / 3600 * price_an_hour
    return Totals(
        files=len(rows),
        done=count[State.DONE],
        failed=count[State.FAILED],
        quarantined=count[State.QUARANTINED],
        cancelled=count[State.CANCELLED],
        waiting=count[State.QUEUED] + count[State.RUNNING],
        hours_in=round(hours, 6),
        hours_out=round(total("seconds_out") / 3600, 6),
        bytes_in=total("bytes_in"),
        bytes_out=total("bytes_out"),
        frames=frames,
        covered_frames=total("covered_frames"),
        faces=total("faces"),
        tracks=total("tracks"),
        wall_s=round(wall_s, 3),
        frames_a_second=round(frames / wall_s, 3) if wall_s else 0.0,
        times_real_time=round(hours * 3600 / wall_s, 3) if wall_s else 0.0,
        cost=cost,
        cost_an_hour=None if cost is None or not hours else cost / hours,
    )


def line(row: Row) -> Json:
    """One file in the accounts."""
    facts = row.facts if row.state is State.DONE else {}
    hours = {f"hours_{end}": round(facts.get(f"seconds_{end}", 0.0) / 3600, 6) for end in ("in", "out")}
    work_s = round(row.ended - row.began, 3) if row.ended and row.began else 0.0
    own = {"name": shown(row.name), "state": str(row.state), "kind": row.kind, "reason": row.reason}
    values = {**facts, **hours, **own, "attempts": row.attempts, "work_s": work_s}
    return {name: values.get(name, "") for name in COLUMNS}


def write(journal: Journal, folder: Path, price_an_hour: float | None = None) -> Totals:
    """summary.csv, summary.json and summary.html into `folder`."""
    rows = list(journal.rows())
    made = totals(rows, journal.get("wall_s") or 0.0, price_an_hour)
    folder.mkdir(parents=True, exist_ok=True)
    lines = [line(row) for row in rows]
    write_durably(folder / "summary.csv", as_csv(lines).encode())
    write_durably(
        folder / "summary.json", json.dumps({"totals": asdict(made), "files": lines}, indent=1).encode()
    )
    page = as_html(asdict(made), lines, _pictures(journal, rows))
    write_durably(folder / "summary.html", page.encode())
    return made


def as_csv(lines: Iterable[Json]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    for values in lines:
        writer.writerow({key: _harmless(value) for key, value in values.items()})
    return out.getvalue()


def _harmless(value: Any) -> Any:
    """No text that a spreadsheet would run as a formula."""
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _pictures(journal: Journal, rows: Sequence[Row]) -> dict[str, str]:
    """Small pictures of outputs, base64 JPEG, by name: out of the reports."""
    found: dict[str, str] = {}
    for row in [row for row in rows if row.state is State.DONE][:PICTURES]:
        try:
            told = json.loads((journal.folder / "reports" / f"{row.number:07d}.json").read_text())
        except (OSError, ValueError):
            continue
        if picture := told.get("output", {}).get("picture"):
            found[shown(row.name)] = picture
    return found

"""One file of an archive, rendered in parts by a crew and put together: search, segments, join, check. What
is done is in the journal, part by part, and is not done again."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from veilcast.errors import WorkerError
from veilcast.pipeline import report
from veilcast.pipeline.archive_job import Job
from veilcast.pipeline.containers import telling_suffix
from veilcast.pipeline.encode import SEGMENT_FRAMES
from veilcast.pipeline.files import Part, sha256
from veilcast.pipeline.ledger import Fate
from veilcast.pipeline.report import FileFacts
from veilcast.pipeline.segments import open_segment, segment_path
from veilcast.pipeline.supervise import OnProgress, Progress

Json = dict[str, Any]


def rendered(job: Job, source: Path, part: Part) -> Json:
    """The output in `part`, verified, and its report."""
    place, row = job.place, job.row
    began_s = time.monotonic()
    facts = _scouted(job, source)
    hashes = _segments(job, source, facts)
    told = _ask(job, "join", source, target=str(part.path), segments=hashes).result()
    check = {
        "task": "verify",
        "target": str(part.path),
        "expected": told["expected"],
        "limits": place.config.limits.model_dump(mode="json"),
        "picture": _shown(told),
    }
    key = (-row.priority, row.number, -1)
    checked = job.crew.submit(check, place.config.limits, job.on_progress, key).result()
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    made = report.done(
        FileFacts(Path(row.name).name, source.stat().st_size, digest),
        FileFacts(Path(row.name).name, part.path.stat().st_size, sha256(part.path)),
        told,
        place.config,
    )
    made["output"]["seconds"] = _seconds(told["expected"])
    made["output"]["picture"] = checked.get("picture")
    made["work_s"] = round(time.monotonic() - began_s, 3)
    return made


def _shown(told: Json) -> int:
    """A frame that shows what was done: the middle of the longest time with a cover; else the first frame."""
    covered = [s for s in told["ledger"]["stretches"] if s["fate"] != str(Fate.CLEAN)]
    longest = max(covered, key=lambda s: s["last"] - s["first"], default={"first": 0, "last": 0})
    return int(longest["first"] + longest["last"]) // 2


def _seconds(expected: Json) -> float:
    """From the first frame to the end of the last one, about."""
    pts = expected["pts"]
    if len(pts) < 2:
        return 0.0
    whole = (pts[-1] - pts[0]) * Fraction(expected["time_base"])
    return float(whole * len(pts) / (len(pts) - 1))


def _scouted(job: Job, source: Path) -> Json:
    """What the search found: now, or in an earlier attempt on the same content with the same settings."""
    place, row = job.place, job.row
    work = place.work(row.number)
    noted = work / "file.json"
    mark = {"stamp": row.stamp}
    with suppress(OSError, ValueError):
        if json.loads((work / "mark.json").read_text()) == mark:
            found: Json = json.loads(noted.read_text())
            return found
    for path in work.glob("*"):
        if path.is_file():
            path.unlink()
    job.journal.forget_segments(row.number)
    facts = _ask(job, "scout", source).result()
    (work / "mark.json").write_text(json.dumps(mark))
    return facts


def _segments(job: Job, source: Path, facts: Json) -> list[str]:
    """The hashes of all segments, once they are rendered: those that were before an interruption are not
    again. Several at a time where the file can be entered at a cut."""
    count = len(facts["cuts"])
    have = _kept(job, facts)
    apart = facts["leads"] and job.place.config.cover.replacewith != "synthetic"
    missing = [n for n in range(count) if n not in have]
    if apart:
        groups = [(n, n + 1) for n in missing]
    else:  # in one go: a file that can only be read from its beginning, or people who must stay the same
        first = 0 if job.place.config.cover.replacewith == "synthetic" else (missing or [0])[0]
        groups = [(first, count)] if missing else []
    covered = _Covered(job, facts["frames"], {n: facts["cuts"][n] for n in have})
    asked = [
        _ask(job, "sections", source, covered.of(first), urgency=first, numbers=[first, end],
             suffix=telling_suffix(Path(job.row.name)))
        for first, end in groups
    ]  # fmt: skip
    _all_done(job, asked)
    have = job.journal.segments(job.row.number)
    return [have[n] for n in range(count)]


def _all_done(job: Job, asked: list[Future[Json]]) -> None:
    try:
        done, _ = wait(asked, return_when=FIRST_EXCEPTION)
        for answer in done:
            answer.result()
    finally:
        for answer in asked:
            answer.cancel()
        wait(asked)  # what is at work ends first: the next attempt writes the same names


def _kept(job: Job, facts: Json) -> dict[int, str]:
    """Segments of an earlier attempt that are still what was written."""
    kept: dict[int, str] = {}
    for number, digest in job.journal.segments(job.row.number).items():
        with suppress(WorkerError):
            if number < len(facts["cuts"]):
                open_segment(segment_path(job.place.work(job.row.number), number), digest)
                kept[number] = digest
    return kept


class _Covered:
    """Progress of segments that are rendered at the same time, and their way into the journal."""

    def __init__(self, job: Job, frames: int, kept: dict[int, Json]) -> None:
        self._job, self._frames = job, frames
        self._done = {n: cut["end"] - cut["first"] for n, cut in kept.items()}
        self._lock = threading.Lock()

    def of(self, first: int) -> OnProgress:
        def heard(progress: Progress) -> None:
            if progress.stage.startswith("segment:"):
                _, number, digest = progress.stage.split(":")
                self._job.journal.add_segment(self._job.row.number, int(number), digest)
            elif progress.stage == "covering":
                with self._lock:
                    self._done[first] = progress.done - first * SEGMENT_FRAMES
                    done = sum(self._done.values())
                self._job.on_progress(replace(progress, done=min(done, self._frames)))
            else:
                self._job.on_progress(progress)

        return heard


def _ask(
    job: Job, task: str, source: Path, heard: OnProgress | None = None, urgency: int = 0, **more: Any
) -> Future[Json]:
    place, row = job.place, job.row
    order = {
        "task": task,
        "source": str(source.absolute()),
        "name": row.name,
        "folder": str(place.work(row.number).absolute()),
        "config": place.config.model_dump(mode="json"),
        "models": place.models and str(place.models.absolute()),
        "preview": None,
        **more,
    }
    key = (-row.priority, row.number, urgency)
    return job.crew.submit(order, place.config.limits, heard or job.on_progress, key)

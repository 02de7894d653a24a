"""One file of an archive, from where it lies to where it shall lie: fetch, find, render by segment, join,
verify, report, name. Each step leaves in the journal what the next attempt need not do again."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from veilcast.config import Config
from veilcast.errors import (
    Cancelled,
    ConfigError,
    DamagedMedia,
    InputMissing,
    NotVideo,
    NotWritable,
    OutputExists,
    UnsupportedMedia,
    WorkerError,
)
from veilcast.pipeline import report, sniff
from veilcast.pipeline.containers import telling_suffix
from veilcast.pipeline.crew import Crew
from veilcast.pipeline.files import Part, reserve, sha256
from veilcast.pipeline.journal import Journal, Row, State, facts_of
from veilcast.pipeline.report import FileFacts
from veilcast.pipeline.segments import open_segment, segment_path
from veilcast.pipeline.stores import Store, is_safe
from veilcast.pipeline.supervise import OnProgress, Progress, silent

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job takes from, writes to and keeps what lies between."""

    source: Store
    target: Store
    folder: Path  # of the journal: mode 0700, never in the target
    config: Config
    models: Path | None = None
    overwrite: bool = False
    charge: Callable[[int], None] = lambda size: None  # waits where a rate is limited

    def work(self, number: int) -> Path:
        """The folder of what lies between, of one file."""
        return self.folder / "work" / f"{number:07d}"

    def report(self, number: int) -> Path:
        return self.folder / "reports" / f"{number:07d}.json"


@dataclass(frozen=True, slots=True)
class Job:
    """One file at work. `stop`: set when the whole job shall end at the next step."""

    place: Place
    journal: Journal
    crew: Crew
    row: Row
    stop: threading.Event
    on_progress: OnProgress = silent


def process(job: Job) -> Json:
    """Brings one file to its place and returns its report. Raises what went wrong with it."""
    name = job.row.name
    if not is_safe(name):
        raise UnsupportedMedia("its name leads out of the folder that it would be written to; rename it")
    _make_private(job.place.work(job.row.number))
    if (made := _already_there(job)) is not None:
        return made
    with _input(job) as source:
        return _published(job, source)


def _already_there(job: Job) -> Json | None:
    """The report of an output that has its name though the journal does not say so: a crash between."""
    place, row = job.place, job.row
    if not row.sealed:
        return None
    with suppress(OSError, ValueError):
        made: Json = json.loads(place.report(row.number).read_text())
        local = place.target.local(row.name)
        if local is not None and local.is_file() and sha256(local) == row.sealed == made["output"]["sha256"]:
            return made
        size = made["output"]["bytes"]
        if local is None and _remote_hash(job, size) == row.sealed == made["output"]["sha256"]:
            return made
    return None


def _remote_hash(job: Job, size: int) -> str | None:
    """The hash of what lies in the target's store under this name."""
    place = job.place
    if place.target.stamp(job.row.name) is None:
        return None
    copy = place.work(job.row.number) / "output" / "there"
    _make_private(copy.parent)
    try:
        place.target.fetch(job.row.name, copy, place.charge)
        return sha256(copy) if copy.stat().st_size == size else None
    finally:
        copy.unlink(missing_ok=True)


# -- input


@contextmanager
def _input(job: Job) -> Iterator[Path]:
    """The source on this machine. One that had to be fetched lies apart from everything safe, and goes."""
    place, row = job.place, job.row
    local = place.source.local(row.name)
    if not sniff.promises(row.name) or local is None:
        _sniffed(job)
    if local is not None:
        place.charge(row.bytes)
        if not local.is_file():
            raise InputMissing(f"{local.name} is not there any more")
        yield local
    else:
        copy = place.work(row.number) / "input" / ("source" + telling_suffix(Path(row.name)))
        _make_private(copy.parent)
        try:
            _fetched(job, copy)
            yield copy
        finally:
            if not job.stop.is_set():
                shutil.rmtree(copy.parent, ignore_errors=True)
    if place.source.stamp(row.name) != row.stamp:
        raise DamagedMedia(f"{row.name} changed while it was read; try again when nothing writes to it")


def _fetched(job: Job, copy: Path) -> None:
    noted = copy.with_suffix(".stamp")
    if copy.is_file() and noted.is_file() and noted.read_text() == job.row.stamp:
        return  # from before the interruption
    job.on_progress(Progress("fetching", 0, None))
    job.place.source.fetch(job.row.name, copy, job.place.charge)
    noted.write_text(job.row.stamp)


def _sniffed(job: Job) -> None:
    if not sniff.is_video(job.place.source.head(job.row.name)):
        raise NotVideo(f"{job.row.name} is not a video in a known container")


# -- rendering


def _published(job: Job, source: Path) -> Json:
    """Renders, verifies, reports, names."""
    place, row = job.place, job.row
    if place.source.local(row.name) is not None and place.source.stamp(row.name) != row.stamp:
        raise DamagedMedia(f"{row.name} changed since the job began; try again")
    local = place.target.local(row.name)
    if local is None:
        return _uploaded(job, source)
    if local.exists() and source.exists() and local.samefile(source):
        raise ConfigError(f"{row.name} would be written over itself; name another folder")
    try:
        local.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotWritable(f"cannot make the folder {local.parent}: {error.strerror}") from None
    with reserve(local, place.overwrite) as part:
        made = _rendered(job, source, part)
        _seal(job, made)
        part.commit(place.overwrite)
    return made


def _uploaded(job: Job, source: Path) -> Json:
    place, row = job.place, job.row
    if not place.overwrite and place.target.stamp(row.name) is not None:
        raise OutputExists(f"{row.name} exists in {place.target.url}; --overwrite replaces it")
    local = place.work(row.number) / "output" / ("target" + telling_suffix(Path(row.name)))
    _make_private(local.parent)
    with reserve(local, overwrite=True) as part:
        made = _rendered(job, source, part)
        _seal(job, made)
        job.on_progress(Progress("sending", 0, None))
        place.target.put(part.path, row.name, place.charge)
    return made


def _seal(job: Job, made: Json) -> None:
    """Before the name: the report on the disk, and the journal's word that it is about to be given."""
    if job.journal.row(job.row.number).state is State.CANCELLED:
        raise Cancelled(f"{job.row.name} was cancelled")
    report.write(job.place.report(job.row.number), made)
    job.journal.seal(job.row.number, made["output"]["sha256"], facts_of(made))


def _rendered(job: Job, source: Path, part: Part) -> Json:
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
        "picture": True,
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


def _seconds(expected: Json) -> float:
    """From the first frame to the end of the last one, about."""
    from fractions import Fraction

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
        from veilcast.pipeline.encode import SEGMENT_FRAMES

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


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise NotWritable(f"cannot make the folder {folder}: {error.strerror}") from None

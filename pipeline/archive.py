"""One file of an archive, from where it lies to where it shall lie: fetch, render (rendering.py), report,
name. Each step leaves in the journal what the next attempt need not do again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from veilcast.errors import (
    Cancelled,
    ConfigError,
    DamagedMedia,
    InputMissing,
    NotVideo,
    NotWritable,
    OutputExists,
    UnsupportedMedia,
)
from veilcast.pipeline import report, sniff
from veilcast.pipeline.archive_job import Job, make_private
from veilcast.pipeline.containers import telling_suffix
from veilcast.pipeline.files import reserve, sha256
from veilcast.pipeline.journal import State, facts_of
from veilcast.pipeline.rendering import rendered
from veilcast.pipeline.stores import is_safe
from veilcast.pipeline.supervise import Progress

Json = dict[str, Any]


def process(job: Job) -> Json:
    """Brings one file to its place and returns its report. Raises what went wrong with it."""
    name = job.row.name
    if not is_safe(name):
        raise UnsupportedMedia("its name leads out of the folder that it would be written to; rename it")
    make_private(job.place.work(job.row.number))
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
    make_private(copy.parent)
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
        make_private(copy.parent)
        try:
            _fetched(job, copy)
            yield copy
        finally:
            if not job.stop.is_set():
                shutil.rmtree(copy.parent, ignore_errors=True)


def _check_unchanged(job: Job) -> None:
    """Raises DamagedMedia if the source is not the one that the job met: faces would have been looked for in
    another picture than the one that was covered."""
    if job.place.source.stamp(job.row.name) != job.row.stamp:
        raise DamagedMedia(f"{job.row.name} changed while it was read; try again when nothing writes to it")


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


# -- output


def _published(job: Job, source: Path) -> Json:
    """Renders, verifies, reports, names."""
    place, row = job.place, job.row
    if place.source.local(row.name) is not None:
        _check_unchanged(job)
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
        made = rendered(job, source, part)
        _seal(job, made)
        part.commit(place.overwrite)
    return made


def _uploaded(job: Job, source: Path) -> Json:
    place, row = job.place, job.row
    if not place.overwrite and place.target.stamp(row.name) is not None:
        raise OutputExists(f"{row.name} exists in {place.target.url}; --overwrite replaces it")
    local = place.work(row.number) / "output" / ("target" + telling_suffix(Path(row.name)))
    make_private(local.parent)
    with reserve(local, overwrite=True) as part:
        made = rendered(job, source, part)
        _seal(job, made)
        job.on_progress(Progress("sending", 0, None))
        place.target.put(part.path, row.name, place.charge)
    return made


def _seal(job: Job, made: Json) -> None:
    """Before the name: the source as it was, the report on the disk, and the journal's word that the name is
    about to be given."""
    _check_unchanged(job)
    if job.journal.row(job.row.number).state is State.CANCELLED:
        raise Cancelled(f"{job.row.name} was cancelled")
    report.write(job.place.report(job.row.number), made)
    job.journal.seal(job.row.number, made["output"]["sha256"], facts_of(made))

"""`veilcast batch`: an archive, file after file and several at a time, that can be killed at any moment.

The journal holds what is done; the same call again goes on from there. One thread for each file at work
walks it through its steps (archive.py); the steps themselves are done by a crew of processes (crew.py),
here or on a Ray cluster (actors.py).
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
)

from veilcast.config import Config
from veilcast.errors import (
    Cancelled,
    DamagedMedia,
    DiskFull,
    InputTooLarge,
    ModelError,
    NotVideo,
    NotWritable,
    SomeFailed,
    StoreFailed,
    UnsupportedMedia,
    VeilcastError,
    WorkerError,
)
from veilcast.pipeline.archive import process
from veilcast.pipeline.archive_job import Job, Place
from veilcast.pipeline.crew import Crew, LocalCrew
from veilcast.pipeline.intake import (
    KEY,
    begin,
    check_apart,
    clear_work,
    default_folder,
    forget,
    keyed,
    make_folder,
    scan,
    seek_gone,
)
from veilcast.pipeline.job_clock import Clock
from veilcast.pipeline.journal import Journal, Row, State, facts_of, locked, shown
from veilcast.pipeline.rate import Bucket
from veilcast.pipeline.stages import Covers
from veilcast.pipeline.stores import open_store
from veilcast.pipeline.supervise import Progress

Json = dict[str, Any]

QUARANTINES = (NotVideo, UnsupportedMedia, DamagedMedia, InputTooLarge)  # the input's fault: no second try
RETRIES = (StoreFailed, WorkerError, OSError)  # nobody's fault that is known
ENDS = (ModelError, DiskFull)  # the whole job: the next file would meet the same
IN_FLIGHT = 1  # files that wait, fetched and looked at, for each worker


@dataclass(frozen=True, slots=True)
class Options:
    """How a job runs; the settings say what becomes of the pictures. None of this changes an output."""

    workers: int | None = None  # None = one for each processor
    on_error: Literal["continue", "stop"] = "continue"
    restart: bool = False
    overwrite: bool = False
    retries: int = 3
    back_off_s: float = 1.0  # before the second try; doubled each time
    limit_bytes_s: float | None = None
    priorities: tuple[tuple[str, int], ...] = ()  # (glob over names, priority); higher goes first
    journal: Path | None = None
    models: Path | None = None
    source_options: Mapping[str, Any] = field(default_factory=dict)
    target_options: Mapping[str, Any] = field(default_factory=dict)
    crew: Callable[[int], AbstractContextManager[Crew]] = LocalCrew


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a file. `state` None = it is at `progress`."""

    row: Row
    state: State | None = None
    progress: Progress | None = None


OnEvent = Callable[[Event], None]


def unheard(event: Event) -> None:
    """Events that nobody listens to."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job."""

    folder: Path  # of the journal
    counts: Mapping[State, int]
    left_behind: tuple[str, ...]  # files that are no videos and do not claim to be
    wall_s: float


def run_archive(
    source: str,
    target: str,
    config: Config = Config(),  # noqa: B008 (frozen)
    options: Options = Options(),
    on_event: OnEvent = unheard,
    stop: threading.Event | None = None,
) -> Outcome:
    """Brings every video of `source` to the same name below `target`, with every face covered.

    Each is there whole or not at all. Files that fail are in the journal with their reasons; the caller
    looks at `counts`. Raises ConfigError, InputMissing, JournalBusy, OutputError, ModelError at once.
    `stop`: ends the job at the next step, to be resumed.
    """
    began_s, stop = time.monotonic(), stop or threading.Event()
    folder = (options.journal or default_folder(source, target)).absolute()
    Covers.of(config)  # zones without sense are told now
    check_apart(source, target, folder)
    taken, given = (
        open_store(source, dict(options.source_options)),
        open_store(target, dict(options.target_options)),
    )
    made = not folder.exists()
    make_folder(folder)
    with locked(folder):
        if options.restart:
            forget(folder)
        with Journal(folder) as journal:
            try:
                begin(journal, source, target, config)
                left = scan(taken, journal, options.priorities)
            except VeilcastError:
                if made:  # just now, for nothing: nobody can go on with it
                    shutil.rmtree(folder, ignore_errors=True)
                raise
            seek_gone(given, journal)
            journal.move((State.RUNNING,), State.QUEUED)  # of a process that was killed
            bucket = (
                Bucket(options.limit_bytes_s, sleep=_sleep_until(stop)) if options.limit_bytes_s else None
            )
            charge = bucket.charge if bucket else lambda size: None
            own = keyed(config, folder)
            place = Place(taken, given, folder, own, options.models, options.overwrite, charge)
            with Clock(journal, began_s) as clock:
                _work(place, journal, options, on_event, stop, clock)
            counts = journal.counts()
            if not counts[State.QUEUED] and not counts[State.RUNNING]:
                (folder / KEY).unlink(missing_ok=True)  # the job is done: nobody draws these people again
                clear_work(folder)
            return Outcome(folder, counts, left, time.monotonic() - began_s)


# -- work


def _work(
    place: Place, journal: Journal, options: Options, on_event: OnEvent, stop: threading.Event, clock: Clock
) -> None:
    """Files until none waits. Raises what must end the job: missing weights, a full disk of the journal."""
    workers = options.workers or len(os.sched_getaffinity(0))
    ended: list[BaseException] = []
    with options.crew(workers) as crew:

        def serve() -> None:
            try:
                while not stop.is_set() and (row := journal.take()) is not None:
                    _one(Job(place, journal, crew, row, stop), options, on_event)
            except BaseException as error:  # noqa: BLE001 (raised where the job was asked for)
                ended.append(error)
                stop.set()

        with ThreadPoolExecutor(workers + IN_FLIGHT, "file") as pool:
            tasks = [pool.submit(serve) for _ in range(workers + IN_FLIGHT)]
            try:
                while not all(task.done() for task in tasks):
                    clock.tick()
                    if stop.wait(0.1):
                        break
            except BaseException:
                stop.set()
                raise
            finally:
                if stop.is_set():
                    crew.close()
    if ended:
        raise ended[0]


def _one(job: Job, options: Options, on_event: OnEvent) -> None:
    """One file to its end. What went wrong is in the journal."""
    row, journal = job.row, job.journal
    tried = Job(job.place, journal, job.crew, row, job.stop, lambda step: on_event(Event(row, progress=step)))
    on_event(Event(row, State.RUNNING))
    try:
        made = _retried(tried, options)
    except ENDS:
        journal.move((State.RUNNING,), State.QUEUED, [row.number])
        raise
    except VeilcastError as error:
        _unsuccessful(tried, error, options)
    except OSError as error:
        _unsuccessful(
            tried, NotWritable(f"{shown(row.name)}: {error.strerror or type(error).__name__}"), options
        )
    else:
        journal.seal(row.number, made["output"]["sha256"], facts_of(made))
        journal.settle(row.number, State.DONE)
        shutil.rmtree(job.place.work(row.number), ignore_errors=True)
    settled = journal.row(row.number)
    on_event(Event(settled, settled.state))


def _retried(job: Job, options: Options) -> Json:
    """Tries again, later and later, what may go better the next time."""
    tries = Retrying(
        stop=stop_after_attempt(options.retries + 1),
        wait=wait_exponential(options.back_off_s, max=60),
        retry=retry_if_exception_type(RETRIES),
        sleep=_sleep_until(job.stop),
        reraise=True,
    )
    for attempt in tries:
        with attempt:
            if job.stop.is_set():
                raise Cancelled("the job was stopped")
            return process(job)
    raise AssertionError("the last try returns or raises")


def _sleep_until(stop: threading.Event) -> Callable[[float], None]:
    def sleep(seconds: float) -> None:
        stop.wait(seconds)

    return sleep


def _unsuccessful(job: Job, error: VeilcastError, options: Options) -> None:
    row, journal = job.row, job.journal
    if job.stop.is_set():  # not the file's fault: it goes on from its segments the next time
        journal.move((State.RUNNING,), State.QUEUED, [row.number])
        return
    kind = type(error).__name__
    if isinstance(error, Cancelled):
        journal.settle(row.number, State.CANCELLED, kind, str(error))
    elif isinstance(error, QUARANTINES):
        journal.settle(row.number, State.QUARANTINED, kind, str(error))
    else:
        journal.settle(row.number, State.FAILED, kind, str(error))
    _explained(job, error)
    with suppress(OSError):
        shutil.rmtree(job.place.work(row.number))
    if options.on_error == "stop" and not isinstance(error, Cancelled):
        job.stop.set()


def _explained(job: Job, error: VeilcastError) -> None:
    """Why there is no output, as in `run`: a report."""
    from veilcast.pipeline import report

    with suppress(VeilcastError):
        name = Path(job.row.name).name
        report.write(job.place.report(job.row.number), report.refused(name, error, job.place.config))


def told(outcome: Outcome) -> None:
    """Raises SomeFailed where files are not where they shall be."""
    bad = sum(outcome.counts[state] for state in (State.FAILED, State.QUARANTINED, State.CANCELLED))
    if bad:
        total = sum(outcome.counts.values())
        raise SomeFailed(
            f"{bad} of {total} files were not done; `veilcast jobs show {outcome.folder}` tells why"
        )

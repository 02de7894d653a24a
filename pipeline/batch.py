"""`veilcast batch`: an archive, file after file and several at a time, that can be killed at any moment.

The journal holds what is done; the same call again goes on from there. One thread for each file at work
walks it through its steps (archive.py); the steps themselves are done by a crew of processes (crew.py),
here or on a Ray cluster (actors.py).
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from itertools import islice
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
    ConfigError,
    DamagedMedia,
    DiskFull,
    InputMissing,
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
from veilcast.pipeline import sniff
from veilcast.pipeline.archive import Job, Place, process
from veilcast.pipeline.crew import Crew, LocalCrew
from veilcast.pipeline.journal import NAME, Journal, Row, State, facts_of, locked, shown
from veilcast.pipeline.rate import Bucket
from veilcast.pipeline.stages import Covers
from veilcast.pipeline.stores import Entry, Folder, Store, open_store
from veilcast.pipeline.supervise import Progress

Json = dict[str, Any]

KEY = "identity.key"
QUARANTINES = (NotVideo, UnsupportedMedia, DamagedMedia, InputTooLarge)  # the input's fault: no second try
RETRIES = (StoreFailed, WorkerError, OSError)  # nobody's fault that is known
ENDS = (ModelError, DiskFull)  # the whole job: the next file would meet the same
ADDED_AT_ONCE = 1000
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
    began_s = time.monotonic()
    folder = (options.journal or default_folder(source, target)).absolute()
    Covers.of(config)  # zones without sense are told now
    _check_apart(source, target, folder)
    taken, given = (
        open_store(source, dict(options.source_options)),
        open_store(target, dict(options.target_options)),
    )
    _make_folder(folder)
    with locked(folder):
        if options.restart:
            _forget(folder)
        with Journal(folder) as journal:
            _begin(journal, source, target, config)
            left = _scan(taken, journal, options)
            journal.move((State.RUNNING,), State.QUEUED)  # of a process that was killed
            keyed = _keyed(config, folder)
            bucket = Bucket(options.limit_bytes_s) if options.limit_bytes_s else None
            charge = bucket.charge if bucket else lambda size: None
            place = Place(taken, given, folder, keyed, options.models, options.overwrite, charge)
            _work(place, journal, options, on_event, stop or threading.Event())
            counts = journal.counts()
            if not counts[State.QUEUED] and not counts[State.RUNNING]:
                (folder / KEY).unlink(missing_ok=True)  # the job is done: nobody draws these people again
                shutil.rmtree(folder / "work", ignore_errors=True)
            wall_s = time.monotonic() - began_s
            journal.set(wall_s=(journal.get("wall_s") or 0.0) + wall_s)
            return Outcome(folder, counts, left, wall_s)


def state_home() -> Path:
    """Where jobs have their folders unless they are told another place."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "veilcast" / "jobs"


def default_folder(source: str, target: str) -> Path:
    """The journal's folder of this source and target: the same command finds it again."""
    ends = [end if "://" in end else str(Path(end).absolute()) for end in (source, target)]
    return state_home() / hashlib.sha256("\n".join(ends).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _check_apart(source: str, target: str, folder: Path) -> None:
    """Raises ConfigError where the job would read what it writes, or keep its key beside the output."""
    given = open_store(target)
    if isinstance(given, Folder):
        root = Path(target.removeprefix("file://")).absolute().resolve()
        if folder.resolve() == root or root in folder.resolve().parents:
            raise ConfigError(f"the journal must not lie in the output {target}; name another folder")
        if any(c in target for c in "*?[") and not root.exists():
            raise ConfigError(f"{target} must name a folder, not a pattern")
        taken = open_store(source)
        if isinstance(taken, Folder):
            there = taken.root.resolve()
            if root == there or there in root.parents or root in there.parents:
                raise ConfigError(f"{target} and {source} lie in one another; write to a folder beside it")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        (folder / "reports").mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise NotWritable(f"cannot make the journal's folder {folder}: {error.strerror}") from None


def _forget(folder: Path) -> None:
    """Nothing was ever done, as far as this journal goes; outputs that exist stay."""
    for path in folder.iterdir():
        if path.name.startswith(NAME) or path.name == KEY:
            path.unlink()
        elif path.name in ("work", "reports"):
            shutil.rmtree(path)
    (folder / "reports").mkdir(mode=0o700)


def settings_digest(config: Config) -> str:
    """Names the settings that decide about an output's pixels; limits and keys do not."""
    told = config.model_dump(mode="json", exclude={"limits": True, "synthetic": {"identity_key_file"}})
    return hashlib.sha256(repr(sorted(told.items())).encode()).hexdigest()


def _begin(journal: Journal, source: str, target: str, config: Config) -> None:
    digest = settings_digest(config)
    before = journal.get("settings")
    if before is not None and before != digest:
        raise ConfigError("this job was begun with other settings; give the same, or --restart to begin anew")
    if before is None:
        journal.set(settings=digest, made=time.time(), version=1)
    journal.set(source=_printable_url(source), target=_printable_url(target))


def _printable_url(url: str) -> str:
    """Without a user and password that somebody wrote into it."""
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}" if mark else url


def _scan(store: Store, journal: Journal, options: Options) -> tuple[str, ...]:
    """Enters what is there and may be a video. Gives the names of the rest."""
    left: list[str] = []

    def wanted() -> Iterator[tuple[Entry, int]]:
        for entry in store.walk():
            if entry.name.endswith(".part"):
                continue
            if not sniff.promises(entry.name) and not _looks_like_video(store, entry):
                left.append(entry.name)
                continue
            yield entry, _priority(entry.name, options.priorities)

    found = wanted()
    while some := list(islice(found, ADDED_AT_ONCE)):
        journal.add(some)
    if not any(journal.counts().values()):
        raise InputMissing(f"there is no video in {store.url}; name a folder that holds some")
    return tuple(left)


def _looks_like_video(store: Store, entry: Entry) -> bool:
    try:
        return sniff.is_video(store.head(entry.name))
    except (InputMissing, StoreFailed):
        return True  # told when it is its turn


def _priority(name: str, rules: Sequence[tuple[str, int]]) -> int:
    return max((n for pattern, n in rules if fnmatch.fnmatchcase(name, pattern)), default=0)


def _keyed(config: Config, folder: Path) -> Config:
    """The settings with the job's identity key: a private file beside the journal, for as long as files
    wait, so that what is resumed goes on with the same people."""
    own = config.synthetic
    if config.cover.replacewith != "synthetic" or own.identity_key_file is not None or own.seed is not None:
        return config
    path = folder / KEY
    if not path.exists():
        fresh = path.with_suffix(".part")
        fresh.unlink(missing_ok=True)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    return config.model_copy(update={"synthetic": own.model_copy(update={"identity_key_file": path})})


# -- work


def _work(place: Place, journal: Journal, options: Options, on_event: OnEvent, stop: threading.Event) -> None:
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
                    _watch_cancelled(journal)
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


def _watch_cancelled(journal: Journal) -> None:
    """A whole job that a person cancelled ends with what it is at."""
    if journal.get("cancel"):
        journal.move((State.QUEUED,), State.CANCELLED)
        journal.set(cancel=False)


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

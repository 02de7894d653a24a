"""What is known of an archive job: SQLite in WAL mode, every change durable before it counts.

One process runs a job (a lock says so); others may look, retry and cancel at the same time.
States of a file: queued -> running -> done | failed | quarantined | cancelled. `sealed` is the hash of
the output that was about to get its final name: after a crash it tells whether it has it.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from veilcast.errors import ConfigError, DiskFull, JournalBusy, NotWritable
from veilcast.pipeline.stores import Entry

Json = dict[str, Any]

NAME, LOCK = "journal.sqlite", "lock"
VERSION = 1
SCHEMA = """
create table if not exists job (key text primary key, value text not null) without rowid;
create table if not exists files (
  number integer primary key, name blob unique not null, bytes integer not null, stamp text not null,
  priority integer not null default 0, state text not null default 'queued',
  attempts integer not null default 0,
  kind text not null default '', reason text not null default '', sealed text not null default '',
  began real, ended real, facts text not null default '{}');
create index if not exists waiting on files (state, priority desc, number);
create table if not exists segments (
  file integer not null, number integer not null, sha256 text not null, primary key (file, number)
) without rowid;
"""


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # another try may do: the machine, the disk or the store was at fault
    QUARANTINED = "quarantined"  # the input itself is at fault
    CANCELLED = "cancelled"


SETTLED = (State.DONE, State.FAILED, State.QUARANTINED, State.CANCELLED)


@dataclass(frozen=True, slots=True)
class Row:
    """One file of a job. `facts`: numbers of its report, for the accounts."""

    number: int
    name: str
    bytes: int
    stamp: str
    priority: int
    state: State
    attempts: int
    kind: str  # of the error, by its class
    reason: str
    sealed: str
    began: float | None  # seconds since 1970
    ended: float | None
    facts: Json


COLUMNS = "number, name, bytes, stamp, priority, state, attempts, kind, reason, sealed, began, ended, facts"


class Journal:
    """The journal in a folder. A context manager; threads may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        try:
            self._db = sqlite3.connect(
                folder / NAME, timeout=60, isolation_level=None, check_same_thread=False
            )
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = full")
            self._db.executescript(SCHEMA)
        except sqlite3.OperationalError as error:
            raise NotWritable(f"cannot write the journal in {folder}: {error}") from None
        except sqlite3.DatabaseError:
            raise ConfigError(
                f"{folder / NAME} is not a journal of veilcast; --restart begins a new one"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *rest: object) -> None:
        self._db.close()

    # -- the job

    def get(self, key: str) -> Any:
        found = self._do("select value from job where key = ?", (key,))
        return json.loads(found[0][0]) if found else None

    def set(self, **values: Any) -> None:
        rows = [(key, json.dumps(value)) for key, value in values.items()]
        with self._all_or_nothing():
            self._db.executemany("insert or replace into job values (?, ?)", rows)

    # -- its files

    def add(self, entries: Sequence[tuple[Entry, int]]) -> None:
        """Enters files with their priorities. One that is known and has changed since starts anew."""
        with self._all_or_nothing():
            self._db.executemany(
                "insert into files (name, bytes, stamp, priority) values (?, ?, ?, ?) "
                "on conflict (name) do update set bytes = excluded.bytes, priority = excluded.priority, "
                "state = case when stamp = excluded.stamp then state else 'queued' end, "
                "sealed = case when stamp = excluded.stamp then sealed else '' end, stamp = excluded.stamp",
                [(_blob(e.name), e.bytes, e.stamp, priority) for e, priority in entries],
            )

    def rows(self, *states: State) -> Iterator[Row]:
        """Files in the order in which they are taken; of all states where none is given."""
        marks = ",".join("?" * len(states))
        where = f"where state in ({marks})" if states else ""
        query = f"select {COLUMNS} from files {where} order by priority desc, number"
        return map(_row, self._do(query, states))

    def row(self, number: int) -> Row:
        return _row(self._do(f"select {COLUMNS} from files where number = ?", (number,))[0])

    def counts(self) -> dict[State, int]:
        found = dict(self._do("select state, count(*) from files group by state"))
        return {state: found.get(state, 0) for state in State}

    def take(self) -> Row | None:
        """The next file that waits, now running. None where there is none."""
        found = self._do(
            "update files set state = 'running', attempts = attempts + 1, began = ?, ended = null, "
            "kind = '', reason = '' where number = (select number from files where state = 'queued' "
            f"order by priority desc, number limit 1) returning {COLUMNS}",
            (time.time(),),
        )
        return _row(found[0]) if found else None

    def seal(self, number: int, sha256: str, facts: Json) -> None:
        """The output of this hash is whole and about to get its name."""
        self._do(
            "update files set sealed = ?, facts = ? where number = ?", (sha256, json.dumps(facts), number)
        )

    def settle(self, number: int, state: State, kind: str = "", reason: str = "") -> None:
        """The end of a file, for now; the segments of one that is done are forgotten."""
        with self._all_or_nothing():
            # a person may have cancelled it meanwhile: only what is done is so all the same
            self._db.execute(
                "update files set "
                "state = case when state = 'cancelled' and ? <> 'done' then state else ? end, "
                "kind = ?, reason = ?, ended = ? where number = ?",
                (state, state, kind, reason, time.time(), number),
            )
            if state is State.DONE:
                self._db.execute("delete from segments where file = ?", (number,))

    def move(self, old: Sequence[State], new: State, numbers: Sequence[int] | None = None) -> int:
        """Files of the `old` states get the `new` one; how many."""
        marks = ",".join("?" * len(old))
        some = "" if numbers is None else f" and number in ({','.join(map(str, map(int, numbers)))})"
        query = f"update files set state = ? where state in ({marks}){some} returning number"
        return len(self._do(query, (new, *old)))

    # -- segments of a long file

    def segments(self, file: int) -> dict[int, str]:
        """Hashes of the segments that are on the disk, by number."""
        return dict(self._do("select number, sha256 from segments where file = ?", (file,)))

    def add_segment(self, file: int, number: int, sha256: str) -> None:
        self._do("insert or replace into segments values (?, ?, ?)", (file, number, sha256))

    def forget_segments(self, file: int) -> None:
        self._do("delete from segments where file = ?", (file,))

    def _do(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock, _written(self.folder):
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        with self._lock, _written(self.folder):
            self._db.execute("begin immediate")
            try:
                yield
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "full" in str(error):
            raise DiskFull(f"no space left for the journal in {folder}; free some and resume") from None
        raise NotWritable(f"the journal in {folder} cannot be written: {error}") from None


def _row(values: Sequence[Any]) -> Row:
    number, name, size, stamp, priority, state, *rest, facts = values
    attempts, kind, reason, sealed, began, ended = rest
    return Row(
        number,
        _text(name),
        size,
        stamp,
        priority,
        State(state),
        attempts,
        kind,
        reason,
        sealed,
        began,
        ended,
        json.loads(facts),
    )


def _blob(name: str) -> bytes:
    """Names of files are bytes; those that are no UTF-8 come in Python with surrogates."""
    return name.encode("utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return bytes(name).decode("utf-8", "surrogateescape")


def shown(name: str) -> str:
    """A name as it may be printed: no control characters, no broken UTF-8, nothing that turns text round."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The right to run the job in this folder. Raises JournalBusy where another process has it."""
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalBusy(f"another process runs the job in {folder}; wait for it or stop it") from None
        yield
    finally:
        os.close(fd)


def is_run(folder: Path) -> bool:
    """Whether a process runs the job in this folder now."""
    try:
        with locked(folder):
            return False
    except JournalBusy:
        return True


def facts_of(report: Mapping[str, Any]) -> Json:
    """What the accounts need of a report."""
    media, ledger = report["input"]["media"], report["ledger"]["counts"]
    return {
        "bytes_in": report["input"]["bytes"],
        "bytes_out": report["output"]["bytes"],
        "sha256_in": report["input"]["sha256"],
        "sha256_out": report["output"]["sha256"],
        "seconds_in": media["duration_s"] or 0.0,
        "seconds_out": report["output"]["seconds"],
        "frames": report["output"]["frames"],
        "faces": sum(track["frames"] for track in report["tracks"]),
        "tracks": len(report["tracks"]),
        "covered_frames": sum(count for fate, count in ledger.items() if fate != "clean"),
    }

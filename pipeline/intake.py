"""What a job needs before any work: its folder, its settings, what there is to do, the key."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from veilcast.config import Config
from veilcast.errors import ConfigError, InputMissing, NotWritable, StoreFailed
from veilcast.pipeline import named, sniff
from veilcast.pipeline.archive_job import NUMBER, make_private
from veilcast.pipeline.journal import LOCK, NAME, Journal, State
from veilcast.pipeline.stores import Entry, Folder, Store, open_store, printable

KEY = "identity.key"
ADDED_AT_ONCE = 1000


def state_home() -> Path:
    """Where jobs have their folders unless they are told another place."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "veilcast" / "jobs"


def default_folder(source: str, target: str) -> Path:
    """The journal's folder of this source and target: the same command finds it again."""
    ends = [end if "://" in end else str(Path(end).absolute()) for end in (source, target)]
    return state_home() / hashlib.sha256("\n".join(ends).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def check_apart(source: str, target: str, folder: Path) -> None:
    """Raises ConfigError where the job would read what it writes, or keep its key beside the output or among
    the originals."""
    taken, own = open_store(source), folder.resolve()
    if isinstance(taken, Folder) and _in_one_another(own, taken.whole.resolve()):
        raise ConfigError(f"the journal {folder} and {source} lie in one another; name another folder")
    given = open_store(target)
    if isinstance(given, Folder):
        root = Path(target.removeprefix("file://")).absolute().resolve()
        if folder.resolve() == root or root in folder.resolve().parents:
            raise ConfigError(f"the journal must not lie in the output {target}; name another folder")
        if any(c in target for c in "*?[") and not root.exists():
            raise ConfigError(f"{target} must name a folder, not a pattern")
        if isinstance(taken, Folder) and _in_one_another(root, taken.root.resolve()):
            raise ConfigError(f"{target} and {source} lie in one another; write to a folder beside it")


def _in_one_another(one: Path, other: Path) -> bool:
    return one == other or one in other.parents or other in one.parents


def make_folder(folder: Path) -> None:
    """The job's folder, private. Raises ConfigError for one that holds something else, NotWritable."""
    try:
        _check_own(folder)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
    except OSError as error:
        raise NotWritable(f"cannot make the journal's folder {folder}: {error.strerror}") from None


def _check_own(folder: Path) -> None:
    held = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if NAME not in held and held - {LOCK}:
        raise ConfigError(f"{folder} is not empty and no job's folder; give --journal a new or an empty one")


def forget(folder: Path) -> None:
    """Nothing was ever done, as far as this journal goes; outputs that exist stay."""
    for report in (folder / "reports").glob(f"{NUMBER}.json"):
        report.unlink()
    clear_work(folder)
    for name in (KEY, NAME, f"{NAME}-wal", f"{NAME}-shm"):
        (folder / name).unlink(missing_ok=True)


def clear_work(folder: Path) -> None:
    """What lies between goes: the folders that files were given, and nothing that somebody else put there."""
    for path in (folder / "work").glob(NUMBER):
        shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        (folder / "work").rmdir()


def settings_digest(config: Config) -> str:
    """Names the settings that decide about an output's pixels, with what is in the files that they name;
    limits and keys do not. Raises ConfigError."""
    told = config.model_dump(mode="json", exclude={"limits": True, "synthetic": {"identity_key_file"}})
    return hashlib.sha256((repr(sorted(told.items())) + named.contents(config)).encode()).hexdigest()


def begin(journal: Journal, source: str, target: str, config: Config) -> None:
    digest = settings_digest(config)
    before = journal.get("settings")
    if before is not None and before != digest:
        raise ConfigError("this job was begun with other settings; give the same, or --restart to begin anew")
    if before is None:
        journal.set(settings=digest, made=time.time(), version=1)
    journal.set(source=printable(source), target=printable(target))
    make_private(journal.folder / "reports")


def scan(store: Store, journal: Journal, priorities: Sequence[tuple[str, int]]) -> tuple[str, ...]:
    """Enters what is there and may be a video. Gives the names of the rest."""
    left: list[str] = []

    def wanted() -> Iterator[tuple[Entry, int]]:
        for entry in store.walk():
            if entry.name.endswith(".part"):
                continue
            if not sniff.promises(entry.name) and not _looks_like_video(store, entry):
                left.append(entry.name)
                continue
            yield entry, _priority(entry.name, priorities)

    found = wanted()
    while some := list(islice(found, ADDED_AT_ONCE)):
        journal.add(some)
    if not any(journal.counts().values()):
        raise InputMissing(f"there is no video in {store.url}; name a folder that holds some")
    return tuple(left)


def seek_gone(target: Store, journal: Journal) -> None:
    """Files that are done wait again where nothing is under their names any more."""
    there: frozenset[str] = frozenset()
    if not isinstance(target, Folder):  # to list a store is one request, to look at a name is another each
        with suppress(InputMissing):
            there = frozenset(entry.name for entry in target.walk())
    done = journal.rows(State.DONE)
    gone = (r.number for r in done if r.name not in there and target.stamp(r.name) is None)
    while some := list(islice(gone, ADDED_AT_ONCE)):
        journal.move((State.DONE,), State.QUEUED, some)


def _looks_like_video(store: Store, entry: Entry) -> bool:
    try:
        return sniff.is_video(store.head(entry.name))
    except (InputMissing, StoreFailed):
        return True  # told when it is its turn


def _priority(name: str, rules: Sequence[tuple[str, int]]) -> int:
    return max((n for pattern, n in rules if fnmatch.fnmatchcase(name, pattern)), default=0)


def keyed(config: Config, folder: Path) -> Config:
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

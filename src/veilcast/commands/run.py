"""veilcast run: videos in, the same videos out with every face covered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veilcast.commands import _options as option
from veilcast.config import Config
from veilcast.errors import ConfigError, InputMissing, NotVideo, SomeFailed, VeilcastError
from veilcast.pipeline import sniff

if TYPE_CHECKING:
    from veilcast.pipeline.api import Extras

app = typer.Typer()

USUAL = "synthetic"  # the cover


@app.command()
def run(
    sources: Annotated[
        list[str], typer.Argument(metavar="IN...", help="Videos, or folders of them; - reads standard input.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="The video, or the folder, to write.")
    ],
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
    identity_by: option.IdentityBy = "image",
    codec: option.Codec = None,
    crf: option.Crf = None,
    preset: option.Preset = None,
    pix_fmt: option.PixFmt = None,
    audio: option.Audio = None,
    keep_audio: option.KeepAudio = False,
    report: option.Report = None,
    preview: option.Preview = None,
    device: option.Device = None,
    models: option.Models = None,
    overwrite: option.Overwrite = False,
    quiet: option.Quiet = False,
) -> None:
    """Cover every face and change nothing else."""
    from veilcast.pipeline.api import Extras

    settings = option.settings(
        config,
        **option.cover(
            option.said(config, replacewith, USUAL), mask_scale, False, zones, start, end, on_lost
        ),
        **option.synthetic(model, identity_key_file, seed, attributes),
        **option.encode(codec, crf, preset, pix_fmt, audio, keep_audio),
        detect__thresh=thresh,
        damaged=damaged,
        device=device,
    )
    option.warn(settings)
    extras = Extras(report=report, preview=preview, models=models, overwrite=overwrite)
    if len(sources) == 1 and not Path(sources[0]).is_dir():
        target = output / Path(sources[0]).name if output.is_dir() and sources[0] != "-" else output
        _one(sources[0], target, settings, extras, quiet)
        return
    if report or preview:
        raise ConfigError(
            "--report and --preview name one file each; give one input, not several or a folder"
        )
    if len(sources) == 1 and _holds_pictures(Path(sources[0])):
        _pictures(Path(sources[0]), output, settings, extras, quiet, identity_by)
        return
    _many(list(_jobs(sources, output)), settings, extras, quiet)


def _pictures(
    source: Path, output: Path, settings: Config, extras: Extras, quiet: bool, identity_by: str
) -> None:
    from veilcast.commands._progress import shown
    from veilcast.pipeline.images import Options, run_folder

    options = Options(models=extras.models, overwrite=extras.overwrite, identity_by=identity_by)
    with shown(source.name, quiet) as progress:
        made = run_folder(source, output, settings, options, progress)
    typer.echo(f"{made.done} pictures, {made.faces} faces: {output}", err=True)
    if made.unnamed:
        typer.echo(f"{made.unnamed} pictures without a {identity_by}: each got a person of its own", err=True)
    for name in made.left_behind:
        typer.echo(f"left behind: {name} is neither a picture nor a label", err=True)


def _one(source: str, target: Path, settings: Config, extras: Extras, quiet: bool) -> None:
    from veilcast.commands._progress import shown
    from veilcast.pipeline.api import anonymize_file

    with shown("standard input" if source == "-" else Path(source).name, quiet) as progress:
        made = anonymize_file(source, target, settings, extras, progress)
    for stream in made["streams"]:
        if not stream["kept"]:
            typer.echo(f"{target.name}: {stream['kind']} dropped: {stream['reason']}", err=True)
    if "synthetic" in made:
        typer.echo(f"{target.name}: synthetic faces: {made['synthetic']['terms']}", err=True)


def _many(jobs: list[tuple[Path, Path]], settings: Config, extras: Extras, quiet: bool) -> None:
    """Each for itself: one that fails does not stop the rest. Raises SomeFailed, InputMissing."""
    if not jobs:
        raise InputMissing("there are no files in the folder; name one that holds videos")
    failed = skipped = 0
    for source, target in jobs:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _one(str(source), target, settings, extras, quiet)
        except NotVideo as error:
            # a name that promises a video which cannot be read is a failure; any other is only mentioned
            named_so = sniff.promises(source.name)
            failed, skipped = failed + named_so, skipped + (not named_so)
            typer.echo(f"{'failed' if named_so else 'skipped'}: {error}", err=True)
        except (VeilcastError, OSError) as error:
            failed += 1
            typer.echo(f"failed: {error}", err=True)
    if failed:
        raise SomeFailed(f"{failed} of {len(jobs)} inputs failed; each is told above")
    if skipped == len(jobs):
        raise InputMissing(
            "none of these files is a video; pictures (JPEG, PNG, WebP, TIFF) go in a folder of their own"
        )


def _jobs(sources: list[str], output: Path) -> Iterator[tuple[Path, Path]]:
    """(input, output) of every file named or found in a folder, in order."""
    seen: set[Path] = set()
    for source in map(Path, sources):
        found = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
        for path in found:
            target = output / (path.relative_to(source) if source.is_dir() else path.name)
            if target in seen:
                raise ConfigError(f"two inputs would both become {target}; run them into different folders")
            seen.add(target)
            if not path.name.endswith(".part") and output.absolute() not in path.absolute().parents:
                yield path, target


def _holds_pictures(folder: Path) -> bool:
    names = [path.name for path in folder.rglob("*") if path.is_file()]
    return any(map(sniff.promises_picture, names)) and not any(map(sniff.promises, names))

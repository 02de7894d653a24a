"""veilcast render: covers what a D.jsonl says, as `veilcast detect` wrote it or as a person edited it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from veilcast.commands import _options as option

app = typer.Typer()


@app.command()
def render(
    source: Annotated[str, typer.Argument(metavar="IN", help="The video; - reads standard input.")],
    detections: Annotated[Path, typer.Option("--detections", help="D.jsonl made from this video.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="The video to write.")],
    config: option.ConfigFile = None,
    replacewith: option.Replace = None,
    mask_scale: option.MaskScale = None,
    allow_keep: option.AllowKeep = False,
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
    report: option.Report = None,
    preview: option.Preview = None,
    device: option.Device = None,
    models: option.Models = None,
    overwrite: option.Overwrite = False,
    quiet: option.Quiet = False,
) -> None:
    """Cover the faces that a detections file lists."""
    from veilcast.commands._progress import shown
    from veilcast.pipeline.api import Extras, anonymize_file

    settings = option.settings(
        config,
        **option.cover(replacewith, mask_scale, allow_keep, zones, start, end, on_lost),
        **option.synthetic(model, identity_key_file, seed, attributes),
        **option.encode(codec, crf, preset, pix_fmt, audio, keep_audio),
        damaged=damaged,
        device=device,
    )
    option.warn(settings)
    extras = Extras(detections=detections, report=report, preview=preview, models=models, overwrite=overwrite)
    with shown(Path(source).name, quiet) as progress:
        anonymize_file(source, output, settings, extras, progress)

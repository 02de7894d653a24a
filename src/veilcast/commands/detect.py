"""veilcast detect: what would be covered, as a file that a person may edit before `veilcast render`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from veilcast.commands import _options as option

app = typer.Typer()


@app.command()
def detect(
    source: Annotated[str, typer.Argument(metavar="IN", help="A video; - reads standard input.")],
    detections: Annotated[Path, typer.Option("--detections", help="D.jsonl to write, one line a frame.")],
    config: option.ConfigFile = None,
    thresh: option.Thresh = None,
    damaged: option.Damaged = None,
    device: option.Device = None,
    models: option.Models = None,
    overwrite: option.Overwrite = False,
    quiet: option.Quiet = False,
) -> None:
    """Find the faces of a video and write them to a file that can be edited."""
    from veilcast.commands._progress import shown
    from veilcast.pipeline.api import Extras, detect_file

    settings = option.settings(config, detect__thresh=thresh, damaged=damaged, device=device)
    with shown(Path(source).name, quiet) as progress:
        found = detect_file(
            source, detections, settings, Extras(models=models, overwrite=overwrite), progress
        )
    typer.echo(f"{found['frames']} frames, {len(found['tracks'])} faces followed: {detections}", err=True)

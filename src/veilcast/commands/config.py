"""veilcast config: the annotated sample, made from the settings themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator

import typer
from pydantic import BaseModel

from veilcast.config import Config

app = typer.Typer()

HEAD = """\
# Settings of veilcast: every key with its default, as `veilcast config` prints them.
# Use a copy with --config FILE; what it leaves out keeps its default; options win over it.
# A key behind "#" has no default value: nothing, or the source's own.
"""


@app.command()
def config() -> None:
    """Print all settings with their defaults, as a file for --config."""
    typer.echo(sample(), nl=False)


def sample() -> str:
    """The text of configs/veilcast.toml."""
    defaults = Config()
    sections = {name: value for name, value in defaults if isinstance(value, BaseModel)}
    parts = [HEAD, *_lines(defaults)]
    for name, section in sections.items():
        parts += ["", f"[{name}]", *_lines(section)]
    return "\n".join(parts) + "\n"


def _lines(section: BaseModel) -> Iterator[str]:
    """`key = default  # what it means` for each plain setting."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            continue
        text = f"{name} = {json.dumps(value)}" if value is not None else f"# {name} ="
        yield f"{text:<32} # {field.description}{_choices(field.annotation)}"


def _choices(annotation: object) -> str:
    values = [value for value in getattr(annotation, "__args__", ()) if isinstance(value, str)]
    return f": {' | '.join(values)}" if values else ""

"""The command `veilcast`. Each sub-command is a module of veilcast.commands that holds `app`, imported
when it is asked for, and imports what is heavy (models, training) inside its functions."""

from __future__ import annotations

import importlib
import pkgutil
import signal
import sys
from types import FrameType
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from veilcast import __version__, commands
from veilcast.errors import VeilcastError


class Commands(TyperGroup):
    """The modules of veilcast.commands; those of the everyday work first."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        first = ["run", "detect", "render", "batch", "jobs"]
        found = {m.name for m in pkgutil.iter_modules(commands.__path__) if not m.name.startswith("_")}
        return [name for name in first if name in found] + sorted(found.difference(first))

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"veilcast.commands.{cmd_name}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=Commands,
    name="veilcast",
    help="Covers every face in a video and changes nothing else.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    if version:
        typer.echo(f"veilcast {__version__}")
        raise typer.Exit


def main() -> None:
    """Entry point: errors become one sentence on standard error and their documented exit code."""
    signal.signal(signal.SIGTERM, _leave)  # so that what is half-written goes, as with Ctrl-C
    try:
        app()
    except VeilcastError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"veilcast: {error}", markup=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)

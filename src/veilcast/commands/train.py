"""`veilcast train`: derive, train, pack and export the generative model (docs/training.md)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from veilcast.training.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Train the generative model on a site's own licensed pictures.")

Data = Annotated[Path, typer.Option("--data", help="folder of tar shards and index.csv.gz")]
Cache = Annotated[Path, typer.Option("--cache", help="folder of derived arrays")]
Run = Annotated[Path, typer.Option("--run", help="folder of checkpoints, sheets, finished weights")]
Config = Annotated[Path | None, typer.Option("--config", help="training settings, TOML")]
Teacher = Annotated[Path, typer.Option("--teacher", help="the teacher's encoder, safetensors")]
Lpips = Annotated[Path, typer.Option("--lpips", help="LPIPS on SqueezeNet, safetensors")]
Weights = Annotated[Path | None, typer.Option("--models", help="folder of third-party weights")]


@app.command()
def prepare(
    data: Data,
    cache: Cache,
    teacher: Annotated[Path | None, typer.Option("--teacher", help="needed by stage latents")] = None,
    models: Weights = None,
    stages: Annotated[str, typer.Option(help="comma-separated; default all")] = "",
    worker: Annotated[int, typer.Option(help="which of --workers this process is")] = 0,
    workers: int = 1,
    limit: Annotated[int | None, typer.Option(help="only the first so many pictures")] = None,
    side: Annotated[int, typer.Option(help="of the patch, pixels: 128, 256 or 512")] = 128,
) -> None:
    """Derive what training needs of each picture; stop and start as you like."""
    import cv2

    from veilcast.training.prepare import STAGES
    from veilcast.training.prepare import prepare as derive
    from veilcast.trt_engines.models import Models

    cv2.setNumThreads(1)
    chosen = tuple(stages.split(",")) if stages else STAGES
    for line in derive(
        data, cache, Models(models, fetch=models is None), teacher, chosen, worker, workers, limit, side
    ):
        typer.echo(line)


def _phase(name: str, what: str) -> None:
    """A command that trains one phase from its last checkpoint."""

    def command(
        cache: Cache,
        run: Run,
        teacher: Teacher,
        lpips: Lpips,
        config: Config = None,
        models: Weights = None,
        minutes: float | None = None,
        steps: int | None = None,
        batch: int | None = None,
        device: str = "cpu",
    ) -> None:
        from veilcast.training.open import open_tools
        from veilcast.training.phases import limited, run_phase, wants_latents
        from veilcast.trt_engines.models import Models

        settings, third = _settings(config), Models(models, fetch=models is None)
        latents = wants_latents(name, settings)
        tools = open_tools(settings, cache, run, teacher, lpips, third, device, latents)
        length = limited(getattr(settings, name), minutes=minutes, steps=steps, batch=batch)
        run_phase(name, tools, run, length, typer.echo)

    app.command(name, help=what)(command)


for _name, _what in {
    "autoencoder": "Our encoder and decoder, with a teacher's help.",
    "expression": "Blendshapes from a mesh.",
    "reader": "Attributes and identity of a patch.",
    "identity": "The space that personas are drawn from.",
    "diffusion": "The denoiser.",
    "distill": "The denoiser in one or two steps, obeying its command.",
    "closeup": "The 256 px decoder.",
    "polish": "The decoder on what the few-step network draws.",
    "polish_closeup": "The same of the 256 px decoder.",
}.items():
    _phase(_name, _what)


@app.command()
def pack(
    cache: Cache,
    out: Annotated[Path, typer.Option("--out", help="folder of the pack")],
    teacher: Teacher,
    lpips: Lpips,
    models: Weights = None,
    quality: Annotated[int, typer.Option(help="WebP quality of the patches")] = 80,
    part_mib: Annotated[
        int, typer.Option(min=1, help="of one file: what the way to the other machine takes at once")
    ] = 17,
    most_mib: Annotated[int, typer.Option(min=1, help="of all files: a larger pack is an error")] = 180,
) -> None:
    """Write the whole training set for a machine with a GPU and nothing but torch, numpy and Pillow."""
    from veilcast.training import mesh, recogniser
    from veilcast.training.pack import write_pack
    from veilcast.trt_engines.models import Models

    third = Models(models, fetch=models is None)
    dlib, face = recogniser.from_onnx(third.bytes("dlib")), mesh.from_onnx(third.bytes("landmarks478"))
    for line in write_pack(cache, out, teacher, lpips, dlib, face, quality, part_mib, most_mib):
        typer.echo(line)


@app.command()
def join(
    folder: Annotated[Path, typer.Argument(help="weights-NN.safetensors from elsewhere, or a model folder")],
    run: Run,
    config: Config = None,
) -> None:
    """Take the weights that a run elsewhere left, or those of a model folder, as this run's finished ones."""
    if (folder / "manifest.json").exists():
        from veilcast.training.export import adopt

        adopt(folder, _settings(config), run / "weights")
    else:
        from veilcast.training.elsewhere import join as take

        take(folder, run / "weights")
    typer.echo(f"weights of {folder} are in {run / 'weights'}")


@app.command()
def average(
    folder: Annotated[
        Path, typer.Argument(help="another model folder, such as the one that the run began with")
    ],
    run: Run,
    config: Config = None,
    share: Annotated[float, typer.Option(min=0, max=1, help="of the model folder's in the mean")] = 0.5,
    louder: Annotated[
        float, typer.Option(min=0.1, max=3, help="how many times as long a persona's vector counts as before")
    ] = 1.0,
) -> None:
    """Make the run's few-step denoiser the mean of itself and a model folder's."""
    from veilcast.training.export import average as take

    take(folder, _settings(config), run / "weights", share, louder)
    typer.echo(
        f"the denoiser in {run / 'weights'} is the mean of what it was and {share:.0%} of that of {folder}"
    )


@app.command()
def export(
    run: Run,
    out: Annotated[Path, typer.Option("--out", help="the model folder")],
    cache: Cache,
    licence: Annotated[
        str, typer.Option(help="the terms of these weights, in a sentence: `run` and reports say it")
    ],
    config: Config = None,
    models: Weights = None,
    steps: Annotated[int, typer.Option(min=1, help="of the sampler, each of which costs the same")] = 1,
) -> None:
    """Write finished weights as a model folder that `veilcast run --model` takes, with what is measured on
    renderings: how strongly they answer, and where nncf is installed what they are run in eight bits by."""
    from importlib.util import find_spec

    from veilcast.diffusion.schedule import times
    from veilcast.training import mesh
    from veilcast.training.export import About, write_model
    from veilcast.training.open import constants
    from veilcast.training.response import response
    from veilcast.trt_engines.models import Models

    settings, weights = _settings(config), run / "weights"
    about = About(out.name, licence, tuple(times(steps)), settings.truncation)
    finder = mesh.from_onnx(Models(models, fetch=models is None).bytes("landmarks478"))
    values = constants(cache) | response(cache, settings, weights, mesh.Mesh(finder).eval())
    if find_spec("nncf") is None:
        write_model(out, settings, weights, values, about)
        typer.echo(f"wrote {out}, without scales for eight bits: pip install 'veilcast[int8]'")
        return
    from veilcast.training.eight_bits import measured

    write_model(out, settings, weights, values, about, measured(cache, settings, weights))
    typer.echo(f"wrote {out}")


def _settings(config: Path | None) -> Settings:
    from veilcast.training.settings import Settings, load

    return load(config) if config else Settings()

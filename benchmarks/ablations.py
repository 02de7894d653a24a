"""What each part of the method is worth: one short training of each ablation, at equal samples.

    python -m benchmarks.ablations --cache CACHE --run RUN --teacher T --lpips L [--out FILE.json]
    python -m benchmarks.ablations --pack PACK --run RUN [--out FILE.json]    # on a GPU, from a pack

CACHE and RUN are those of `veilcast train` (docs/training.md): RUN has finished the identity space, the
reader, the decoder and, for the few-step rows, the denoiser. Every row starts from the same seed and sees the
same samples; figures are of held-out people by the recogniser that training uses, so that rows can be
compared with each other and with nothing else. A denoiser starts from nothing, or with `--go-on` from RUN's:
hundreds of steps then show what a part had held in place, where thousands would show what it builds. A file
that is there keeps the rows of the other phase.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from benchmarks import outcome

from veilcast.diffusion.weights import read_tensors
from veilcast.training import networks
from veilcast.training.loop import Trainer, train
from veilcast.training.phases import PHASES, limited, precision
from veilcast.training.settings import Parts, Settings, load
from veilcast.training.tools import Tools

CONFIGS = Path(__file__).resolve().parent.parent / "training" / "configs"
# row -> what is changed of [parts]; the first row of each phase is the whole method
DENOISER: dict[str, dict[str, Any]] = {
    "all of it": {"recomposition": 0.5},
    "identity never masked": {"recomposition": 0.5, "mask_identity": 0.0},
    "identity from the same picture": {"recomposition": 0.5, "other_picture": 0.0},
    "no gate": {"recomposition": 0.5, "gate": False},
    "no bidirectional alignment": {"recomposition": 0.5, "alignment": 0.0},
    "no recomposition loss": {"recomposition": 0.0},
}
FEW_STEPS: dict[str, dict[str, Any]] = {
    "all of it": {},
    "no swap loss": {"swap": 0.0},
    "no orthogonal mapping": {"oim": False},
}
# what a row of a phase does not begin with: a denoiser starts from nothing, the few-step network from it
START = {"diffusion": ("denoiser", "unet"), "distill": ("unet",)}
Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True)
    for name in ("--cache", "--teacher", "--lpips", "--pack", "--config"):
        parser.add_argument(name, type=Path)
    parser.add_argument(
        "--steps", type=int, default=1500, help="of the denoiser; 0 leaves its rows as they are"
    )
    parser.add_argument("--few-steps", type=int, default=400, help="of the few-step phase; likewise")
    parser.add_argument("--go-on", action="store_true", help="denoisers go on from RUN's")
    outcome.add_out(parser, "ablations")
    options = parser.parse_args()
    if not options.pack and not (options.cache and options.teacher and options.lpips):
        parser.error("give --pack, or --cache, --teacher and --lpips")
    tools = _tools(options)
    result = json.loads(options.out.read_text()) if options.out.exists() else {}
    for phase, ablations, steps in (
        ("diffusion", DENOISER, options.steps),
        ("distill", FEW_STEPS, options.few_steps),
    ):
        start = tools.weights if options.go_on and phase == "diffusion" else None
        rows: dict[str, Figures] = {}
        for name, changes in ablations.items() if steps else ():
            rows[name] = trained(phase, tools, replace(tools.settings.parts, **changes), steps, start)
            print(f"{phase}, {name}: {json.dumps(rows[name])}", flush=True)
            batch = getattr(tools.settings, phase).batch
            result[phase] = {"steps": steps, "batch": batch, "goes_on": start is not None, "rows": rows}
            outcome.leave(result, options.out)


def _tools(options: argparse.Namespace) -> Tools:
    """Imported where they are needed: a machine with a pack has torch, numpy and Pillow alone."""
    settings: Settings = load(options.config or CONFIGS / ("gpu.toml" if options.pack else "cpu.toml"))
    if options.pack:
        from veilcast.training.unpack import open_pack

        device = "cuda" if torch.cuda.is_available() else "cpu"
        return open_pack(options.pack, settings, options.run, device, workers=16, limit=None)
    from veilcast.training.open import open_tools
    from veilcast.trt_engines.models import Models

    return open_tools(
        settings, options.cache, options.run, options.teacher, options.lpips, Models(fetch=True)
    )


def trained(phase: str, tools: Tools, parts: Parts, steps: int, start: Path | None = None) -> Figures:
    """The held-out figures after one short training of `phase` with these parts. A denoiser starts from
    that in the folder `start`, None = from nothing; the few-step phase from RUN's denoiser."""
    with tempfile.TemporaryDirectory(prefix="veilcast-ablation-") as scratch:
        weights = Path(scratch) / "weights"
        weights.mkdir()
        for name in networks.NAMES:
            if networks.finished(name, tools.weights) and name not in START[phase]:
                shutil.copy(networks.path(tools.weights, name), networks.path(weights, name))
        settings = replace(tools.settings, parts=parts)
        if start is not None:
            networks.save(_without_what_is_off("denoiser", settings, start), weights, "denoiser")
        bench = replace(tools, settings=settings, weights=weights)
        run = limited(getattr(settings, phase), steps=steps)
        kind = precision(settings.precision, bench.device)
        trainer = Trainer(PHASES[phase](bench), run, settings.seed, Path(scratch) / phase, kind)
        said: list[str] = []
        train(trainer, said.append, lambda title, picture: None)
    return Figures(json.loads(said[-1])["held_out"])


def _without_what_is_off(name: str, settings: Settings, folder: Path) -> torch.nn.Module:
    """A finished network, less the weights of parts that these settings switch off."""
    net = networks.build(name, settings)
    found = read_tensors(networks.path(folder, name))
    networks.fill(net, {key: found[key] for key in net.state_dict()})
    return net


if __name__ == "__main__":
    main()

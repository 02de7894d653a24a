"""Train every phase from a pack on one GPU in a stated number of minutes:

    python -m veilcast.training.elsewhere --pack DIR --out DIR --minutes 25

Needs torch, numpy and Pillow, and no network. Stopped and started again with the same folder it goes on
where it was; `--from DIR` begins with the weights that another run left. Averaged weights lie in
OUT/weights-NN.safetensors, fp16, at most --part-mib each, after every phase; contact sheets in OUT/sheets.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from veilcast.diffusion.weights import read_tensors, write_tensors
from veilcast.errors import ConfigError
from veilcast.training import networks
from veilcast.training.phases import limited, run_phase
from veilcast.training.settings import Settings, load
from veilcast.training.unpack import open_pack

# share of the minutes
SHARES = {
    "expression": 0.01,
    "reader": 0.08,
    "autoencoder": 0.2,
    "identity": 0.03,
    "diffusion": 0.36,
    "distill": 0.2,
    "closeup": 0.05,
    "polish": 0.05,
    "polish_closeup": 0.02,
}
PART_MIB = 15  # of a file that goes back: as much as a mail or an upload form commonly takes
CONFIG = Path(__file__).parent / "configs" / "gpu.toml"


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    started = time.monotonic()
    try:
        lengths(options.phases, options.minutes)
    except ConfigError as error:
        sys.exit(str(error))
    settings = _settings(options)
    out: Path = options.out
    if options.start and not (out / "weights").exists():
        join(options.start, out / "weights")
    tools = open_pack(options.pack, settings, out, options.device, options.workers, options.limit)
    say(f"opened {len(tools.faces.train)} training faces in {time.monotonic() - started:.0f} s")
    for name, minutes in lengths(options.phases, options.minutes - (time.monotonic() - started) / 60).items():
        if "closeup" in name and tools.large is None:
            continue
        run = limited(getattr(settings, name), minutes=minutes, steps=options.steps, batch=options.batch)
        run_phase(name, tools, out, run, say)
        shard(out / "weights", out, options.part_mib)
        say(f"{name} done, {(time.monotonic() - started) / 60:.1f} minutes in all")


def lengths(phases: str, left: float) -> dict[str, float]:
    """Minutes of each phase: of "NAME:MINUTES" as said, of "NAME" its share of what is then left. Raises
    ConfigError."""
    parts = {name: minutes for name, _, minutes in (part.partition(":") for part in phases.split(","))}
    if unknown := set(parts) - set(SHARES):
        raise ConfigError(f"no phase is called {', '.join(sorted(unknown))}; there are {', '.join(SHARES)}")
    try:
        said = {name: float(minutes) for name, minutes in parts.items() if minutes}
    except ValueError:
        raise ConfigError(f"--phases takes NAME or NAME:MINUTES with commas between, got {phases}") from None
    rest = sum(SHARES[name] for name in parts if name not in said)
    left = max(0.0, left - sum(said.values()))
    return {name: said[name] if name in said else left * SHARES[name] / rest for name in parts}


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m veilcast.training.elsewhere", description=__doc__)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=25.0, help="of all phases")
    parser.add_argument(
        "--phases", default=",".join(SHARES), help="NAME or NAME:MINUTES, with commas between them"
    )
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--from", dest="start", type=Path, help="folder with weights-NN.safetensors")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("bf16", "float32"), default="bf16")
    parser.add_argument("--steps", type=int, help="at most so many a phase")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--limit", type=int, help="only so many pictures, for a trial")
    parser.add_argument("--workers", type=int, default=16, help="processes that decode pictures")
    parser.add_argument("--part-mib", type=int, default=PART_MIB, help="of a file of weights, at most")
    return parser.parse_args(arguments)


def _settings(options: argparse.Namespace) -> Settings:
    return replace(load(options.config), precision=options.precision)


def shard(weights: Path, out: Path, part_mib: int = PART_MIB) -> None:
    """Every finished network in files of at most `part_mib`, or of one tensor that is larger."""
    tensors = {
        f"{path.stem}/{name}": value.astype(np.float16) if value.dtype.kind == "f" else value
        for path in sorted(weights.glob("*.safetensors"))
        for name, value in read_tensors(path).items()
    }
    shards: list[dict[str, np.ndarray]] = [{}]
    for name, value in tensors.items():
        used = sum(v.nbytes for v in shards[-1].values())
        # 64 KiB for the header
        if shards[-1] and used + value.nbytes > (part_mib << 20) - (64 << 10):
            shards.append({})
        shards[-1][name] = value
    for number, some in enumerate(shards):
        write_tensors(out / f"weights-{number:02d}.safetensors", some)


def join(shards: Path, weights: Path) -> None:
    """The way back: one file a network, as the phases and the export read them."""
    parts: dict[str, dict[str, np.ndarray]] = {}
    for path in sorted(shards.glob("weights-*.safetensors")):
        for name, value in read_tensors(path).items():
            net, tensor = name.split("/", 1)
            parts.setdefault(net, {})[tensor] = value
    weights.mkdir(parents=True, exist_ok=True)
    for net, tensors in parts.items():
        write_tensors(networks.path(weights, net), tensors)


if __name__ == "__main__":
    main()

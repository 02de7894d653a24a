"""Frames a second of the whole process, beside the peer on the same clip in the same run.

    python -m benchmarks.speed [CLIP...] [--replacewith synthetic] [--out FILE.json]

Each command is a fresh process from start to exit: reading, finding, covering (with `solid` unless told
otherwise), encoding, hashing and verifying by a second decode for veilcast; deface 1.5.0 at its defaults in
an environment of its own. The better of --runs is told, and the peer runs between ours so that a busy machine
slows both.
"by work" compares the time of all processors together, which other work on the machine disturbs less.
The modules of both are compiled before, as pip leaves them. Peak memory is that of the largest process.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import outcome, peer
from benchmarks.clips import THREE_HEADS, clips_at_hand, named, three_heads

from veilcast.pipeline.decode import Decoder
from veilcast.trt_engines.processor import described

CLIPS = (
    "street_group_1080p.mp4",
    "talk_ls1_1080x1920.mp4",
    "dfdc_aajsqyyjni_1080p.mp4",
    "street_crowd_640x360.mp4",
    "group7_stock_640x360.mp4",
)


@dataclass(frozen=True, slots=True)
class Timing:
    """One command on one clip."""

    wall_s: float
    cpu_s: float  # of it and all its children
    frames_per_s: float


@dataclass(frozen=True, slots=True)
class Row:
    clip: str
    size: str
    frames: int
    veilcast: Timing
    deface: Timing | None

    @property
    def ratio(self) -> float | None:
        return self.veilcast.frames_per_s / self.deface.frames_per_s if self.deface else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = f"default: {', '.join(CLIPS)} of ../shared; {THREE_HEADS} is made of three of its clips"
    parser.add_argument("clips", nargs="*", type=named, help=default)
    outcome.add_out(parser, "speed")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--replacewith", default="solid", help="our cover")
    parser.add_argument("--no-peer", action="store_true", help="leave deface out")
    options = parser.parse_args()
    clips = options.clips or clips_at_hand(CLIPS)
    if not options.no_peer:
        peer.environment()
    rows = []
    with tempfile.TemporaryDirectory(prefix="veilcast-speed-") as folder:
        clips = [three_heads(Path(folder)) if clip.name == THREE_HEADS else clip for clip in clips]
        warm_up(clips[0], Path(folder), options.replacewith)
        for clip in clips:
            rows.append(measured(clip, Path(folder), options))
            print(told(rows[-1]), flush=True)
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory of the largest process: {peak_mib:.0f} MiB")
    machine = {"processor": processor(), "python": platform.python_version()}
    body = {"machine": machine, "rows": [{**asdict(row), "ratio": row.ratio} for row in rows]}
    outcome.leave(body, options.out)


def warm_up(clip: Path, folder: Path, cover: str) -> None:
    """Weights fetched, networks tried, modules compiled: what happens once on a machine is not timed."""
    subprocess.run(
        ours(clip, folder / "warm.mkv", cover), check=True, capture_output=True, env=compiled(folder)
    )


def compiled(folder: Path) -> dict[str, str]:
    """The environment in which a checkout's modules are compiled once, as pip does it for the peer's."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(folder / "compiled")}


def measured(clip: Path, folder: Path, options: argparse.Namespace) -> Row:
    with Decoder(clip) as decoder:
        frames = sum(1 for _ in decoder.frames())
        width, height = decoder.info.width, decoder.info.height
    best: list[Timing | None] = [None, None]
    for _ in range(options.runs):
        commands = [ours(clip, folder / "ours.mkv", options.replacewith), theirs(clip, folder / "theirs.mp4")]
        for who, command in enumerate(commands[: 1 if options.no_peer else 2]):
            timing = timed(command, frames, compiled(folder) if who == 0 else None)
            before = best[who]
            best[who] = timing if before is None or timing.wall_s < before.wall_s else before
    assert best[0] is not None
    return Row(clip.name, f"{width}x{height}", frames, best[0], best[1])


def ours(clip: Path, target: Path, cover: str) -> list[str]:
    command = shutil.which("veilcast", path=str(Path(sys.executable).parent)) or "veilcast"
    return [command, "run", str(clip), "-o", str(target), "--replacewith", cover, "--overwrite"]


def theirs(clip: Path, target: Path) -> list[str]:
    target.unlink(missing_ok=True)
    return [str(peer.environment()), str(clip), "-o", str(target)]


def timed(command: Sequence[str], frames: int, environment: Mapping[str, str] | None = None) -> Timing:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    wall_s = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timing(round(wall_s, 3), round(cpu_s, 3), round(frames / wall_s, 2))


def told(row: Row) -> str:
    line = f"{row.clip} {row.size}: {spoken(row.veilcast, row.frames)}"
    if row.deface is None:
        return line
    work = row.deface.cpu_s / row.veilcast.cpu_s
    return f"{line}, deface {spoken(row.deface, row.frames)}: {row.ratio:.1f} times, by work {work:.1f} times"


def spoken(timing: Timing, frames: int) -> str:
    return f"{timing.frames_per_s:.2f} frames/s ({timing.cpu_s / frames * 1000:.0f} core-ms a frame)"


def processor() -> str:
    """How many of which, and the most that they compute with: "2 x AMD EPYC (AVX2)"."""
    name, features = described()
    able = f" ({features[-1].upper()})" if features else ""
    return f"{os.cpu_count()} x {name}{able}" if name else platform.processor()


if __name__ == "__main__":
    main()

"""Peak memory of a whole run, by size of picture, and whether it grows with the length.

    python -m benchmarks.memory [--out FILE.json]

Resident memory of the command and all its processes together, looked at 20 times a second. The clips are
made from frames of a real one, resized and repeated. "grows by" compares a clip with one ten times as long.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path

import av
import psutil
from benchmarks import outcome
from benchmarks.clips import clips_at_hand, named
from benchmarks.speed import ours

SOURCE = "street_group_1080p.mp4"
EVERY_S = 0.05
RATE = 50
SIZES = {"1920x1080": 1536, "3840x2160": 3072}  # and MiB that the run should stay below
SHORT, LONG = 1_000, 10_000  # frames
SMALL = (160, 90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=named, help=f"default: {SOURCE} of ../shared")
    outcome.add_out(parser, "memory")
    parser.add_argument("--frames", type=int, default=100, help="of the large clips")
    parser.add_argument("--only", choices=("sizes", "length"), help="one of the two questions")
    options = parser.parse_args()
    source = options.source or clips_at_hand([SOURCE])[0]
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="veilcast-memory-") as folder:
        clip, target = Path(folder) / "clip.mp4", Path(folder) / "covered.mp4"
        if options.only != "length":
            for name, limit in SIZES.items():
                width, height = map(int, name.split("x"))
                made(source, clip, (width, height), options.frames)
                found[name] = peak_mib(ours(clip, target, "solid"))
                print(f"{name}: {found[name]:.0f} MiB (limit {limit})", flush=True)
        if options.only != "sizes":
            for frames in (SHORT, LONG):
                made(source, clip, SMALL, frames)
                found[f"{frames} frames"] = peak_mib(ours(clip, target, "solid"))
                print(
                    f"{frames} frames of {SMALL[0]}x{SMALL[1]}: {found[f'{frames} frames']:.0f} MiB",
                    flush=True,
                )
            grown = found[f"{LONG} frames"] - found[f"{SHORT} frames"]
            print(f"grows by {grown * 1024 / (LONG - SHORT):.2f} KiB a frame")
    outcome.leave(found, options.out)


def made(source: Path, target: Path, size: tuple[int, int], frames: int) -> None:
    """A clip of that size and length, from the first 50 frames of `source`, again and again."""
    with av.open(str(source)) as whole:
        small = [f.reformat(*size, format="yuv420p") for f in islice(whole.decode(video=0), RATE)]
    with av.open(str(target), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "crf": "28"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number, frame in enumerate(islice(cycle(small), frames)):
            frame.pts, frame.time_base, frame.pict_type = number, Fraction(1, RATE), 0
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def peak_mib(command: Sequence[str]) -> float:
    """The most memory that the command and its descendants had at one time."""
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(resident(p) for p in family(process)))
        time.sleep(EVERY_S)
    if process.returncode:
        raise SystemExit(process.stderr.read().decode())
    return peak / 2**20


def family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


if __name__ == "__main__":
    main()

"""Does one camera's process stay as it is? `veilcast live` for minutes, watched from outside.

    python -m benchmarks.live_soak [--minutes 10]

A canary clip over RTSP, recorded in segments; zones cover the people, whom no network would take for faces,
while the networks look all the same. Every segment is searched for the people (the leak oracle), and
so is the camera itself, where they must be found. Prints JSON; ends with 1 where somebody was seen or
something grew.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
from tests.live_media import number, served, unredacted, write_units
from tests.live_session import decoded, read_back

EVERYBODY = "0,12 320,12 320,240 0,240"  # all but the corner with the number
WARM_S = 40.0  # networks compiled, allocators filled
EVERY_S = 2.0
MOST_GROWTH = 0.01  # of memory, from the first third behind the warm-up to the last


@dataclass(frozen=True)
class Moment:
    memory: int  # bytes resident, of all processes
    descriptors: int
    threads: int
    processes: int


@dataclass(frozen=True)
class Soaked:
    moments: tuple[Moment, ...]
    pictures: int
    leaks: int
    control: int  # people seen in the camera's own pictures

    @property
    def growth(self) -> float:
        """Of memory."""
        third = len(self.moments) // 3
        first, last = (
            median(m.memory for m in part) for part in (self.moments[:third], self.moments[-third:])
        )
        return last / first - 1

    def spread(self, what: str) -> int:
        """How many more there were in the last third than in the first."""
        third = len(self.moments) // 3
        values = [getattr(moment, what) for moment in self.moments]
        return int(median(values[-third:]) - median(values[:third]))

    def told(self) -> dict[str, object]:
        last = self.moments[-1]
        return {
            "pictures": self.pictures, "leaks": self.leaks, "control": self.control,
            "memory growth": round(self.growth, 4), "memory MiB": last.memory >> 20,
            "more descriptors": self.spread("descriptors"), "more threads": self.spread("threads"),
            "more processes": self.spread("processes"), "threads": last.threads,
        }  # fmt: skip


def looked(process: psutil.Process) -> Moment:
    family = [process, *process.children(recursive=True)]
    return Moment(
        sum(one.memory_info().rss for one in family),
        sum(one.num_fds() for one in family),
        sum(one.num_threads() for one in family),
        len(family),
    )


def soak(seconds: float, folder: Path) -> Soaked:
    """`seconds` behind the warm-up."""
    out = folder / "out"
    out.mkdir()
    units = write_units(folder / "clip.units")
    moments: list[Moment] = []
    with served(units) as server:
        words = ["--in", server.url("cam"), "--out", f"{out}/", "--zones", EVERYBODY, "--max-latency", "2"]
        command = [sys.executable, "-m", "veilcast", "live", *words]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                time.sleep(WARM_S)
                control = len(unredacted(read_back(server.url("cam"), 25)))
                end_s = time.monotonic() + seconds
                while time.monotonic() < end_s:
                    moments.append(looked(psutil.Process(process.pid)))
                    time.sleep(EVERY_S)
            finally:
                process.terminate()
                process.wait(60)
    pictures = leaks = 0
    for path in sorted(out.iterdir()):
        lumas = decoded(path)
        pictures += sum(number(luma) is not None for luma in lumas)
        leaks += len(unredacted(lumas))
    return Soaked(tuple(moments), pictures, leaks, control)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", type=float, default=10)
    with tempfile.TemporaryDirectory() as folder:
        done = soak(options.parse_args().minutes * 60, Path(folder))
    print(json.dumps(done.told()))
    grown = done.growth > MOST_GROWTH or done.spread("descriptors") > 0 or done.spread("threads") > 0
    sys.exit(1 if grown or done.leaks or not done.control or not done.pictures else 0)


if __name__ == "__main__":
    main()

"""How long until a viewer sees the slate when a camera is lost, and the picture when it is back?

    python -m benchmarks.live_loss --video CLIP [--rounds 3] [-- OPTIONS]

The camera's server is killed (SIGKILL) and started again on its port; a plain reader of another server, to
which `veilcast live OPTIONS` publishes, sees when the picture goes and comes. Prints JSON, seconds each:
`slate` since the kill, `back` since the camera listens again. The longest wait between two tries is
live.backoff_max_s.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.clips import named
from benchmarks.live_latency import covering, read, write_units
from tests.live_media import Server, served

PATIENCE_S = 120.0
STEADY_S, GONE_S = 6.0, 6.0  # with the picture before it goes, and without it


class Seen:
    """What the reader has seen."""

    def __init__(self, url: str, until_s: float) -> None:
        self.all: list[tuple[float, int | None]] = []
        threading.Thread(target=read, args=(url, until_s, self.all), daemon=True).start()

    def first(self, after_s: float, picture: bool) -> float:
        """When the next picture, or card, is seen."""
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            for at_s, number in list(self.all):
                if at_s > after_s and (number is not None) is picture:
                    return at_s
            time.sleep(0.05)
        raise SystemExit("it never came")


def rounds(camera: Server, seen: Seen, units: Path, count: int) -> list[dict[str, float]]:
    found = []
    seen.first(0.0, picture=True)
    with ExitStack() as servers:
        for _ in range(count):
            time.sleep(STEADY_S)
            camera.process.kill()
            camera.process.wait()
            lost_s = time.monotonic()
            slate_s = seen.first(lost_s, picture=False) - lost_s
            time.sleep(GONE_S)
            camera = servers.enter_context(served(units, "--port", str(camera.port)))
            there_s = time.monotonic()
            back_s = seen.first(there_s, picture=True) - there_s
            found.append({"slate": round(slate_s, 2), "back": round(back_s, 2)})
    return found


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--video", type=named, required=True)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("rest", nargs="*", help="options of `veilcast live`, behind --")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, served() as sink:
        units = write_units(Path(folder) / "clip.units", [given.video], (640, 360), 25)
        with served(units) as camera, covering(camera.url("cam"), sink.url("live"), given.rest):
            seen = Seen(sink.url("back"), time.monotonic() + 600)
            found = rounds(camera, seen, units, given.rounds)
    print(json.dumps({"video": given.video.name, "rounds": found}))


if __name__ == "__main__":
    main()

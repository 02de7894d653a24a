"""Glass to glass: a camera with its picture's number burned in, `veilcast live`, a reader of the output.

    python -m benchmarks.live_latency --video CLIP [--seconds 30] [--replacewith solid]

The camera is an RTSP server (gst-rtsp-server) that plays the clip at 640x360 and 25 frames a second and tells
when it began; a plain reader of the output, decoded, tells when each number can be seen there. So the figure
holds the way from the camera, decoding, look-ahead, detection, cover, encoding, publishing and reading back;
not the camera's own encoder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from tests.live_media import encode_pictures, framed, luma_of, number, served, stamp

from veilcast.commands.doctor import processor

SIZE, LOOP, RATE = (640, 360), 250, 25
WARM_S = 20.0  # until networks are compiled and the level of load has settled


def pictures(video: Path) -> list[av.VideoFrame]:
    """LOOP pictures of a clip, forth and back so that there is no cut, numbered."""
    with av.open(str(video)) as source:
        decoded = (frame.reformat(*SIZE, "yuv420p").to_ndarray() for frame in source.decode(video=0))
        planes = [samples for _, samples in zip(range(LOOP // 2), decoded, strict=False)]
    numbered = []
    for n, samples in enumerate([*planes, *planes[::-1]]):
        own = samples.copy()
        stamp(own[: SIZE[1]], n)
        numbered.append(av.VideoFrame.from_ndarray(own, "yuv420p"))
    return numbered


def watch(url: str, seen: list[tuple[int, float]], stop: threading.Event) -> None:
    """When each number is seen at an address."""
    options = {"rtsp_transport": "tcp", "fpsprobesize": "0"}
    with av.open(url, container_options=options, timeout=(30, 30)) as source:
        source.streams.video[0].codec_context.thread_count = 1
        for frame in source.decode(video=0):
            n = number(luma_of(frame))
            if n is not None:
                seen.append((n, time.monotonic()))
            if stop.is_set():
                return


def late_s(seen: list[tuple[int, float]], start_s: float, loop: int) -> list[float]:
    """For each picture: how long ago the camera sent it, in the last round that it can have come from."""
    return [(at - start_s - n / RATE) % (loop / RATE) for n, at in seen]


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--video", type=Path, required=True)
    options.add_argument("--seconds", type=float, default=30)
    options.add_argument("--replacewith", default="solid")
    given = options.parse_args()
    played = pictures(given.video)
    with tempfile.TemporaryDirectory() as name:
        units = Path(name) / "clip.units"
        units.write_bytes(framed(encode_pictures(played, Fraction(RATE))))
        with served(units) as server:
            words = ["--in", server.url("cam"), "--out", server.url("live")]
            command = [
                sys.executable,
                "-m",
                "veilcast.cli",
                "live",
                *words,
                "--replacewith",
                given.replacewith,
            ]
            with subprocess.Popen(command, stderr=subprocess.DEVNULL) as live:
                try:
                    assert server.process.stdout is not None
                    start_s = float(server.process.stdout.readline().split()[1])
                    time.sleep(WARM_S)
                    seen: list[tuple[int, float]] = []
                    stop = threading.Event()
                    threading.Thread(target=watch, args=(server.url("back"), seen, stop), daemon=True).start()
                    time.sleep(given.seconds)
                    stop.set()
                finally:
                    live.terminate()
    late = np.array(late_s(seen, start_s, len(played))) * 1000
    told = {f"p{p}": round(float(np.percentile(late, p))) for p in (50, 95, 99)} if len(late) else {}
    shown = {"pictures": len(late), "of": round(given.seconds * RATE), "latency_ms": told}
    print(json.dumps({"machine": processor(), "replacewith": given.replacewith} | shown, indent=1))


if __name__ == "__main__":
    main()

"""Glass to glass: how old is a picture of a camera when a viewer of `veilcast live` sees it?

    python -m benchmarks.live_latency --video CLIP [CLIP] [--size 640x360] [--seconds 30] [-- OPTIONS]

Two clips are shown side by side. Each picture has its number burned in. An RTSP server (tests/rtsp_server.py)
plays them in time and says when it began; `veilcast live OPTIONS` covers them and publishes to the same
server; a plain reader decodes what is played back there and reads the numbers. So encoding inside the camera
is not in the figure, and all else is.
Prints JSON. The first seconds, until pictures are shown, do not count.
"""

from __future__ import annotations

import argparse
import json
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from benchmarks.clips import named
from tests.live_media import luma_of, number, served, stamp

from veilcast.pipeline.carriers import views
from veilcast.pipeline.codecs import pixel_format
from veilcast.pipeline.live_stats import percentile

MOST = 1000  # pictures of the clip that is looped
PATIENCE_S = 120.0  # until the first picture is shown
SETTLE_S = 5.0  # behind it, before anything counts


def pictures(videos: Sequence[Path], size: tuple[int, int], rate: int) -> Iterator[av.VideoFrame]:
    """The clips at another size and rate, with numbers, as often as it takes to have MOST pictures."""
    each = (size[0] // len(videos), size[1])
    kept = [_scaled(video, each, rate) for video in videos]
    for n in range(MOST):
        whole = np.hstack([some[n % len(some)] for some in kept])
        picture = av.VideoFrame.from_ndarray(whole, "rgb24").reformat(format="yuv420p")
        stamp(views(picture, pixel_format("yuv420p"))[0], n)
        picture.pts, picture.time_base = n, Fraction(1, rate)
        yield picture


def _scaled(video: Path, size: tuple[int, int], rate: int) -> list[np.ndarray]:
    """Cut to the shape of `size` around the middle, so that faces keep theirs."""
    with av.open(str(video)) as source:
        shown, kept = Fraction(0), list[np.ndarray]()
        for frame in source.decode(video=0):
            at = (frame.pts or 0) * Fraction(frame.time_base or 1)
            if at >= shown and len(kept) < MOST:
                whole = frame.reformat(format="rgb24").to_ndarray()
                height, width = whole.shape[:2]
                w, h = min(width, height * size[0] // size[1]), min(height, width * size[1] // size[0])
                y, x = (height - h) // 2, (width - w) // 2
                kept.append(cv2.resize(whole[y : y + h, x : x + w], size, interpolation=cv2.INTER_AREA))
                shown += Fraction(1, rate)
    return kept


def write_units(path: Path, videos: Sequence[Path], size: tuple[int, int], rate: int) -> Path:
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height = size
    context.pix_fmt, context.time_base, context.framerate = "yuv420p", Fraction(1, rate), Fraction(rate)
    context.options = {"crf": "21", "preset": "veryfast", "tune": "zerolatency", "g": str(rate),
                       "x264-params": "scenecut=0:threads=1"}  # fmt: skip
    with path.open("wb") as out:
        for picture in [*pictures(videos, size, rate), None]:
            for packet in context.encode(picture):
                out.write(struct.pack(">I", packet.size) + bytes(packet))
    return path


def read(url: str, until_s: float, seen: list[tuple[float, int | None]]) -> None:
    """When which number was seen, as a player without a buffer sees it."""
    while time.monotonic() < until_s:
        try:
            options = {"rtsp_transport": "tcp", "fflags": "nobuffer", "probesize": "500000"}
            with av.open(url, container_options=options, timeout=(5, 5)) as source:
                stream = source.streams.video[0]
                stream.codec_context.flags |= 1 << 19
                stream.codec_context.thread_count = 1
                for frame in source.decode(stream):
                    seen.append((time.monotonic(), number(luma_of(frame))))
                    if time.monotonic() > until_s:
                        return
        except (av.error.FFmpegError, OSError):
            time.sleep(0.5)


@contextmanager
def covering(source: str, target: str, options: Sequence[str]) -> Iterator[None]:
    words = [sys.executable, "-m", "veilcast", "live", "--in", source, "--out", target, *options]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


def measured(
    videos: Sequence[Path], size: tuple[int, int], rate: int, seconds: float, options: Sequence[str]
) -> dict[str, object]:
    seen: list[tuple[float, int | None]] = []
    with tempfile.TemporaryDirectory() as folder:
        units = write_units(Path(folder) / "clip.units", videos, size, rate)
        with served(units, "--rate", str(rate)) as server:
            assert server.process.stdout is not None
            with covering(server.url("cam"), server.url("live"), options):
                start_s = float(server.process.stdout.readline())
                until_s = time.monotonic() + PATIENCE_S + seconds
                reader = threading.Thread(target=read, args=(server.url("back"), until_s, seen), daemon=True)
                reader.start()
                while not any(n is not None for _, n in seen):
                    if time.monotonic() > until_s - seconds:
                        raise SystemExit("nothing was shown: is the machine fast enough for one look?")
                    time.sleep(0.2)
                time.sleep(SETTLE_S + seconds)
                end_s = time.monotonic()
    return told([(at, n) for at, n in seen if end_s - seconds < at <= end_s], start_s, rate, seconds)


def told(
    seen: Sequence[tuple[float, int | None]], start_s: float, rate: int, seconds: float
) -> dict[str, object]:
    round_s = MOST / rate
    late = sorted((at - start_s - n / rate) % round_s for at, n in seen if n is not None)
    return {
        "seconds": seconds,
        "pictures of the camera": round(seconds * rate),
        "pictures shown": len(late),
        "cards shown": len(seen) - len(late),
        "latency_s": {f"p{p}": percentile(late, p) for p in (50, 95, 99)},
    }


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--video", type=named, nargs="+", required=True)
    options.add_argument("--size", default="640x360")
    options.add_argument("--rate", type=int, default=25)
    options.add_argument("--seconds", type=float, default=30)
    options.add_argument("rest", nargs="*", help="options of `veilcast live`, behind --")
    given = options.parse_args()
    width, height = map(int, given.size.split("x"))
    result = measured(given.video, (width, height), given.rate, given.seconds, given.rest)
    print(
        json.dumps(
            {"video": [path.name for path in given.video], "size": given.size, "options": given.rest} | result
        )
    )


if __name__ == "__main__":
    main()

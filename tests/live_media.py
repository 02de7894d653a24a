"""A camera for the tests: the canary clip as H.264 with each frame's number painted in, an RTSP server
that plays it, and a reader that tells which frame an output picture shows."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tests.oracle import Canary, Leak, Person, leaks, walk

from veilcast.pipeline.carriers import views
from veilcast.pipeline.codecs import pixel_format
from veilcast.types import Plane

SYSTEM_PYTHON = "/usr/bin/python3"
SERVER = Path(__file__).with_name("rtsp_server.py")
BITS, CELL_PX = 12, 8  # of the number in the top left corner, one cell a bit, most significant first
LOOP = 100  # frames of the clip
CLIP = Canary([Person(1, walk(60, 100, 45, 5, 56)), Person(2, walk(260, 160, -35, 0, 48))], LOOP)


def painted(canary: Canary, n: int) -> av.VideoFrame:
    """Frame n of the clip with its number."""
    source = canary.frame(n)
    picture = av.VideoFrame(*canary.size, "yuv420p")
    for own, samples in zip(views(picture, pixel_format("yuv420p")), source.planes, strict=True):
        # noise in colour would cost most of the bits
        own[...] = samples if own.shape[0] == picture.height else 128
    stamp(views(picture, pixel_format("yuv420p"))[0], n)
    picture.pts, picture.time_base = n, 1 / canary.rate
    return picture


def stamp(luma: Plane, n: int) -> None:
    for bit in range(BITS):
        on = n >> (BITS - 1 - bit) & 1
        luma[:CELL_PX, bit * CELL_PX : (bit + 1) * CELL_PX] = 220 if on else 30
    # two cells that are always so, by which a picture of the camera is known
    luma[:CELL_PX, BITS * CELL_PX : (BITS + 1) * CELL_PX] = 220
    luma[:CELL_PX, (BITS + 1) * CELL_PX : (BITS + 2) * CELL_PX] = 30


def number(luma: Plane) -> int | None:
    """Which frame a picture shows; None for one that is not the camera's (a slate)."""
    cells = [float(luma[2 : CELL_PX - 2, b * CELL_PX + 2 : (b + 1) * CELL_PX - 2].mean()) for b in range(14)]
    if not (cells[12] > 170 and cells[13] < 80) or any(80 < cell < 170 for cell in cells):
        return None
    return sum((cell > 125) << (BITS - 1 - bit) for bit, cell in enumerate(cells[:BITS]))


def encoded(canary: Canary, gop: int = 25) -> list[bytes]:
    """The clip as access units."""
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height = canary.size
    context.pix_fmt, context.time_base = "yuv420p", 1 / canary.rate
    context.framerate = canary.rate
    context.options = {
        "crf": "18", "preset": "ultrafast", "tune": "zerolatency", "g": str(gop), "keyint_min": str(gop),
        "x264-params": "scenecut=0:threads=1",
    }  # fmt: skip
    frames: list[av.VideoFrame | None] = [painted(canary, n) for n in range(canary.count)]
    return [bytes(packet) for frame in [*frames, None] for packet in context.encode(frame)]


def write_units(path: Path, canary: Canary = CLIP) -> Path:
    path.write_bytes(b"".join(struct.pack(">I", len(unit)) + unit for unit in encoded(canary)))
    return path


def write_file(path: Path, canary: Canary = CLIP, audio: bool = False, rounds: int = 1) -> Path:
    """The clip as a file, again and again."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(
            "libx264", rate=canary.rate, options={"crf": "18", "preset": "ultrafast", "bf": "0", "g": "25"}
        )
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = canary.size
        stream.pix_fmt = "yuv420p"
        sound = out.add_stream("aac", rate=48000) if audio else None
        for n in range(canary.count * rounds):
            picture = painted(canary, n % canary.count)
            picture.pts = n
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
        if sound is not None:
            assert isinstance(sound, av.AudioStream)
            for k in range(int(canary.count / canary.rate * 48000) // 1024):
                wave = np.sin(np.arange(k * 1024, (k + 1) * 1024) * 0.06).astype(np.float32)[None] / 3
                frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 48000, k * 1024, Fraction(1, 48000)
                out.mux(sound.encode(frame))
            out.mux(sound.encode(None))
    return path


@dataclass(frozen=True)
class Server:
    port: int
    process: subprocess.Popen[bytes]
    host: str = "127.0.0.1"

    def url(self, path: str) -> str:
        return f"rtsp://{self.host}:{self.port}/{path}"


def needs_server() -> None:
    """Skips, visibly, where the server's packages are missing."""
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    try:
        done = subprocess.run([SYSTEM_PYTHON, "-c", probe], capture_output=True, check=False, env={})
    except OSError:
        pytest.skip(f"no {SYSTEM_PYTHON}, which the RTSP server of the tests runs under")
    if done.returncode:
        pytest.skip("no gst-rtsp-server: apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi")


@contextmanager
def served(
    units: Path | None = None, *options: str, before: Sequence[str] = (), host: str = "127.0.0.1"
) -> Iterator[Server]:
    """An RTSP server on a port of its own. `before`: a command that runs its command elsewhere, where it is
    known as `host`."""
    needs_server()
    command = [*before, SYSTEM_PYTHON, str(SERVER), *([str(units)] if units else []), *options]
    plain = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "XDG_CACHE_HOME", "LANG")}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=plain
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Server(int(process.stdout.readline()), process, host)
        finally:
            process.kill()


def luma_of(frame: av.VideoFrame) -> Plane:
    rows = np.frombuffer(bytes(frame.planes[0]), np.uint8).reshape(frame.height, -1)
    return rows[:, : frame.width]


def unredacted(lumas: list[Plane], canary: Canary = CLIP) -> list[Leak]:
    """Where a person of the clip is visible in pictures of an output; slates show no number."""
    known = [(n, luma) for luma in lumas if (n := number(luma)) is not None]
    return leaks(canary, [(n % canary.count, luma) for n, luma in known])


def shown(lumas: list[Plane]) -> list[int | None]:
    return [number(luma) for luma in lumas]

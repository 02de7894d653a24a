"""Small videos for tests of whole runs, and detections to go with them."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (160, 96)  # width, height
FRAMES = 30
BASE = Fraction(1, 25)


def clip(path: Path, frames: int = FRAMES, size: tuple[int, int] = SIZE, codec: str = "libx264") -> Path:
    """A moving gradient at 25 frames a second, with a beep."""
    width, height = size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=25)
        audio = out.add_stream("aac", rate=8000)
        assert isinstance(video, av.VideoStream)
        assert isinstance(audio, av.AudioStream)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.time_base = video.codec_context.time_base = BASE
        for n in range(frames):
            rgb = np.stack([(x + 3 * n) % 256, (y * 2 + n) % 256, (x + y) % 256], -1).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
            frame.pts, frame.time_base = n, BASE
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        _beep(out, audio, frames / 25)
    return path


def _beep(out: av.container.OutputContainer, audio: av.AudioStream, seconds: float) -> None:
    samples = np.sin(np.arange(int(seconds * 8000)) * 0.3).astype(np.float32)[None] / 4
    for start in range(0, samples.shape[1] - 1023, 1024):
        piece = np.ascontiguousarray(samples[:, start : start + 1024])
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, start
        out.mux(audio.encode(frame))
    out.mux(audio.encode(None))


def detections(path: Path, frames: int = FRAMES, tick: int = 512, box: list[float] | None = None) -> Path:
    """A D.jsonl for `clip` in mp4 (time base 1/12800) with one face in every frame."""
    face = {"track": 1, "box": box or [40, 20, 90, 70]}
    lines = ({"frame": n, "pts": n * tick, "time": n / 25, "faces": [face]} for n in range(frames))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path

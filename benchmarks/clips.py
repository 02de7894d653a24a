"""The evaluation clips beside the checkout, where there are any, and one that is made of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.pixels import to_rgb
from veilcast.types import Rgb

THREE_HEADS = "three_heads_640x360.mp4"  # three people who talk, side by side
_HEADS = ("talk_WDA_a_512.mp4", "talk_franck_360x288_200s.mp4", "talk_ls1_1080x1920.mp4")
_WIDTHS, _HEIGHT, _FRAMES = (214, 212, 214), 360, 200


def clips_at_hand(names: Sequence[str]) -> list[Path]:
    """The clips called `names`; ends the program where the folder is missing."""
    folder = shared() / "videos"
    if not folder.is_dir():
        sys.exit(f"no evaluation clips at {folder}; name some, or set VEILCAST_SHARED")
    return [folder / name for name in names]


def named(text: str) -> Path:
    """What a command line calls a clip: a file, or the name of one of the evaluation clips."""
    path = Path(text)
    return path if path.exists() or path.name != text else clips_at_hand([text])[0]


def shared() -> Path:
    """The folder with clips and faces: `$VEILCAST_SHARED`, otherwise `shared` beside the checkout."""
    beside = Path(__file__).resolve().parent.parent.parent / "shared"
    return Path(os.environ.get("VEILCAST_SHARED", beside))


def three_heads(folder: Path) -> Path:
    """THREE_HEADS in `folder`: three clips, each a third of the picture wide."""
    target = folder / THREE_HEADS
    columns = (column(clip, width) for clip, width in zip(clips_at_hand(_HEADS), _WIDTHS, strict=True))
    with av.open(str(target), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "16", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = sum(_WIDTHS), _HEIGHT, "yuv420p"
        for row in islice(zip(*columns, strict=False), _FRAMES):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.hstack(row))))
        out.mux(stream.encode(None))
    return target


def column(clip: Path, width: int) -> Iterator[Rgb]:
    """Its frames, made `width` wide and cut or filled up to a height of _HEIGHT."""
    with Decoder(clip) as decoder:
        for frame in decoder.frames():
            rgb = to_rgb(frame)
            small: Rgb = cv2.resize(
                rgb, (width, round(rgb.shape[0] * width / rgb.shape[1])), interpolation=cv2.INTER_AREA
            )
            more, less = max(0, _HEIGHT - small.shape[0]), max(0, small.shape[0] - _HEIGHT)
            filled = np.pad(small, ((more // 2, more - more // 2), (0, 0), (0, 0)))
            yield filled[less // 2 : less // 2 + _HEIGHT]

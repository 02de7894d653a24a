"""Measures the numbers that CenterFace in eight bits is made with (trt_engines/convert/eight_bits.py).

    python -m benchmarks.calibration [CLIP...] --out trt_engines/convert/centerface_eight_bits.npz

Needs nncf (pip install 'veilcast[int8]'). The clips are ordinary footage; benchmarks/recall.py judges the
result on others. After a change of the table, the hash of the role `centerface_int8` is another.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import onnx
from benchmarks.clips import clips_at_hand, named

from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.pixels import to_rgb
from veilcast.trt_engines.engine import load
from veilcast.trt_engines.models import Models
from veilcast.trt_engines.quantise import quantised, scales

CLIPS = (
    "dfdc_aajsqyyjni_1080p.mp4",
    "stage_multi_hamilton_640x360.mp4",
    "street_dance_720p.avi",
    "webcam_cap12_400x300.mp4",
    "talk_vr1_700.mp4",
    "intel_asl_book_640x480.mkv",
    "stock_s18_720p.mp4",
    "crowd_timessquare_720p.mp4",
)
EVERY, EACH = 12, 8  # one frame of EVERY, EACH of a clip
SIZE = (640, 384)  # width, height of the network's input


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="*", type=named)
    parser.add_argument("--out", type=Path, default=Path("trt_engines/convert/centerface_eight_bits.npz"))
    options = parser.parse_args()
    data = load(Models(fetch=True).file("centerface")).data
    found = scales(onnx.load_from_string(quantised(data, inputs(options.clips or clips_at_hand(CLIPS)))))
    np.savez_compressed(options.out, allow_pickle=False, **found)
    print(f"{len(found)} tensors, {sum(v.size for v in found.values())} numbers: {options.out}")


def inputs(clips: Sequence[Path]) -> Iterator[dict[str, np.ndarray]]:
    """Frames as the network sees them: (1, 3, h, w) float32, 0 to 255."""
    for clip in clips:
        with Decoder(clip, writable=False) as decoder:
            for frame in islice(decoder.frames(), 0, EVERY * EACH, EVERY):
                yield {"rgb": fitted(to_rgb(frame)).transpose(2, 0, 1)[None].astype(np.float32)}


def fitted(rgb: np.ndarray) -> np.ndarray:
    """The picture as large as SIZE allows, black around it."""
    scale = min(SIZE[0] / rgb.shape[1], SIZE[1] / rgb.shape[0])
    size = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    canvas = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    canvas[: size[1], : size[0]] = small
    return canvas


if __name__ == "__main__":
    main()

"""CenterFace in eight bits: made from real frames, then compared with the float network on other ones.

    python -m benchmarks.eight_bits                 compare what is shipped with the float network
    python -m benchmarks.eight_bits --frame FILE    quantise again with nncf and write what is shipped

Agreement is told for faces that the float network scores .3 and more: the share that eight bits lose
(no box with IoU .5 of .2 or more), and the mean scores of both.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from benchmarks.clips import clips_at_hand

from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.detectors.network import CENTERFACE, EIGHT_BITS, NetworkDetector
from veilcast.pipeline.pixels import to_rgb
from veilcast.trt_engines.convert import eight_bits
from veilcast.trt_engines.models import Models
from veilcast.trt_engines.quantise import quantised
from veilcast.types import Rgb

CALIBRATION = {  # clip: (every so many frames, sides over the clip's)
    "crowd_timessquare_720p.mp4": (60, (1, 0.5)),
    "street_dance_720p.avi": (50, (1, 0.5)),
    "dfdc_aajsqyyjni_1080p.mp4": (90, (0.5,)),
    "street_group_1080p.mp4": (30, (1, 0.5)),
    "webcam_cap12_400x300.mp4": (200, (2, 1)),
    "talk_WDA_a_512.mp4": (90, (1,)),
    "intel_onebyone_768x432.mp4": (150, (1,)),
    "stock_s18_720p.mp4": (120, (0.5,)),
    "talk_ls1_1080x1920.mp4": (120, (0.5,)),
}
OTHERS = (
    "street_crowd_640x360.mp4",
    "stage_multi_hamilton_640x360.mp4",
    "group7_stock_640x360.mp4",
    "cctv_station_640x360.mp4",
)
SEEN, LOST, SAME_IOU = 0.3, 0.2, 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frame", type=Path, help="where the quantised network without its weights goes")
    parser.add_argument("--frames", type=int, default=12, help="of each clip that are compared")
    options = parser.parse_args()
    models = Models(fetch=True)
    if options.frame:
        network = quantised(models.bytes(CENTERFACE.name), list(calibration()))
        options.frame.write_bytes(eight_bits.framed(network))
        print(f"{options.frame}: put it beside {Path(eight_bits.__file__).name} and pin what it converts to")
        return
    with (
        NetworkDetector(CENTERFACE, models.file(CENTERFACE.name)) as floating,
        NetworkDetector(CENTERFACE, models.file(EIGHT_BITS)) as integer,
    ):
        for clip in clips_at_hand(OTHERS):
            print(clip.name, compared(clip, floating, integer, options.frames), flush=True)


def calibration() -> Iterator[dict[str, np.ndarray]]:
    for clip, (every, scales) in CALIBRATION.items():
        for rgb in pictures(clips_at_hand([clip])[0], every, 4, scales):
            yield {CENTERFACE.input: rgb.transpose(2, 0, 1)[None].astype(np.float32)}


def pictures(clip: Path, every: int, count: int, scales: tuple[float, ...]) -> Iterator[Rgb]:
    with Decoder(clip, writable=False) as decoder:
        for frame in islice(decoder.frames(), every // 2, every * count, every):
            for scale in scales:
                width, height = (int(side * scale) // 32 * 32 for side in frame.displayed_size)
                yield to_rgb(frame, (width, height))


def compared(clip: Path, floating: NetworkDetector, integer: NetworkDetector, count: int) -> str:
    ours: list[float] = []
    theirs: list[float] = []
    spent_s = [0.0, 0.0]
    for rgb in pictures(clip, 8, 1, (2, 1)):  # opens the engines
        floating.detect(rgb), integer.detect(rgb)
    for rgb in pictures(clip, 8, count, (2, 1)):
        found = []
        for n, network in enumerate((floating, integer)):
            start = time.process_time()
            found.append(network.detect(rgb, LOST))
            spent_s[n] += time.process_time() - start
        for face in found[0]:
            if face.score >= SEEN:
                theirs.append(face.score)
                same = [other.score for other in found[1] if face.box.iou(other.box) > SAME_IOU]
                ours.append(max(same, default=0.0))
    lost = sum(score == 0 for score in ours)
    return (
        f"{lost} of {len(ours)} lost, mean score {np.mean(ours):.3f} instead of {np.mean(theirs):.3f}, "
        f"{spent_s[0] / spent_s[1]:.2f} times as fast"
    )


if __name__ == "__main__":
    main()

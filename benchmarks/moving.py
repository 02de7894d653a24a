"""How many faces stay visible where the camera is swung, shaken, zoomed or rolled?

    python -m benchmarks.moving [CLIP...] [--out FILE.json]

Each frame of a clip is shown through such a camera, sharply, as with a short shutter; the border is drawn
out to fill the picture. What subjects wrote is judged by the faces of the clip, moved along (altered.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from math import cos, pi, sin
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from benchmarks import altered
from benchmarks.recall import Tally
from benchmarks.recall import tally as judged

from veilcast.arrays import Float64
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.pixels import to_rgb
from veilcast.types import Box, Rgb

CLIPS = ("group7_stock_640x360.mp4", "stage_multi_hamilton_640x360.mp4", "street_group_1080p.mp4")
PERIOD = 20  # frames of one swing, .8 s

# of a frame by its number, width and height: where its pixels go
Affine = Float64[np.ndarray, "2 3"]
Camera = Callable[[int, int, int], Affine]


def swung(index: int, width: int, height: int, share: float) -> Affine:
    """To and fro by a share of the width."""
    return np.array([[1, 0, share * width * sin(2 * pi * index / PERIOD)], [0, 1, 0]])


def shaken(index: int, width: int, height: int, share: float) -> Affine:
    """Anywhere within a share of each side, in every frame anew."""
    x, y = np.random.default_rng(index).uniform(-share, share, 2)
    return np.array([[1, 0, x * width], [0, 1, y * height]])


def zoomed(index: int, width: int, height: int, most: float) -> Affine:
    """In and out again."""
    scale = 1 + (most - 1) * (0.5 - 0.5 * cos(2 * pi * index / PERIOD))
    return np.array([[scale, 0, width / 2 * (1 - scale)], [0, scale, height / 2 * (1 - scale)]])


def rolled(index: int, width: int, height: int, degrees: float) -> Affine:
    """About the middle, to both sides."""
    angle = degrees * sin(2 * pi * index / PERIOD)
    return np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1), np.float64)


CAMERAS: dict[str, Camera] = {
    "stands": partial(swung, share=0.0),
    "is swung by a twentieth of the width": partial(swung, share=0.05),
    "is swung by a tenth": partial(swung, share=0.1),
    "is swung by a fifth": partial(swung, share=0.2),
    "is shaken by a twentieth of both sides": partial(shaken, share=0.05),
    "zooms to twice the size": partial(zoomed, most=2.0),
    "is rolled by 30 degrees": partial(rolled, degrees=30.0),
}


def shown(clip: Path, frames: int, camera: Camera) -> Iterator[Rgb]:
    """The first frames, through the camera."""
    with Decoder(clip) as decoder:
        for number, frame in enumerate(islice(decoder.frames(), frames)):
            rgb = to_rgb(frame)
            height, width = rgb.shape[:2]
            matrix = camera(number, width, height)
            yield cv2.warpAffine(rgb, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


def judge(clip: Path, source: Path, output: Path, known: altered.Known, camera: Camera) -> Tally:
    """The clip's faces where the camera has taken them; those whose middle left the picture are out."""
    with Decoder(source) as decoder:
        size = decoder.info.width, decoder.info.height
    seen = [
        [replace(face, box=box) for face in faces if (box := moved(face.box, camera(n, *size), size))]
        for n, faces in enumerate(known.seen)
    ]
    near = [
        [box for old in boxes if (box := moved(old, camera(n, *size), size))]
        for n, boxes in enumerate(known.near)
    ]
    return judged(source, output, seen, near)


def moved(box: Box, matrix: Affine, size: Sequence[int]) -> Box | None:
    """A box, upright again, or None where its middle is out of the picture."""
    x, y = (matrix @ [*box.centre, 1.0]).tolist()
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2])))) / 2
    if not (0 <= x < size[0] and 0 <= y < size[1]):
        return None
    half_w, half_h = box.width * scale, box.height * scale
    return Box(x - half_w, y - half_h, x + half_w, y + half_h)


WAYS = {
    name: altered.Way(partial(shown, camera=camera), partial(judge, camera=camera))
    for name, camera in CAMERAS.items()
}


def table(result: dict[str, Any]) -> str:
    return altered.table(result, "moving", "the camera", list(WAYS))


def main() -> None:
    altered.measured("moving", __doc__, CLIPS, WAYS)


if __name__ == "__main__":
    main()

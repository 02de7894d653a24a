"""What an output must decode to, as JSON between two processes, and the job that checks it."""

from __future__ import annotations

import base64
from array import array
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from veilcast.config import Limits
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.encode import Expected, verify
from veilcast.pipeline.pixels import to_rgb
from veilcast.pipeline.supervise import OnFrame

Json = dict[str, Any]

PICTURE_PX = 160  # width in a summary


def to_json(expected: Expected) -> Json:
    return {
        "pts": expected.pts.tolist(),
        "time_base": str(expected.time_base),
        "size": expected.size,
        "pixel_format": expected.pixel_format,
        "streams": expected.streams,
    }


def check(job: Json, on_frame: OnFrame) -> Json:
    """Decodes `job["target"]` again. Raises VerificationFailed."""
    told = job["expected"]
    expected = Expected(
        pts=array("q", told["pts"]),
        time_base=Fraction(told["time_base"]),
        size=tuple(told["size"]),
        pixel_format=told["pixel_format"],
        streams=tuple(told["streams"]),
    )
    total = len(expected.pts)
    limits = Limits.model_validate(job["limits"])
    verify(Path(job["target"]), expected, limits, lambda number: on_frame("checking", number + 1, total))
    return {"picture": small_picture(Path(job["target"]), limits)} if job.get("picture") else {}


def small_picture(path: Path, limits: Limits) -> str:
    """A frame of a verified output as a small JPEG, base64: what a summary may show."""
    with Decoder(path, limits, writable=False) as decoder:
        rgb = to_rgb(next(decoder.frames()), (PICTURE_PX, PICTURE_PX * 9 // 16))
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 70])
    return base64.b64encode(data.tobytes()).decode()

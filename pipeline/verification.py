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
from veilcast.pipeline.encode import Expected, verify
from veilcast.pipeline.pixels import to_rgb
from veilcast.pipeline.supervise import OnFrame
from veilcast.types import Frame

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
    """Decodes `job["target"]` again. Raises VerificationFailed. `job["picture"]`: the frame of which a small
    picture is wanted, None = of none."""
    told = job["expected"]
    expected = Expected(
        pts=array("q", told["pts"]),
        time_base=Fraction(told["time_base"]),
        size=tuple(told["size"]),
        pixel_format=told["pixel_format"],
        streams=tuple(told["streams"]),
    )
    total = len(expected.pts)
    wanted = job.get("picture")
    told_too: Json = {}

    def seen(frame: Frame) -> None:
        on_frame("checking", frame.index + 1, total)
        if frame.index == wanted:
            told_too["picture"] = small_picture(frame)

    verify(Path(job["target"]), expected, Limits.model_validate(job["limits"]), seen)
    return told_too


def small_picture(frame: Frame) -> str:
    """A frame of an output as a small JPEG, base64: what a summary may show."""
    height, width = frame.planes[0].shape[:2]
    rgb = to_rgb(frame, (PICTURE_PX, max(2, round(PICTURE_PX * height / width))))
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 70])
    return base64.b64encode(data.tobytes()).decode()

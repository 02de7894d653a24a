"""What an output must decode to, as JSON between two processes, and the job that checks it."""

from __future__ import annotations

from array import array
from fractions import Fraction
from pathlib import Path
from typing import Any

from veilcast.config import Limits
from veilcast.pipeline.encode import Expected, verify
from veilcast.pipeline.supervise import OnFrame

Json = dict[str, Any]


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
    return {}

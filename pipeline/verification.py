"""What an output must decode to, as JSON between two processes, and the job that checks it."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

from veilcast.config import Limits
from veilcast.errors import InputError, VerificationFailed
from veilcast.pipeline.admission import codec_name
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.expected import Expected, plain
from veilcast.pipeline.stretch import Stretch
from veilcast.pipeline.supervise import OnFrame
from veilcast.types import Frame, StreamInfo

Json = dict[str, Any]

PICTURE_PX = 160  # width in a summary


def to_json(expected: Expected) -> Json:
    return {
        "pts": expected.pts.tolist(),
        "time_base": str(expected.time_base),
        "size": expected.size,
        "pixel_format": expected.pixel_format,
        "streams": expected.streams,
        "entry": expected.entry,
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
        entry=told.get("entry"),
    )
    total = len(expected.pts)
    wanted = job.get("picture")
    told_too: Json = {}

    done = count(1)

    def seen(frame: Frame) -> None:
        on_frame("checking", min(next(done), total), total)  # what a half objects to is decoded twice
        if frame.index == wanted:
            told_too["picture"] = small_picture(frame)

    verify(Path(job["target"]), expected, Limits.model_validate(job["limits"]), seen)
    return told_too


def small_picture(frame: Frame) -> str:
    """A frame of an output as a small JPEG, base64: what a summary may show."""
    import cv2  # here: the usual check starts without it
    import numpy as np

    from veilcast.pipeline.pixels import to_rgb

    height, width = frame.planes[0].shape[:2]
    rgb = to_rgb(frame, (PICTURE_PX, max(2, round(PICTURE_PX * height / width))))
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 70])
    return base64.b64encode(data.tobytes()).decode()


def verify(
    target: Path,
    expected: Expected,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    on_frame: Callable[[Frame], None] = lambda frame: None,
) -> None:
    """Decodes `target` again, strictly, and compares. Run it in a fresh process. `on_frame` sees each frame.

    Raises VerificationFailed, which says what differs."""
    try:
        found, info, streams = _decoded(target, expected, limits, on_frame)
    except InputError as error:
        raise VerificationFailed(f"what was written does not decode: {error}") from None
    _compare_times(target, found, info.time_base, expected)
    for name, value, wanted in (
        ("picture size", (info.width, info.height), expected.size),
        ("pixel format", plain(info.format.name), plain(expected.pixel_format)),
        ("streams", comparable(streams), comparable(expected.streams)),
    ):
        if value != wanted:
            raise VerificationFailed(f"{target} has {name} {value} instead of {wanted}")


def _decoded(
    target: Path, expected: Expected, limits: Limits, on_frame: Callable[[Frame], None]
) -> tuple[array[int], StreamInfo, list[str]]:
    """The pts of all frames, what they are, and the streams. In two halves at a time where there is an entry;
    what either of them objects to is for one decoder to judge, which sees the file whole."""
    if expected.entry is not None:
        with suppress(InputError):
            return _in_halves(target, expected, expected.entry, limits, on_frame)
    return _whole(Decoder(target, limits, writable=False), on_frame)


def _in_halves(
    target: Path, expected: Expected, entry: int, limits: Limits, on_frame: Callable[[Frame], None]
) -> tuple[array[int], StreamInfo, list[str]]:
    middle = expected.pts[entry] * expected.time_base
    with ThreadPoolExecutor(1, "half") as beside:
        after = beside.submit(lambda: _whole(Stretch(target, limits, start=middle, first=entry), on_frame))
        found, info, streams = _whole(Stretch(target, limits, end=middle), on_frame)
        return found + after.result()[0], info, streams


def _whole(opened: Decoder, on_frame: Callable[[Frame], None]) -> tuple[array[int], StreamInfo, list[str]]:
    with opened as decoder:
        return _pts(decoder, on_frame), decoder.info, _streams(decoder)


def _pts(decoder: Decoder, on_frame: Callable[[Frame], None]) -> array[int]:
    found = array("q")
    for frame in decoder.frames():
        found.append(frame.pts)
        on_frame(frame)
    return found


def _streams(decoder: Decoder) -> list[str]:
    return [f"{s.type} {codec_name(s)}" for s in decoder.container.streams]


def _compare_times(target: Path, found: array[int], base: Fraction, expected: Expected) -> None:
    if len(found) != len(expected.pts):
        raise VerificationFailed(f"{target} has {len(found)} frames instead of {len(expected.pts)}")
    if base == expected.time_base and found == expected.pts:
        return
    pairs = enumerate(zip(found, expected.pts, strict=True))
    wrong = [i for i, (a, b) in pairs if abs(a * base - b * expected.time_base) > base / 2]
    if wrong:
        raise VerificationFailed(f"{target} shows {len(wrong)} frames at another time, first {wrong[0]}")


def comparable(streams: Iterable[str]) -> list[str]:
    """Streams as they can be told from one another after writing: an mp4 calls all MPEG audio mp3, and
    the muxer adds data tracks of its own (timecode, chapters)."""
    return sorted(s.replace("audio mp2", "audio mp3") for s in streams if not s.startswith("data"))

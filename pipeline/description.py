"""What a file says of itself, for whoever decodes, encodes and reports.

Containers, streams and frames are av's, known here by their attributes alone.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from veilcast.errors import DamagedMedia
from veilcast.pipeline.admission import codec_name
from veilcast.pipeline.carriers import colour_of, display_matrix, orientation
from veilcast.types import PixelFormat, StreamInfo


def stream_info(source: Path, container: Any, stream: Any, first: Any, layout: PixelFormat) -> StreamInfo:
    """`first`: the stream's first frame, which alone shows some of it for sure; `layout`: of its samples.
    Raises DamagedMedia."""
    if not stream.time_base:
        raise DamagedMedia(f"{source} states no unit of time for its video")
    base = Fraction(stream.time_base)
    duration = stream.duration * base if stream.duration else None
    if duration is None and container.duration:
        duration = Fraction(container.duration, 1_000_000)
    return StreamInfo(
        codec=codec_name(stream),
        width=first.width,
        height=first.height,
        format=layout,
        colour=colour_of(first),
        orientation=orientation(display_matrix(first)),
        sample_aspect_ratio=Fraction(stream.sample_aspect_ratio or 1),
        time_base=base,
        rate=Fraction(stream.average_rate) if stream.average_rate else None,
        frames=stream.frames or None,
        duration=duration,
    )


def facts(container: Any, info: StreamInfo, interlaced: bool) -> dict[str, Any]:
    """Container, streams and the names of tags, for the report. No tag's value: it could name someone."""
    return {
        "container": container.format.name,
        "codec": info.codec,
        "size": [info.width, info.height],
        "pixel_format": info.format.name,
        "rate": None if info.rate is None else str(info.rate),
        "time_base": str(info.time_base),
        "frames": info.frames,
        "duration_s": None if info.duration is None else float(info.duration),
        "interlaced": interlaced,
        "streams": [f"{s.index} {s.type} {codec_name(s)}" for s in container.streams],
        "tags": sorted(container.metadata),
    }


def timecode(container: Any, stream: Any) -> str | None:
    """Of the first frame, hh:mm:ss:ff (";ff" drops frames), from wherever the container keeps it."""
    places = (stream.metadata, container.metadata, *(s.metadata for s in container.streams))
    return next((tags["timecode"] for tags in places if "timecode" in tags), None)

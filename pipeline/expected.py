"""What an output must be, for who writes it and for who checks it in a process that starts quickly."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from fractions import Fraction

# what is decoded from a key frame on needs nothing before it, and the container leads there
APART = frozenset({"h264", "hevc", "prores", "dnxhd", "mjpeg"})
INDEXED = frozenset({"mp4", "mov", "matroska"})


@dataclass(frozen=True, slots=True)
class Expected:
    """What a finished file must decode to. Plain values: it crosses a process boundary."""

    pts: array[int]  # in time_base
    time_base: Fraction
    size: tuple[int, int]
    pixel_format: str
    streams: tuple[str, ...]  # "audio aac", in order
    entry: int | None = None  # a frame near the middle with which decoding can begin; None = none is known


def can_be_entered(muxer: str, codec: str) -> bool:
    """Whether a key frame in the middle of a file of ours is as good a start as its first one."""
    return muxer in INDEXED and codec in APART


def plain(pix_fmt: str) -> str:
    """The pixel format without what its old name says about the range."""
    return pix_fmt.replace("yuvj", "yuv")

"""What an output must be, for who writes it and for who checks it in a process that starts quickly."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Expected:
    """What a finished file must decode to. Plain values: it crosses a process boundary."""

    pts: array[int]  # in time_base
    time_base: Fraction
    size: tuple[int, int]
    pixel_format: str
    streams: tuple[str, ...]  # "audio aac", in order


def plain(pix_fmt: str) -> str:
    """The pixel format without what its old name says about the range."""
    return pix_fmt.replace("yuvj", "yuv")

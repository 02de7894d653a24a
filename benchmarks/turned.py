"""How many faces stay visible where people lie, or the camera hangs on its side or upside down?

    python -m benchmarks.turned [CLIP...] [--out FILE.json]

Clips are turned by quarters, without a word about it in the file; what subjects wrote is turned back and
judged (altered.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks import altered
from benchmarks.recall import Tally
from benchmarks.recall import tally as judged

from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.looks import turned
from veilcast.pipeline.pixels import to_rgb
from veilcast.types import Rgb

CLIPS = (
    "cctv_station_640x360.mp4",
    "street_crowd_640x360.mp4",
    "group7_stock_640x360.mp4",
    "stage_multi_hamilton_640x360.mp4",
    "street_group_1080p.mp4",
)


def shown(clip: Path, frames: int | None, turns: int) -> Iterator[Rgb]:
    """The first frames as they are displayed, turned clockwise by quarters."""
    with Decoder(clip) as decoder:
        for frame in islice(decoder.frames(), frames):
            yield to_rgb(turned(frame, turns))


def judge(clip: Path, source: Path, output: Path, known: altered.Known, turns: int) -> Tally:
    """What was covered, turned back, beside the clip."""
    back = output.with_name(f"{output.stem}-back.mkv")
    altered.written(shown(output, None, -turns), back)
    return judged(clip, back, known.seen, known.near)


WAYS = {
    name: altered.Way(partial(shown, turns=turns), partial(judge, turns=turns))
    for turns, name in enumerate(
        ("upright", "a quarter clockwise", "upside down", "a quarter counter-clockwise")
    )
}


def table(result: dict[str, Any]) -> str:
    return altered.table(result, "turned", "the picture", list(WAYS))


def main() -> None:
    altered.measured("turned", __doc__, CLIPS, WAYS)


if __name__ == "__main__":
    main()

"""Milliseconds a synthetic face, stage by stage, from the decoded frame to the new face in it.

    python -m benchmarks.face_stages [CLIP...] [--frames 96] [--model DIR] [--out FILE.json]

Each clip twice: with every face generated anew, in batches as they come, and as
the product does it, which carries a rendering while a face changes little. Stages are wall times of the
threads that they run in, three of which work side by side; "together" is the wall time of all. Finding,
decoding and encoding are not in it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import outcome
from benchmarks.clips import clips_at_hand, named
from benchmarks.speed import processor

from veilcast.config import Config, overlay
from veilcast.pipeline import blend, checks, finish, likeness, tone, warp
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.detect import open_detector
from veilcast.pipeline.generate import Guard
from veilcast.pipeline.landmarks import MeshFinder
from veilcast.pipeline.plan import Plan
from veilcast.pipeline.stages import detect_file, overlapped
from veilcast.pipeline.studio import Studio
from veilcast.pipeline.views import Viewer
from veilcast.trt_engines.models import Models
from veilcast.types import Frame

CLIPS = ("talk_vr1_700.mp4", "group7_stock_640x360.mp4")
# stage -> what does it; a stage inside another one is taken out of that
STAGES: dict[str, tuple[Any, str]] = {
    "mesh": (MeshFinder, "find"),
    "what may be known": (Viewer, "views"),
    "denoise and decode": (Guard, "render"),
    "find the new face": (checks, "find_face"),
    "recognise it": (checks.Recogniser, "centred"),
    "coder's loss": (finish, "coded"),
    "carry": (warp, "carry"),
    "sharpness": (finish, "sharpened"),
    "colours": (blend, "fitted"),
    "tone": (tone, "toned"),
    "mask": (blend, "feathered"),
    "light": (likeness, "relit"),
    "put in": (blend, "paste"),
}
INSIDE = {"mesh": "what may be known"}
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="*", type=named, help=f"default: {', '.join(CLIPS)} of ../shared")
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--model", type=Path, help="a generator's folder; none = the built-in one")
    outcome.add_out(parser, "face_stages")
    options = parser.parse_args()
    config = overlay(Config(), {"synthetic.seed": 1, "synthetic.model": options.model})
    rows = []
    for clip in options.clips or clips_at_hand(CLIPS):
        with open_detector(config.detect, Models(fetch=True)) as finder:
            plan = detect_file(clip, config, finder, lambda stage, done, total: None)
        for anew in (True, False):
            rows.append(measured(clip, plan, config, options.frames, anew))
            print(json.dumps(rows[-1]), flush=True)
    outcome.leave({"processor": processor(), "rows": rows}, options.out)


def measured(clip: Path, plan: Plan, config: Config, count: int, anew: bool) -> Row:
    """The second of two runs over the same frames: in the first one networks prepare for their batches."""
    for _ in range(2):
        with Studio(config.synthetic, Models(fetch=True)) as studio, timed(anew) as spent:
            meet(studio, clip, plan)
            frames = list(first(clip, count))
            before = studio.told()["counts"]
            spent.clear()
            start_s = time.perf_counter()
            paint(studio, frames, plan)
            wall_s = time.perf_counter() - start_s
            made = Counter(studio.told()["counts"])
            made.subtract(before)
    faces = made["faces generated"] + made["faces carried"]
    return {
        "clip": clip.name,
        "faces": faces,
        "generated_share": made["faces generated"] / faces,
        "stages_ms": {name: spent[name] / faces * 1e3 for name in STAGES},
        "together_ms": wall_s / faces * 1e3,
    }


def meet(studio: Studio, clip: Path, plan: Plan) -> None:
    """Everybody in the clip, with a key that is the same each time."""
    with Decoder(clip) as decoder:
        studio.meet(decoder.frames(), plan, b"benchmark")


def paint(studio: Studio, frames: Iterable[Frame], plan: Plan) -> None:
    """Every face of these frames, as the product does it: put in while later ones are rendered."""
    painted = overlapped(studio.painted)
    for frame, painters in painted((frame, plan[frame.index].faces) for frame in frames):
        for put_in in painters.values():
            put_in(frame)


def first(clip: Path, count: int) -> Iterator[Frame]:
    with Decoder(clip) as decoder:
        for frame in decoder.frames():
            if frame.index == count:
                return
            yield frame


@contextmanager
def timed(anew: bool) -> Iterator[Counter[str]]:
    """Seconds in each stage while the block runs. `anew`: nothing is carried."""
    spent: Counter[str] = Counter()
    kept = {name: getattr(owner, function) for name, (owner, function) in STAGES.items()}
    may_carry = warp.may_carry
    for name, (owner, function) in STAGES.items():
        setattr(owner, function, _timing(kept[name], name, spent))
    if anew:
        warp.may_carry = lambda rendered, now: False
    try:
        yield spent
    finally:
        warp.may_carry = may_carry
        for name, (owner, function) in STAGES.items():
            setattr(owner, function, kept[name])


def _timing(function: Callable[..., Any], name: str, spent: Counter[str]) -> Callable[..., Any]:
    def there(*args: Any, **named: Any) -> Any:
        start_s = time.perf_counter()
        try:
            return function(*args, **named)
        finally:
            took_s = time.perf_counter() - start_s
            spent[name] += took_s
            if name in INSIDE:
                spent[INSIDE[name]] -= took_s

    return there


if __name__ == "__main__":
    main()

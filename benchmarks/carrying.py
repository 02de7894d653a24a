"""How often a face is rendered anew, and what lips and eyelids lose where its last rendering is carried.

    python -m benchmarks.carrying [CLIP...] [--frames 200] [--model DIR] [--out FILE.json]

Each clip several times: with every face rendered anew, as the product carries, and with its limits
(`warp.OPENING`, `TURN`, `STRETCH`) some times as wide. The mesh network looks at each patch before it is
blended; an error is the difference to what it saw in the source, in hundredths of the face from brow to chin:
openness of the mouth, its width, openness of the eyelids (mean of both eyes). Renderings and carried ones are
told apart: of those rendered anew the rest is the generator's own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks import outcome
from benchmarks.clips import clips_at_hand, named
from benchmarks.face_stages import first, meet, paint
from benchmarks.speed import processor

from veilcast.config import Config, overlay
from veilcast.pipeline import checks, warp
from veilcast.pipeline.detect import open_detector
from veilcast.pipeline.landmarks import MeshFinder, mouth_and_lids
from veilcast.pipeline.plan import Plan
from veilcast.pipeline.renewal import Appearance
from veilcast.pipeline.stages import detect_file
from veilcast.pipeline.studio import Studio
from veilcast.trt_engines.models import Models
from veilcast.trt_engines.open import open_engine
from veilcast.types import Rgb

CLIPS = ("talk_vr1_700.mp4", "talk_WDA_a_512.mp4", "group7_stock_640x360.mp4")
LIMITS = (0.0, 0.5, 1.0, 2.0)  # times the product's; 0 = nothing is carried
Row = dict[str, Any]


@dataclass(slots=True)
class Seen:
    """Differences of mouth and lids to the source's, (4,) each (landmarks.mouth_and_lids)."""

    anew: list[np.ndarray] = field(default_factory=list)
    carried: list[np.ndarray] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="*", type=named, help=f"default: {', '.join(CLIPS)} of ../shared")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--model", type=Path, help="a generator's folder; none = the built-in one")
    outcome.add_out(parser, "carrying")
    options = parser.parse_args()
    config = overlay(Config(), {"synthetic.seed": 1, "synthetic.model": options.model})
    rows = []
    with open_engine(Models(fetch=True).file("landmarks478")) as engine:
        for clip in options.clips or clips_at_hand(CLIPS):
            with open_detector(config.detect, Models(fetch=True)) as finder:
                plan = detect_file(clip, config, finder, lambda stage, done, total: None)
            for limits in LIMITS:
                rows.append(measured(clip, plan, config, options.frames, limits, MeshFinder(engine)))
                print(json.dumps(rows[-1]), flush=True)
    outcome.leave({"processor": processor(), "rows": rows}, options.out)


def measured(clip: Path, plan: Plan, config: Config, count: int, limits: float, meshes: MeshFinder) -> Row:
    with Studio(config.synthetic, Models(fetch=True)) as studio:
        meet(studio, clip, plan)
        with watched(limits, meshes) as seen:
            paint(studio, first(clip, count), plan)
        made = studio.told()["counts"]
    anew, carried = made["faces generated"], made.get("faces carried", 0)
    return {
        "clip": clip.name,
        "limits": limits,
        "faces": anew + carried,
        "generated_share": anew / (anew + carried),
        "anew": errors(seen.anew),
        "carried": errors(seen.carried),
    }


def errors(differences: Sequence[np.ndarray]) -> dict[str, float] | None:
    """Means in hundredths of a face; None where there is no face."""
    if not differences:
        return None
    opening, width, *lids = np.abs(differences).mean(0) * 100
    return {"mouth_opening": float(opening), "mouth_width": float(width), "lids": float(np.mean(lids))}


@contextmanager
def watched(limits: float, meshes: MeshFinder) -> Iterator[Seen]:
    """What is rendered and carried while the block runs, under limits so many times as wide."""
    seen = Seen()
    find_face, carried, may_carry = checks.find_face, Appearance.carried, warp.may_carry
    kept = warp.OPENING, warp.TURN, warp.STRETCH

    def found(finder: MeshFinder, renderings: Sequence[Rgb], expected: Sequence[np.ndarray]) -> list[Any]:
        answers = find_face(finder, renderings, expected)
        seen.anew += compared(answers, expected)
        return answers

    def carrying(rendering: Appearance, now: warp.Pose) -> Rgb:
        result = carried(rendering, now)
        seen.carried += compared(find_face(meshes, [result], [now.mesh]), [now.mesh])
        return result

    checks.find_face, Appearance.carried = found, carrying
    warp.OPENING = tuple(limits * value for value in kept[0])
    warp.TURN, warp.STRETCH = limits * kept[1], limits * kept[2]
    if not limits:
        warp.may_carry = lambda rendered, now: False
    try:
        yield seen
    finally:
        checks.find_face, Appearance.carried, warp.may_carry = find_face, carried, may_carry
        warp.OPENING, warp.TURN, warp.STRETCH = kept


def compared(answers: Sequence[Any], expected: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Of those in which a face was found where one was."""
    return [
        mouth_and_lids(answer.points) - mouth_and_lids(mesh)
        for answer, mesh in zip(answers, expected, strict=True)
        if isinstance(answer, checks.Mesh)
    ]


if __name__ == "__main__":
    main()

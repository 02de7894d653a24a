"""What a mesh loses where nobody looks: each one that `pipeline/between.py` takes from the frames beside it,
against what a look at its own frame finds.

    python -m benchmarks.between [CLIP...] [--frames 200] [--out FILE.json]

Differences of mouth and eyelids as in benchmarks/carrying.py, which says what a rendering is off by itself.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks import outcome
from benchmarks.carrying import CLIPS, errors
from benchmarks.clips import clips_at_hand, named
from benchmarks.face_stages import first
from benchmarks.speed import processor

from veilcast.config import Config
from veilcast.pipeline import between
from veilcast.pipeline.detect import open_detector
from veilcast.pipeline.landmarks import Mesh, MeshFinder, five_points, mouth_and_lids
from veilcast.pipeline.stages import detect_file
from veilcast.pipeline.views import MIN_BOX_PX, windows
from veilcast.trt_engines.models import Models
from veilcast.trt_engines.open import open_engine
from veilcast.types import Frame, Points


class Looks:
    """A MeshFinder that keeps what it found."""

    def __init__(self, finder: MeshFinder) -> None:
        self._finder = finder
        self.found: list[Mesh | None] = []

    def find(self, scenes: Sequence[tuple[Frame, Sequence[Points]]]) -> list[list[Mesh | None]]:
        rows = self._finder.find(scenes)
        self.found += chain.from_iterable(rows)
        return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="*", type=named, help=f"default: {', '.join(CLIPS)} of ../shared")
    parser.add_argument("--frames", type=int, default=200)
    outcome.add_out(parser, "between")
    options = parser.parse_args()
    rows = []
    with open_engine(Models(fetch=True).file("landmarks478")) as engine:
        for clip in options.clips or clips_at_hand(CLIPS):
            rows.append(measured(clip, options.frames, MeshFinder(engine)))
            print(json.dumps(rows[-1]), flush=True)
    outcome.leave({"processor": processor(), "rows": rows}, options.out)


def measured(clip: Path, count: int, finder: MeshFinder) -> dict[str, Any]:
    config = Config()
    with open_detector(config.detect, Models(fetch=True)) as detector:
        plan = detect_file(clip, config, detector, lambda stage, done, total: None)
    faces, asked = 0, 0
    apart: list[np.ndarray] = []
    scenes = ((frame, plan[frame.index].faces) for frame in first(clip, count))
    for window in windows(scenes):
        large = [
            (frame, [t for t in tracks if max(t.box.width, t.box.height) >= MIN_BOX_PX])
            for frame, tracks in window
        ]
        looks = Looks(finder)
        taken = chain.from_iterable(between.meshes(looks, large))
        there = {id(mesh) for mesh in looks.found}
        looked = finder.find([(frame, [five_points(t) for t in tracks]) for frame, tracks in large])
        faces, asked = faces + sum(map(len, looked)), asked + len(looks.found)
        for one, other in zip(taken, chain.from_iterable(looked), strict=True):
            if one is not None and other is not None and id(one) not in there:
                apart.append(mouth_and_lids(one.points) - mouth_and_lids(other.points))
    return {"clip": clip.name, "faces": faces, "looked_at_share": asked / faces, "off": errors(apart)}


if __name__ == "__main__":
    main()

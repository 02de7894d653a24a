"""Meshes of many frames: looked for in every second one, and in between where a face changes. Of one that
hardly does, the mean of the frames beside says enough: it is off by less than half of what a rendering is
(benchmarks/between.py, benchmarks/carrying.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from veilcast.pipeline.checks import PRESENCE
from veilcast.pipeline.landmarks import Mesh, MeshFinder, five_points, mouth_and_lids, size_px
from veilcast.types import Frame, Track

# most that may differ between the two frames beside: openness of the mouth, its width and openness of both
# eyes, and the way of any point, in face heights
_OPENING = (0.015, 0.022, 0.009, 0.009)
_WAY = 0.15
_APART_S = 0.1  # a blink takes longer

Scene = tuple[Frame, Sequence[Track]]
Found = dict[tuple[int, int], Mesh | None]  # by place of the frame and track


def meshes(finder: MeshFinder, scenes: Sequence[Scene]) -> list[list[Mesh | None]]:
    """For each frame the mesh of each track; None where no look found one. Raises EngineError."""
    last = len(scenes) - 1
    found = _looked_for(finder, scenes, lambda place, _: place % 2 == 1 or place in (0, last))
    found |= _between(scenes, found)
    found |= _looked_for(finder, scenes, lambda place, track: (place, track) not in found)
    return [[found[place, track.id] for track in tracks] for place, (_, tracks) in enumerate(scenes)]


def _looked_for(finder: MeshFinder, scenes: Sequence[Scene], wanted: Callable[[int, int], bool]) -> Found:
    """Those of `wanted` places and tracks."""
    some = [
        [track for track in tracks if wanted(place, track.id)] for place, (_, tracks) in enumerate(scenes)
    ]
    asked = [
        (frame, [five_points(track) for track in tracks])
        for (frame, _), tracks in zip(scenes, some, strict=True)
    ]
    rows = zip(some, finder.find(asked), strict=True)
    return {
        (place, track.id): mesh
        for place, (tracks, answers) in enumerate(rows)
        for track, mesh in zip(tracks, answers, strict=True)
    }


def _between(scenes: Sequence[Scene], found: Found) -> Found:
    """Where no look is needed: what the frames beside say."""
    result: Found = {}
    for place, (_, tracks) in enumerate(scenes):
        for track in tracks:
            before, after = found.get((place - 1, track.id)), found.get((place + 1, track.id))
            if (place, track.id) in found or before is None or after is None:
                continue
            apart_s = float(scenes[place + 1][0].time - scenes[place - 1][0].time)
            if apart_s <= _APART_S and _alike(before, after):
                middle = (before.points + after.points) / 2
                result[place, track.id] = Mesh(middle, min(before.presence, after.presence))
    return result


def _alike(before: Mesh, after: Mesh) -> bool:
    if not min(before.presence, after.presence) >= PRESENCE:
        return False
    opened = np.abs(mouth_and_lids(before.points) - mouth_and_lids(after.points))
    way_px = np.linalg.norm((before.points - after.points)[:, :2], axis=1).max()
    return bool((opened <= _OPENING).all() and way_px <= _WAY * size_px(before.points))

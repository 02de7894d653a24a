"""Meeting the people of a stream: a few good looks at each track, from which its source identity and its
coarse attributes are estimated once. All of it stays in memory and ends with the stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from veilcast.diffusion import patch
from veilcast.pipeline.checks import PRESENCE, Recogniser
from veilcast.pipeline.generator_model import PATCH_PX, GeneratorModel
from veilcast.pipeline.identity import Sighting, Source, best_looks, sources
from veilcast.pipeline.landmarks import Mesh, MeshFinder, five_points, size_px, yaw
from veilcast.pipeline.pixels import crop_to_rgb
from veilcast.pipeline.plan import Plan
from veilcast.types import Frame, Track

_FULL_PX = 100.0  # height of a face from which more pixels add nothing


@dataclass(frozen=True, slots=True)
class Observer:
    """The networks that look at real faces."""

    meshes: MeshFinder
    recognisers: tuple[Recogniser, ...]
    model: GeneratorModel

    def look(self, frame: Frame, tracks: Sequence[Track]) -> list[Sighting]:
        """What each track looks like in this frame; nothing for those that show no face or give no finite
        answer. Raises EngineError."""
        (found,) = self.meshes.find([(frame, [five_points(track) for track in tracks])])
        sightings = []
        for track, mesh in zip(tracks, found, strict=True):
            if mesh is not None and mesh.presence >= PRESENCE:
                with suppress(ValueError):
                    sightings.append(self._sighting(frame, track.id, mesh))
        return sightings

    def sources(
        self, sightings: Iterable[Sighting], lifetimes: Mapping[int, tuple[int, int]]
    ) -> list[Source]:
        """`identity.sources` as these recognisers see strangers."""
        return sources(sightings, lifetimes, [recogniser.stranger for recogniser in self.recognisers])

    def _sighting(self, frame: Frame, track: int, mesh: Mesh) -> Sighting:
        embeddings = tuple(
            recogniser.centred([crop_to_rgb(frame, recogniser.affine(mesh.points), recogniser.side)])[0]
            for recogniser in self.recognisers
        )
        picture = crop_to_rgb(frame, patch.to_patch(mesh.points, PATCH_PX), PATCH_PX)
        return Sighting(track, quality(mesh), embeddings, self.model.coarse(picture[None])[0])


def quality(mesh: Mesh) -> float:
    """0 to 1: large, frontal and surely a face."""
    size = min(size_px(mesh.points) / _FULL_PX, 1.0)
    return float(mesh.presence * size * max(np.cos(yaw(mesh.points)), 0.0) ** 2)


def survey(frames: Iterable[Frame], plan: Plan, observer: Observer) -> list[Source]:
    """The sources of a file's tracks. `frames`: all of the file, in order; few are looked at."""
    looks = best_looks((row.index, row.faces) for row in plan)
    spans = lifetimes(plan)
    sightings: list[Sighting] = []
    last = max(looks, default=-1)
    for frame in frames:
        if frame.index in looks and not frame.damaged:
            wanted = [face for face in plan[frame.index].faces if face.id in looks[frame.index]]
            sightings.extend(observer.look(frame, wanted))
        if frame.index >= last:
            break
    return observer.sources(sightings, spans)


def lifetimes(plan: Plan) -> dict[int, tuple[int, int]]:
    """First and last frame of each track."""
    spans: dict[int, tuple[int, int]] = {}
    for row in plan:
        for face in row.faces:
            spans[face.id] = (spans.get(face.id, (row.index, 0))[0], row.index)
    return spans

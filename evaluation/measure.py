"""One pass over the clips: frames two by two in, samples and counts out. Memory grows with the number
of faces, not with the number of frames.

Coverage looks at every frame. The networks look at the first three of each `every` frames, so that
neighbours are always compared with neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from veilcast.evaluation import looks, quality
from veilcast.evaluation.album import Album
from veilcast.evaluation.coverage import (
    SAME_FACE_IOU,
    Coverage,
    Luma,
    Sighting,
    changed,
    counted,
    coverage,
    false_cover,
    linked_to,
    luma,
    shown,
)
from veilcast.evaluation.fairness import ita_degrees
from veilcast.evaluation.looks import Known, Look, Values
from veilcast.evaluation.networks import CONTEXT, Judges, aligned
from veilcast.evaluation.pairs import Clip, FramePair, frames
from veilcast.evaluation.reidentification import pair_scores
from veilcast.evaluation.samples import FaceSample
from veilcast.types import Box, Face, Rgb

GROUP = 3  # neighbouring frames that the networks see: a second difference needs as many

Detect = Callable[[Rgb], Sequence[Face]]
Truth = Mapping[tuple[str, int], Sequence[Box]]  # true faces by clip name and frame


@dataclass(frozen=True, slots=True)
class Options:
    """What counts as a face. Sizes are box widths in pixels of the original."""

    min_score: float = 0.5
    min_face_px: float = 16
    min_known_px: float = 32  # for recognition and all that needs landmarks
    every: int = 6
    features_every: int = 5  # of the looked-at frames: realness needs fewer and its network is large


@dataclass(slots=True)
class Measured:
    """Everything that one evaluation saw."""

    samples: list[FaceSample] = field(default_factory=list)
    coverage: list[Coverage] = field(default_factory=list)
    clips: list[Clip] = field(default_factory=list)
    false_cover: list[float] = field(default_factory=list)  # share of the picture, each frame
    outside: list[float] = field(default_factory=list)  # levels, each frame
    frames: int = 0
    curve: list[tuple[int, float, float]] = field(default_factory=list)  # clip, time_s, worst correlation
    album: Album = field(default_factory=Album)
    tracks: int = 0


class ClipMeter:
    """Measures one clip into `into`: `look` at each pair in order, then `close`."""

    def __init__(
        self, clip: Clip, detectors: Sequence[Detect], judges: Judges, options: Options, into: Measured
    ) -> None:
        self._clip, self._number, self._into = clip, len(into.clips), into
        self._detectors, self._judges, self._options = detectors, judges, options
        self._sightings: list[list[Sighting]] = []
        self._pending: list[tuple[int, FaceSample]] = []  # place among the frame's detections
        self._before: list[tuple[Box, int]] = []
        self._history: dict[int, tuple[list[Look], list[Look]]] = {}  # by track: of original and output
        self._previous: FramePair | None = None
        self._looked = 0

    def look(self, pair: FramePair, labelled: Sequence[Box] | None = None) -> None:
        """Takes the next pair; `labelled`: the true faces, else the detectors say."""
        a, b = luma(pair.original), luma(pair.output)
        faces = found(pair.original, self._detectors, self._options)
        boxes = [face.box for face in faces]
        truth = boxes if labelled is None else labelled
        self._sightings.append([Sighting(pair.index, box, shown(a, b, box)) for box in truth])
        self._whole_picture(pair, a, b, truth)
        names = linked_to(self._before, boxes, self._into.tracks)
        self._into.tracks = max([self._into.tracks - 1, *names]) + 1
        self._before = list(zip(boxes, names, strict=True))
        known = [
            Known(i, name, face.box, face.landmarks, shown(a, b, face.box))
            for i, (face, name) in enumerate(zip(faces, names, strict=True))
            if face.landmarks is not None and face.box.width >= self._options.min_known_px
        ]
        if known and pair.index % self._options.every < GROUP:
            self._judge(pair, a, b, known)
        self._previous = pair

    def close(self, labelled: bool = False) -> None:
        """Counts the clip and keeps the samples of detections that a neighbouring frame confirms."""
        sure = counted(self._sightings, self._clip.still)
        self._into.samples += [s for place, s in self._pending if labelled or sure[s.frame][place]]
        self._into.coverage.append(coverage(self._sightings, self._clip.still))
        self._into.clips.append(self._clip)
        self._into.frames += len(self._sightings)

    def _whole_picture(self, pair: FramePair, a: Luma, b: Luma, truth: Sequence[Box]) -> None:
        changes = changed(a, b)
        self._into.false_cover.append(false_cover(changes, truth, a.shape[1], a.shape[0]))
        self._into.outside.append(quality.outside_difference(a, b, changes))
        worst = max((s.correlation for s in self._sightings[-1]), default=None)
        if worst is not None:
            self._into.curve.append((self._number, pair.time_s, worst))

    def _judge(self, pair: FramePair, a: Luma, b: Luma, known: Sequence[Known]) -> None:
        values, noise = self._compared(pair, a, b, known)
        seen = looks.embedded(self._judges, pair, known)
        features = None
        if self._looked % self._options.features_every == 0:
            features = looks.features(self._judges, pair, known)
        self._looked += 1
        for i, k in enumerate(known):
            look = self._history[k.track][0][-1]
            sample = FaceSample(
                clip=self._number,
                track=k.track,
                frame=pair.index,
                box=k.box,
                correlation=k.correlation,
                embeddings={name: rows[i] for name, rows in seen.vectors.items()},
                controls={name: float(rows[i]) for name, rows in seen.controls.items()},
                features=None if features is None else features[i],
                values=values[i],
                noise=noise[i],
                age_years=look.age_years,
                male=look.male,
                ita_degrees=ita_degrees(pair.original, k.landmarks),
            )
            self._pending.append((k.place, sample))
            self._show(pair, k, sample)

    def _compared(
        self, pair: FramePair, a: Luma, b: Luma, known: Sequence[Known]
    ) -> tuple[list[Values], list[Values]]:
        """Measures of each output face against its original, and of the original against itself one
        frame before."""
        again = found(pair.output, self._detectors[:1], self._options)
        values, noise = [looks.realness(a, b, k.box) for k in known], [Values() for _ in known]
        before = self._neighbour(pair)
        if before is None:
            self._history = {}
        history: dict[int, tuple[list[Look], list[Look]]] = {}
        for i, (k, (source, output)) in enumerate(
            zip(known, looks.looks(self._judges, pair, known), strict=True)
        ):
            shown = any(k.box.iou(o.box) >= SAME_FACE_IOU for o in again)
            values[i]["detected_share"] = float(shown)
            if shown:  # a network says something of a black ellipse as well
                values[i] |= looks.differences(source, output)
            past = self._history.get(k.track, ([], []))
            if past[0]:
                noise[i] |= looks.differences(past[0][-1], source)
            history[k.track] = ([*past[0][-2:], source], [*past[1][-2:], output] if shown else [])
            noise[i] |= looks.jitter(history[k.track][0])
            values[i] |= looks.jitter(history[k.track][1])
        self._history = history
        if before is not None:
            moved = looks.steps(self._judges, before, pair, known)
            for i, (source_step, output_step) in enumerate(moved):
                noise[i] |= source_step
                values[i] |= output_step
        return values, noise

    def _neighbour(self, pair: FramePair) -> FramePair | None:
        """The frame just before, where the networks looked at it too."""
        first_of_group = self._options.every > GROUP and pair.index % self._options.every == 0
        return None if first_of_group else self._previous

    def _show(self, pair: FramePair, known: Known, sample: FaceSample) -> None:
        rows = [r.astype(np.float32) for r in sample.embeddings.values()]
        scores = [known.correlation, *(float(pair_scores(r[:1], r[1:])[0]) for r in rows)]

        def pictures() -> list[Rgb]:
            return [aligned(p, known.landmarks, CONTEXT, 160) for p in (pair.original, pair.output)]

        self._into.album.offer(max(scores), pictures, f"{self._clip.name}, frame {pair.index}")


def measured(
    clips: Sequence[Clip],
    detectors: Sequence[Detect],
    judges: Judges,
    options: Options,
    truth: Truth | None = None,
    progress: Callable[[Clip, int], None] = lambda clip, frame: None,
) -> Measured:
    """Measures all clips in order. Raises InputError, EvaluationFailed."""
    into = Measured()
    for clip in clips:
        meter = ClipMeter(clip, detectors, judges, options, into)
        for pair in frames(clip):
            meter.look(pair, None if truth is None else truth.get((clip.name, pair.index), ()))
            progress(clip, pair.index)
        meter.close(labelled=truth is not None)
    return into


def found(rgb: Rgb, detectors: Sequence[Detect], options: Options) -> list[Face]:
    """Faces of all detectors at the stated score and size, each face once (the surer of overlapping
    detections)."""
    faces = sorted((f for d in detectors for f in d(rgb)), key=lambda f: -f.score)
    kept: list[Face] = []
    for face in faces:
        counts = face.score >= options.min_score and face.box.width >= options.min_face_px
        if counts and all(face.box.iou(k.box) < SAME_FACE_IOU for k in kept):
            kept.append(face)
    return kept

"""From a frame and its tracks to views: what a generator may know of each face, and where it will go.

This is the only place where the pixels of a face that is to be replaced are read; a `View` holds them
outside the mask alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import cv2
import numpy as np

from veilcast.arrays import Float32, Float64
from veilcast.diffusion import patch
from veilcast.pipeline import between, blend, finish, likeness, warp
from veilcast.pipeline.align import similarity
from veilcast.pipeline.attention import Attention
from veilcast.pipeline.generate import Refusal
from veilcast.pipeline.generator_model import CLOSEUP_PX, PATCH_PX
from veilcast.pipeline.landmarks import Mesh, MeshFinder, OneEuro, in_box, size_px
from veilcast.pipeline.pixels import crop_to_rgb
from veilcast.pipeline.renewal import Appearance
from veilcast.pipeline.tone import Spread, Tone, spread_of, tone_of
from veilcast.types import Affine, Box, Frame, Rgb, Track

MIN_BOX_PX = 36.0  # the longer side of its box; below it no mesh is looked for
MOVING_CLOSEUP_PX = 200.0  # of the picture under the patch: from here on a moving face is a close-up
STILL_CLOSEUP_PX = 130.0  # a still one, which is looked at longer than it takes to draw
_CLOSEUP_STAYS = 0.825  # of those pixels: down to here a close-up stays one
_SMALL_VEIL_PX = 64.0  # the longer side of a box whose veil is made of half as many pixels
# frames that are looked at together: few at first, so that all threads have work soon, then more, as
# networks are quicker at many faces; large frames fill memory
_FIRST_WINDOW, _WINDOW, _LARGE_WINDOW = 4, 16, 8
_LARGE_PX = 1920 * 1088  # of a frame: more are many
_OTHERS = 1.3  # size of the ellipse that hides another face, in boxes

Scene = tuple[Frame, tuple[Track, ...]]
Expression = Callable[[Float32[np.ndarray, "n 478 3"]], Float32[np.ndarray, "n 52"]]


def windows(scenes: Iterable[Scene]) -> Iterator[list[Scene]]:
    """Frames that are looked at and rendered together; damaged ones without their tracks."""
    rest, size = iter(scenes), _FIRST_WINDOW
    for first in rest:
        width, height = first[0].size
        size = min(size, _LARGE_WINDOW if width * height > _LARGE_PX else _WINDOW)
        taken = [first, *islice(rest, size - 1)]
        yield [(frame, () if frame.damaged else tracks) for frame, tracks in taken]
        size *= 2


@dataclass(frozen=True, slots=True)
class View:
    """One face of one frame, ready to be rendered."""

    place: int  # of its frame in the window
    track: Track
    to_patch: Affine = field(repr=False)  # displayed pixels -> patch of `pose.side`
    pose: warp.Pose = field(repr=False)
    core: likeness.Mask = field(repr=False)  # 1 over what is replaced, in that patch
    context: Rgb = field(repr=False)  # that patch, averaged under `core` and under `others`
    others: likeness.Mask = field(repr=False)  # where other people's faces are
    steep: float  # how sharp the source's face is (finish.steepness)
    spread: Spread  # how much its light and colours vary
    like: likeness.Like = field(repr=False)  # how much a rendering repeats the source's patch
    small: Rgb = field(repr=False)  # (128, 128, 3): the same for the generator
    hidden: likeness.Mask = field(repr=False)  # of that
    stance: Float32[np.ndarray, " 9"] = field(repr=False)  # pose without face shape (patch.stance)


@dataclass(frozen=True, slots=True)
class Veil:
    """A face without a persona in this frame (see `attention`): it gets a few average colours."""

    place: int
    track: Track


Seen = View | Veil | Refusal  # what became of one face


@dataclass(slots=True)
class Life:
    """What is kept of a track from frame to frame."""

    attention: Attention = field(default_factory=Attention)
    place: OneEuro = field(default_factory=OneEuro)
    manner: OneEuro = field(default_factory=lambda: OneEuro(cutoff_hz=5.0, beta=20.0))
    side: int = PATCH_PX
    rendered: Appearance | None = None  # the last that was accepted
    tone: Tone | None = None  # of its face, times the source's


@dataclass(frozen=True, slots=True)
class Viewer:
    """Networks and constants that views are made with. `sides`: what the model can render; `closeup_px`:
    pixels of the picture under a patch from which it is a close-up."""

    meshes: MeshFinder
    expression: Expression = field(repr=False)  # meshes -> what a rendering is asked for
    mean_mesh: Float64[np.ndarray, "478 3"] = field(repr=False)
    sides: tuple[int, ...] = (PATCH_PX,)
    closeup_px: float = MOVING_CLOSEUP_PX

    def views(self, window: Sequence[Scene], lives: dict[int, Life]) -> list[Seen]:
        """One for each track of each frame. Raises EngineError, ValueError."""
        found: list[Seen] = []
        large = [[track for track in tracks if _due(track, frame, lives)] for frame, tracks in window]
        looked = [(frame, some) for (frame, _), some in zip(window, large, strict=True)]
        rows = zip(window, large, between.meshes(self.meshes, looked), strict=True)
        for place, ((frame, tracks), some, meshes) in enumerate(rows):
            found.extend(Veil(place, track) for track in tracks if track not in some)
            for track, mesh in zip(some, meshes, strict=True):
                life = lives.setdefault(track.id, Life())
                found.append(self._view(place, frame, tracks, track, mesh, life))
        return found

    def geometry(self, views: Sequence[View]) -> Float32[np.ndarray, "n 61"]:
        """What the generator is told of pose and expression. Raises EngineError."""
        meshes = np.stack([view.pose.mesh / view.pose.side for view in views]).astype(np.float32)
        stances = np.stack([view.stance for view in views])
        return np.concatenate([self.expression(meshes), stances], 1, dtype=np.float32)

    def _view(
        self,
        place: int,
        frame: Frame,
        tracks: Sequence[Track],
        track: Track,
        mesh: Mesh | None,
        life: Life,
    ) -> Seen:
        if not life.attention.see(mesh) or mesh is None:
            return Veil(place, track)
        height_px = size_px(mesh.points)
        points, lively = (
            steady(float(frame.time), mesh.points, height_px) for steady in (life.place, life.manner)
        )
        side = life.side = self._side(points, life.side)
        others = [other.box for other in tracks if other.id != track.id]
        return self._patched(place, frame, track, points, lively, side, others)

    def _side(self, points: Float64[np.ndarray, "478 3"], before: int) -> int:
        """Pixels of the patch: the close-up for a face that fills many pixels."""
        if CLOSEUP_PX not in self.sides:
            return PATCH_PX
        spans_px = PATCH_PX / float(np.hypot(*patch.to_patch(points, PATCH_PX)[0, :2]))
        limit_px = self.closeup_px * (1 if before == PATCH_PX else _CLOSEUP_STAYS)
        return CLOSEUP_PX if spans_px > limit_px else PATCH_PX

    def _patched(
        self,
        place: int,
        frame: Frame,
        track: Track,
        points: Float64[np.ndarray, "478 3"],
        lively: Float64[np.ndarray, "478 3"],
        side: int,
        others: Sequence[Box],
    ) -> View:
        """`points` say steadily where the face is, `lively` what it does: a blink is over in three frames."""
        to_patch, to_small = (patch.to_patch(points, size) for size in (side, PATCH_PX))
        source = crop_to_rgb(frame, to_patch, side)
        small = source
        if side != PATCH_PX:
            small = cv2.resize(source, (PATCH_PX, PATCH_PX), interpolation=cv2.INTER_AREA)
        core = _hidden(points, track.box, to_patch, side)
        small_core = (likeness.reduced(core, PATCH_PX) >= 0.5).astype(np.float32)
        stance = patch.stance(patch.move(points, to_small), self.mean_mesh, PATCH_PX)
        hidden = _ellipses(others, to_patch, side)
        near = _ellipses(others, to_small, PATCH_PX)
        clear = averaged(small, near) if near.any() else small
        oval = blend.ellipse(track.box.scaled(likeness.OVAL), to_patch, side)
        lens = likeness.Lens(core, oval)
        inner, tone = lens(source), tone_of(source, core, hidden)
        return View(
            place,
            track,
            to_patch,
            warp.Pose(frame.index, side, patch.move(lively, to_patch), stance[:6], tone),
            core,
            averaged(source, np.maximum(core, hidden)),
            hidden,
            finish.steepness(source, core),
            spread_of(source, core),
            lambda rgb: likeness.compare(lens(rgb), inner),
            averaged(clear, small_core),
            small_core,
            stance,
        )


def _due(track: Track, frame: Frame, lives: Mapping[int, Life]) -> bool:
    """Whether the mesh is looked for."""
    known = lives.get(track.id)
    large = max(track.box.width, track.box.height) >= MIN_BOX_PX
    return large and (known is None or known.attention.due(frame.index))


def _hidden(points: Float64[np.ndarray, "478 3"], box: Box, affine: Affine, side: int) -> likeness.Mask:
    """What is to be replaced in a patch: what the mesh spans and, where a turned head has more to hide, what
    its track must have under the mask."""
    spanned = patch.mask(patch.move(points, affine), side)
    hidden: likeness.Mask = np.maximum(spanned, blend.ellipse(box.scaled(blend.FACE_IN_BOX), affine, side))
    return hidden


def averaged(rgb: Rgb, hidden: likeness.Mask) -> Rgb:
    """The patch with nothing but a few average colours where anything is hidden."""
    cells = (patch.COLOURS, patch.COLOURS)
    means = cv2.resize(rgb.astype(np.float32), cells, interpolation=cv2.INTER_AREA)
    smooth = cv2.convertScaleAbs(cv2.resize(means, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR))
    result: Rgb = cv2.copyTo(smooth, (hidden > 0).astype(np.uint8), rgb.copy())
    return result


def _ellipses(boxes: Sequence[Box], to_patch: Affine, side: int) -> likeness.Mask:
    """1 over the faces in these boxes (displayed pixels), in the patch."""
    hidden = np.zeros((side, side), np.float32)
    for box in blend.reaching(boxes, _OTHERS, to_patch, side):
        hidden = np.maximum(hidden, blend.ellipse(box, to_patch, side))
    return hidden


def veil(frame: Frame, track: Track) -> blend.Synthetic:
    """A face of average colours over the whole of the track's ellipse."""
    small = max(track.box.width, track.box.height) < _SMALL_VEIL_PX
    side = PATCH_PX // 2 if small else PATCH_PX  # a few colours need no more
    to_patch = similarity(in_box(track.box), patch.TEMPLATE * side)
    core = blend.ellipse(track.box.scaled(_OTHERS), to_patch, side)
    rgb = averaged(crop_to_rgb(frame, to_patch, side), np.ones_like(core))
    return blend.Synthetic(track.id, track.box, rgb, to_patch, blend.feathered(core))

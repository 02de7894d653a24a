"""Covering a picture in its own planes: solid, mosaic, blur. Every sample outside the mask stays.

Mosaic and blur keep the same few numbers of a face: one mean per cell, in coarse steps. They differ
in how those are drawn: as squares or interpolated. So what a machine can still read is bounded by
`Cover.cells` and `Cover.levels` whatever the size of the face (docs/privacy-model.md has the figures).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType

import cv2
import numpy as np

from veilcast import config
from veilcast.errors import PrivacyTripped
from veilcast.pipeline.shapes import (
    Alpha,
    Ellipse,
    Polygon,
    Rect,
    Region,
    Whole,
    alpha,
    bounds,
    inner,
    pooled,
    stored,
)
from veilcast.pipeline.transparency import is_shaded
from veilcast.types import Box, Frame, Plane, Track, TrackState

Painter = Callable[[Frame], None]  # paints a face into the planes, in place, or raises Refused
NO_FACES: Mapping[int, Painter] = MappingProxyType({})


class Refused(Exception):
    """A face that must not be shown; the text is the reason, for the report."""


@dataclass(frozen=True, slots=True)
class Covered:
    """A frame whose regions are covered, and the digest of what was written there."""

    frame: Frame
    regions: tuple[Region, ...]
    solid: tuple[Region, ...]  # those that are one flat colour
    digest: bytes
    failures: tuple[str, ...] = ()  # why regions were covered solid instead


def regions(
    tracks: Sequence[Track], zones: Sequence[Polygon], size: tuple[int, int], settings: config.Cover
) -> tuple[Region, ...]:
    """What to cover in a displayed picture of `size` (width, height) pixels: an ellipse for each
    track, the zones, or the whole picture where a lost track or a box without sense asks for it.

    Raises PrivacyTripped for a lost track where `on_lost` is stop.
    """
    lost = [track for track in tracks if track.state is TrackState.LOST]
    if lost and settings.on_lost == "stop":
        raise PrivacyTripped(
            f"track {lost[0].id} was lost in the middle of the picture; cover it by hand in the detections "
            "file, or choose --on-lost hold or slate"
        )
    if lost and settings.on_lost == "slate":
        return (Whole(f"track {lost[0].id} lost"),)
    wanted = [track for track in tracks if not (track.keep and settings.allow_keep)]
    if any(not _is_sane(track.box) for track in wanted):
        return (Whole("a box that is not finite"),)
    shapes: list[Region] = [_ellipse(track, settings) for track in wanted]
    return tuple(shape for shape in [*shapes, *zones] if bounds(shape, *size) is not None)


def _is_sane(box: Box) -> bool:
    return all(isfinite(value) for value in (box.x0, box.y0, box.x1, box.y1))


def _ellipse(track: Track, settings: config.Cover) -> Ellipse:
    x, y = track.box.centre
    scale, margin = settings.mask_scale / 2, settings.margin_px
    return Ellipse(x, y, track.box.width * scale + margin, track.box.height * scale + margin, track.id)


def cover(
    frame: Frame, wanted: Sequence[Region], settings: config.Cover, faces: Mapping[int, Painter] = NO_FACES
) -> Covered:
    """Covers `wanted` (displayed pixels) in the frame's planes, in place, once.

    faces: for a track, what paints a synthetic face over it and raises where that is not good enough; painted
    in this order.
    A method that fails on a region, for whatever reason, is replaced by solid there. Solid comes last,
    so that nothing is drawn over it.
    """
    failures = []
    solid: list[Region] = []
    for region in _in_turn(wanted, faces):
        try:
            if not _drawn(frame, region, settings, faces):
                solid.append(region)
        except Exception as error:  # noqa: BLE001 - whatever it is, the face must not stay
            # the text of a foreign error may quote pixels
            why = str(error) if isinstance(error, Refused) else type(error).__name__
            failures.append(f"{settings.replacewith} failed: {why}")
            solid.append(region)
    for region in solid:
        _solid(frame, region)
    return Covered(frame, tuple(wanted), tuple(solid), digest(frame, wanted), tuple(failures))


def _drawn(frame: Frame, region: Region, settings: config.Cover, faces: Mapping[int, Painter]) -> bool:
    """Draws what is not solid; False where solid is what is asked for, or all that there is."""
    if isinstance(region, Whole):
        return False
    if (track := _track(region)) is not None and track in faces:
        if frame.format.alpha and _is_seen_in_alpha(frame, region):
            raise Refused("what is seen there is in the alpha channel, which a face does not replace")
        faces[track](frame)
        return True
    if settings.replacewith in ("mosaic", "blur"):
        _coarse(frame, region, settings)
        return True
    return False


def _in_turn(wanted: Sequence[Region], faces: Mapping[int, Painter]) -> list[Region]:
    places: dict[int | None, int] = {track: place for place, track in enumerate(faces)}
    return sorted(wanted, key=lambda region: places.get(_track(region), len(places)))


def _track(region: Region) -> int | None:
    return region.track if isinstance(region, Ellipse) else None


def _is_seen_in_alpha(frame: Frame, region: Region) -> bool:
    areas = _areas(frame, region, 0.0)
    return bool(areas) and is_shaded(frame.planes[-1][areas[-1][2]])


def slate(frame: Frame, reason: str) -> Covered:
    """The whole picture solid."""
    return cover(frame, (Whole(reason),), config.Cover())


def digest(frame: Frame, wanted: Sequence[Region]) -> bytes:
    """BLAKE2b over the samples of every region's bounding rectangle, in all planes."""
    state = hashlib.blake2b(digest_size=16)
    planes = list(zip(frame.planes, subsampling(frame), strict=True))
    for region in wanted:
        rect = bounds(stored(region, frame.orientation, *frame.size), *frame.size)
        if rect is not None:
            for plane, sub in planes:
                state.update(np.ascontiguousarray(plane[rect.slices(*sub)]).data)
    return state.digest()


def is_solid(frame: Frame, wanted: Sequence[Region]) -> bool:
    """Whether the inside of every region is the one colour of a solid cover."""
    colours = [plane.dtype.type(black(frame, n)) for n, plane in enumerate(frame.planes)]
    planes = list(zip(frame.planes, subsampling(frame), colours, strict=True))
    for region in wanted:
        rect = inner(stored(region, frame.orientation, *frame.size), *frame.size)
        if rect is not None and any(np.count_nonzero(p[rect.slices(*sub)] != c) for p, sub, c in planes):
            return False
    return True


def subsampling(frame: Frame) -> list[tuple[int, int]]:
    """(log2 horizontal, log2 vertical) of each plane."""
    chroma = (frame.format.log2_chroma_w, frame.format.log2_chroma_h)
    is_yuv = frame.format.family == "yuv"
    return [chroma if is_yuv and n in (1, 2) else (0, 0) for n in range(len(frame.planes))]


def black(frame: Frame, plane: int) -> int:
    """The sample of a solid cover: black, opaque."""
    depth, family = frame.format.depth, frame.format.family
    if frame.format.alpha and plane == len(frame.planes) - 1:
        return int((1 << depth) - 1)
    if family == "yuv" and plane > 0:
        return int(1 << (depth - 1))
    limited = family == "yuv" and not frame.colour.full_range
    return int(16 << (depth - 8)) if limited and depth >= 8 else 0


def _solid(frame: Frame, region: Region) -> None:
    for n, plane, samples, mask in _areas(frame, region, 0.0):
        np.copyto(plane[samples], plane.dtype.type(black(frame, n)), where=mask > 0)


def _coarse(frame: Frame, region: Region, settings: config.Cover) -> None:
    """Mosaic or blur: the means of a few cells, in coarse steps, drawn over the region."""
    shape = stored(region, frame.orientation, *frame.size)
    rect = bounds(shape, *frame.size)
    if rect is None:
        return
    extent = max(shape.rx, shape.ry) * 2 if isinstance(shape, Ellipse) else max(frame.size)
    cell_px = _cell_px(extent, settings)
    feather_px = settings.feather * extent
    drawn = cv2.INTER_NEAREST if settings.replacewith == "mosaic" else cv2.INTER_LINEAR
    grids = subsampling(frame)
    for n, plane, samples, mask in _areas(frame, region, feather_px):
        view = plane[samples]
        log2_w, log2_h = grids[n]
        columns = max(1, round(view.shape[1] * 2**log2_w / cell_px))
        rows = max(1, round(view.shape[0] * 2**log2_h / cell_px))
        cells = cv2.resize(view.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
        step = 2.0**frame.format.depth / settings.levels
        flat = np.minimum(np.round(cells / step) * step, 2.0**frame.format.depth - 1)
        drawing = cv2.resize(flat, view.shape[::-1], interpolation=drawn)
        mixed = view + mask * (drawing - view)
        np.copyto(view, np.round(mixed).astype(plane.dtype), where=mask > 0)


def _cell_px(extent_px: float, settings: config.Cover) -> float:
    """Side of a cell: a share of the cover, so that the size of a face adds no detail."""
    return max(extent_px / settings.cells, 2.0)


def _areas(
    frame: Frame, region: Region, feather_px: float
) -> list[tuple[int, Plane, tuple[slice, slice], Alpha]]:
    """For each plane: its number, itself, the samples of the region and how much each is covered."""
    width, height = frame.size
    shape = stored(region, frame.orientation, width, height)
    touched = bounds(shape, width, height, feather_px + 1)
    if touched is None:
        return []
    chroma = (frame.format.log2_chroma_w, frame.format.log2_chroma_h)
    rect: Rect = touched.aligned(*chroma, width, height)
    mask = alpha(shape, rect, feather_px)
    grids = subsampling(frame)
    masks = {grid: pooled(mask, *grid) for grid in set(grids)}
    return [
        (n, plane, rect.slices(*grid), masks[grid])
        for n, (plane, grid) in enumerate(zip(frame.planes, grids, strict=True))
    ]

"""One pass over one or several videos on a device: frames are looked at on one stream while faces of
earlier frames are replaced on another.

    stream A   upload, scale, detect frame N+1       (the host waits for frame N's detections alone)
    host       track; a passage of frames is settled
    stream B   crop, generate, paste, download window M

A frame goes to the device once and stays there until its tracks are settled and its faces blended; then
its planes come down once. What is drawn over a face is still a painter for `cover`, which puts the
blended pixels into the frame under every check that a face from the processor meets, so nothing about
the gate depends on the device. Faces of several frames and sources share a batch of a static size.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from veilcast.config import Config
from veilcast.errors import EngineError
from veilcast.pipeline.batches import split
from veilcast.pipeline.blend import Synthetic
from veilcast.pipeline.cover import Painter
from veilcast.pipeline.cuts import CutFinder
from veilcast.pipeline.gpu.frames import Held, Planes
from veilcast.pipeline.gpu.painting import Blended, likeness, painter
from veilcast.pipeline.gpu.parts import F32, U8, Look, Pixels, Placed, Render
from veilcast.pipeline.passages import Passages
from veilcast.pipeline.plan import Plan
from veilcast.trackers.base import Observation
from veilcast.trt_engines.device import Arena, Buffer, Device, Event
from veilcast.types import Frame, StreamInfo, Track

log = logging.getLogger(__name__)
AHEAD = 2  # frames that are looked at before the host asks for the first one's faces
WINDOW = 8  # settled frames whose faces are rendered together


@dataclass(frozen=True, slots=True)
class Source:
    """One video: its frames in order, and what the container says of them."""

    frames: Iterable[Frame]
    size: tuple[int, int]  # displayed


@dataclass(frozen=True, slots=True)
class Done:
    """A frame, back on the host, with its faces and what is drawn over them."""

    source: int
    frame: Frame
    tracks: tuple[Track, ...]
    painters: Mapping[int, Painter]


_Scenes = Sequence[tuple[Held, tuple[Track, ...]]]


@dataclass(frozen=True, slots=True)
class _Looked:
    held: Held
    outputs: tuple[np.ndarray, ...]  # there behind `held.ready`
    cut: bool


@dataclass(frozen=True, slots=True)
class _Rendered:
    scenes: _Scenes
    faces: tuple[tuple[int, Placed], ...]  # place of the scene, face
    patches: tuple[np.ndarray, ...]  # one batch each, (n, s, s, 3)
    planes: Mapping[int, tuple[np.ndarray, ...]]  # blended, of the scenes that have faces
    after: Event


def fits(info: StreamInfo) -> bool:
    """Whether frames of this video can stay on the device: 8 bits, 4:2:0, three planes."""
    form = info.format
    layout = (form.family, form.depth, form.log2_chroma_w, form.log2_chroma_h, form.alpha)
    return layout == ("yuv", 8, 1, 1, False)


class DevicePipeline:
    """A context manager: leaving it waits for the device and frees what was allocated."""

    def __init__(
        self, device: Device, pixels: Pixels, look: Look, render: Render | None, config: Config
    ) -> None:
        self._device, self._pixels, self._look, self._render = device, pixels, look, render
        self._config = config
        self._eye, self._hand = device.stream(), device.stream()
        self._arena, self.memory = Arena(device), Planes(device)
        self._stack = ExitStack()
        self._stack.enter_context(self._arena)
        self._stack.enter_context(self.memory)
        self._stack.callback(self._rest)

    def run(self, sources: Sequence[Source]) -> Iterator[Done]:
        """Every frame of every source: those of one source in order, sources in turn. Raises EngineError."""
        lives = [_Life(self._config, source.size) for source in sources]
        looking: deque[_Looked] = deque()
        ready: deque[tuple[Held, tuple[Track, ...]]] = deque()
        under_way: deque[_Rendered] = deque()
        for turn, (number, frame) in enumerate(_in_turn([source.frames for source in sources])):
            looking.append(self._enter(number, frame, lives[number], turn % AHEAD))
            if len(ready) >= WINDOW:
                under_way.append(self._rendered(_taken(ready)))
            if len(looking) == AHEAD:
                ready += self._tracked(looking.popleft(), lives)
            if len(under_way) > 1:
                yield from self._finished(under_way.popleft())
        while looking:
            ready += self._tracked(looking.popleft(), lives)
        for life in lives:
            ready += life.flush()
        while ready or under_way:
            if ready:
                under_way.append(self._rendered(_taken(ready)))
            if len(under_way) > 1 or not ready:
                yield from self._finished(under_way.popleft())

    def _enter(self, number: int, frame: Frame, life: _Life, slot: int) -> _Looked:
        """Gives a frame to the device and has it looked at; returns before that is done."""
        device, eye = self._device, self._eye
        planes = self.memory.upload(frame, eye)
        width, height = self._look.size
        canvas = self._arena.get(f"canvas {slot}", (height, width, 3), U8)
        self._pixels.canvas(frame, planes, canvas, eye)
        outputs = tuple(device.download(b, eye) for b in self._look.enqueue(canvas, slot, eye))
        held = Held(number, frame, planes, eye.record())
        return _Looked(held, outputs, life.cuts.is_cut(frame))

    def _tracked(self, looked: _Looked, lives: Sequence[_Life]) -> list[tuple[Held, tuple[Track, ...]]]:
        """Waits for the detections of one frame; the frames that are settled by them."""
        looked.held.ready.synchronize()
        frame = looked.held.frame
        faces = self._look.faces(looked.outputs, frame.displayed_size)
        life = lives[looked.held.source]
        return life.settled(looked.held, Observation(frame.index, frame.time, faces, looked.cut))

    def _rendered(self, scenes: _Scenes) -> _Rendered:
        """Gives the faces of a window to the device; returns before they are there."""
        hand, faces = self._hand, self._placed(scenes)
        try:
            patches = self._patched(scenes, faces)
        except EngineError as problem:
            log.warning("the generator failed, %d faces are covered solid: %s", len(faces), problem)
            faces, patches = (), []
        touched = dict.fromkeys(place for place, _ in faces)
        planes = {
            place: tuple(self._device.download(plane, hand) for plane in scenes[place][0].planes)
            for place in touched
        }
        after = hand.record()
        for held, _ in scenes:
            self.memory.give_back(held.planes, after)
        return _Rendered(scenes, faces, tuple(patches), planes, after)

    def _placed(self, scenes: _Scenes) -> tuple[tuple[int, Placed], ...]:
        if self._render is None:
            return ()
        found = [
            (place, self._render.place(held.frame, track))
            for place, (held, tracks) in enumerate(scenes)
            for track in (() if held.frame.damaged else tracks)
        ]
        return tuple((place, face) for place, face in found if face is not None)

    def _patched(self, scenes: _Scenes, faces: Sequence[tuple[int, Placed]]) -> list[np.ndarray]:
        """New faces, pasted into their frames; what was made, one array each batch. All are cut out before
        the first is pasted: no new face is made from another one."""
        batches = [
            (faces[start:end], *self._generated(scenes, faces[start:end], size, number))
            for number, (start, end, size) in enumerate(split(len(faces)))
        ]
        for some, made, masks in batches:
            for row, (place, face) in enumerate(some):
                held = scenes[place][0]
                self._pixels.paste(held.frame, held.planes, made, masks, row, face.to_patch, self._hand)
        return [self._device.download(made, self._hand) for _, made, _ in batches]

    def _generated(
        self, scenes: _Scenes, faces: Sequence[tuple[int, Placed]], size: int, number: int
    ) -> tuple[Buffer, Buffer]:
        """New faces for up to `size` faces, and their masks."""
        assert self._render is not None
        hand, side = self._hand, self._render.side
        crops, made = (self._arena.get(f"{k} {number}", (size, side, side, 3), U8) for k in ("crops", "made"))
        masks = self._arena.get(f"masks {number}", (size, side, side), F32)
        weights = np.zeros((size, side, side), np.float32)
        for row, (place, face) in enumerate(faces):
            held = scenes[place][0]
            self._pixels.crop(held.frame, held.planes, face.to_patch, crops, row, hand)
            weights[row] = face.mask
        self._device.upload(weights, masks, hand)
        self._render.enqueue(crops, [(scenes[p][0].source, face.track) for p, face in faces], made, hand)
        return made, masks

    def _finished(self, rendered: _Rendered) -> Iterator[Done]:
        """The frames of a window once its work is done."""
        rendered.after.synchronize()
        rows = [patch for batch in rendered.patches for patch in batch]
        sizes = [size for _, _, size in split(len(rendered.faces))]
        if sum(sizes) != len(rows):
            raise EngineError(f"the device answered {len(rows)} patches for {sum(sizes)}")
        # only the last batch is padded, so face n is row n
        painters: dict[int, dict[int, Painter]] = {}
        for number, (place, face) in enumerate(rendered.faces):
            shown = Synthetic(face.track.id, face.track.box, rows[number], face.to_patch, face.mask)
            blended = Blended(shown, rendered.planes[place], likeness(rendered.scenes[place][0].frame, shown))
            painters.setdefault(place, {})[face.track.id] = painter(blended)
        for place, (held, tracks) in enumerate(rendered.scenes):
            yield Done(held.source, held.frame, tracks, painters.get(place, {}))

    def _rest(self) -> None:
        for stream in (self._eye, self._hand):
            stream.synchronize()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


class _Life:
    """What is kept of one source: its tracker, and the frames that wait for their tracks."""

    def __init__(self, config: Config, size: tuple[int, int]) -> None:
        self.cuts = CutFinder()
        self._passages = Passages(config.tracking, size, config.detect.thresh)
        self._waiting: deque[Held] = deque()

    def settled(self, held: Held, observation: Observation) -> list[tuple[Held, tuple[Track, ...]]]:
        self._waiting.append(held)
        return [self._next(tracks) for tracks in self._passages.push(observation)]

    def flush(self) -> list[tuple[Held, tuple[Track, ...]]]:
        return [self._next(tracks) for tracks in self._passages.flush()]

    def _next(self, tracks: tuple[Track, ...]) -> tuple[Held, tuple[Track, ...]]:
        """The oldest frame with its tracks as a plan holds them: to .01 px."""
        held = self._waiting.popleft()
        plan = Plan(held.frame.time_base)
        plan.append(held.frame.pts, tracks)
        return held, plan[0].faces


def _taken(ready: deque[tuple[Held, tuple[Track, ...]]]) -> _Scenes:
    return tuple(ready.popleft() for _ in range(min(WINDOW, len(ready))))


def _in_turn(sources: Sequence[Iterable[Frame]]) -> Iterator[tuple[int, Frame]]:
    """One frame of each source after the other, until all are at their end."""
    left = {number: iter(frames) for number, frames in enumerate(sources)}
    while left:
        for number, frames in list(left.items()):
            frame = next(frames, None)
            if frame is None:
                del left[number]
            else:
                yield number, frame

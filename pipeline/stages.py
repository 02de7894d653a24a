"""The pipeline in one process: decode, detect, track; then decode again, cover, encode. `run` DEFINES
what the pipeline means; whatever runs it elsewhere (a supervised child, actors) gives the same bytes.

Each pass overlaps decoding, the work on pixels and encoding in threads on bounded queues, so memory
does not grow with the length of the video.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from veilcast.config import Config
from veilcast.errors import ConfigError
from veilcast.pipeline.cover import NO_FACES, Painter, regions
from veilcast.pipeline.cuts import CutFinder, small_luma
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.detectors.candidates import Look
from veilcast.pipeline.encode import Encoder
from veilcast.pipeline.expected import Expected
from veilcast.pipeline.gate import SafeFrame, release
from veilcast.pipeline.ledger import Ledger
from veilcast.pipeline.plan import Plan
from veilcast.pipeline.preview import Sampler, nobody
from veilcast.pipeline.queues import Behind, ahead
from veilcast.pipeline.report import DIGITAL_SOURCE_TYPE
from veilcast.pipeline.shapes import Region, Whole
from veilcast.pipeline.streams import StreamFate
from veilcast.pipeline.supervise import OnFrame
from veilcast.pipeline.zones import Zone, at, parse
from veilcast.trackers.base import Observation
from veilcast.types import Box, Frame, StreamInfo, Track

DEPTH = 4  # frames waiting between two threads
GLANCES = 2  # threads of a pass in which hardly anything else is done
AHEAD = 8  # for who takes as many at a time


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a render pass did."""

    frames: int
    ledger: Ledger
    streams: tuple[StreamFate, ...]
    expected: Expected
    media: dict[str, Any]


Scenes = Iterable[tuple[Frame, tuple[Track, ...]]]
Paint = Callable[[Scenes], Iterable[tuple[Frame, Mapping[int, Painter]]]]


def unpainted(scenes: Scenes) -> Iterator[tuple[Frame, Mapping[int, Painter]]]:
    """Every frame without painters: each face is covered as the settings say."""
    for frame, _ in scenes:
        yield frame, NO_FACES


def overlapped(paint: Paint) -> Paint:
    """The same in a thread of its own: the faces of later frames are made while earlier ones are put in."""

    def there(scenes: Scenes) -> Iterator[tuple[Frame, Mapping[int, Painter]]]:
        with ahead(scenes, AHEAD) as waiting, ahead(paint(waiting), DEPTH) as ready:
            yield from ready

    return there


class Finder(Protocol):
    """What looks for faces; detect.py has it."""

    def find_all(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Look | None]]:
        """Each frame in order with what was seen in it; None = not looked at."""
        ...


Tap = Callable[[Decoder, Iterator[Frame]], Iterator[Frame]]


def untapped(decoder: Decoder, frames: Iterator[Frame]) -> Iterator[Frame]:
    """Frames that nobody else looks at."""
    return frames


Decode = Callable[[Path, Config], Decoder]


def decoded(source: Path, config: Config) -> Decoder:
    """By the processor."""
    return Decoder(source, config.limits, config.damaged)


def looked_at(source: Path, config: Config) -> Decoder:
    """The same for those who change nothing: no frame is copied."""
    return Decoder(source, config.limits, config.damaged, writable=False)


def glanced_at(source: Path, config: Config) -> Decoder:
    """The same, faster, between two passes that judge the file. Where damage is covered it has to be seen."""
    threads = GLANCES if config.damaged == "refuse" else 1
    return Decoder(source, config.limits, config.damaged, writable=False, threads=threads)


def run(source: Path, target: Path, config: Config, finder: Finder, on_frame: OnFrame) -> Rendered:
    """`source` with every face covered, as `target`."""
    plan = detect_file(source, config, finder, on_frame)
    return render_file(source, plan, target, config, on_frame)


def detect_file(
    source: Path,
    config: Config,
    finder: Finder,
    on_frame: OnFrame,
    tap: Tap = untapped,
    decode: Decode = looked_at,
) -> Plan:
    """What to cover in each frame: detections, followed forward and smoothed backward over the file. `tap`
    sees each frame as it comes out of the decoder."""
    with (
        decode(source, config) as decoder,
        ahead(tap(decoder, decoder.frames()), DEPTH) as frames,
        ahead(observed(finder.find_all(frames), CutFinder(), config), DEPTH) as looked,
    ):
        # imported here: meanwhile the networks open
        from veilcast.pipeline.passages import Passages

        passages = Passages(config.tracking, displayed_size(decoder.info), config.detect.thresh)
        plan, pts = Plan(decoder.info.time_base), deque[int]()
        for frame, observation in looked:
            pts.append(frame.pts)
            for tracks in passages.push(observation):
                plan.append(pts.popleft(), tracks)
            on_frame("finding", frame.index + 1, decoder.info.frames)
        for tracks in passages.flush():
            plan.append(pts.popleft(), tracks)
    return plan


def observed(
    looked: Iterator[tuple[Frame, Look | None]], cuts: CutFinder, config: Config
) -> Iterator[tuple[Frame, Observation]]:
    """Each frame with what a tracker is told about it. Who wants to know of lost faces is told of all: nobody
    says that they are gone."""
    trusted = config.cover.on_lost == "hold"
    for frame, look in looked:
        faces, shown = (None, None) if look is None else (look.faces, look.shown)
        small = small_luma(frame)
        cells = np.rint(255 * small).astype(np.uint8)
        cut, faint = cuts.is_cut(small), shown if trusted else None
        yield frame, Observation(frame.index, frame.time, faces, cut, faint, cells)


def render_file(
    source: Path,
    plan: Plan,
    target: Path,
    config: Config,
    on_frame: OnFrame,
    sampler: Sampler = nobody,
    painted: Paint = unpainted,
) -> Rendered:
    """`source` with the faces of `plan` covered, as `target`. `sampler` sees frames before and after;
    `painted` gives what is drawn over faces where they are not covered solid.

    Raises ConfigError where the plan is not one of this video.
    """
    ledger = Ledger()
    with (
        decoded(source, config) as decoder,
        Encoder(decoder, target, config.encode, marks(config), config.device == "cuda") as encoder,
    ):
        covers = Covers.of(config)
        with ahead(decoder.frames(), DEPTH) as frames, Behind(encoder.write, DEPTH) as out:
            scenes = ((frame, planned(plan, frame)) for frame in frames)
            for safe in covered(scenes, covers, plan.start, lambda index: ledger, sampler, painted):
                out.put(safe)
                on_frame("covering", safe.index + 1, len(plan))
        encoder.close()
        ledger.balance(len(plan))
        return Rendered(len(plan), ledger, tuple(encoder.streams), encoder.expected, decoder.facts)


def covered(
    scenes: Scenes,
    covers: Covers,
    start: Fraction,
    ledger_of: Callable[[int], Ledger],
    sampler: Sampler = nobody,
    painted: Paint = unpainted,
) -> Iterator[SafeFrame]:
    """Each frame with its faces covered. `start`: seconds at the file's first frame; `ledger_of`: where
    the frame of an index is entered."""
    faces: deque[tuple[Track, ...]] = deque()

    def noted() -> Iterator[tuple[Frame, tuple[Track, ...]]]:
        for frame, tracks in scenes:
            faces.append(tracks)
            yield frame, tracks

    for frame, painters in painted(noted()):
        wanted = covers.regions(frame, faces.popleft(), start)
        with sampler(frame):
            safe = release(frame, wanted, covers.config.cover, ledger_of(frame.index), faces=painters)
        yield safe


def marks(config: Config) -> Mapping[str, str]:
    """What the output says about itself: that faces in it were generated, in the words that machines look
    for (IPTC NewsCodes, digital source type)."""
    if config.cover.replacewith != "synthetic":
        return {}
    return {"comment": f"digitalSourceType: {DIGITAL_SOURCE_TYPE}"}


def planned(plan: Plan, frame: Frame) -> tuple[Track, ...]:
    """The faces of the plan in `frame`. Raises ConfigError unless the plan has that very frame."""
    if frame.index >= len(plan):
        raise ConfigError(
            f"the detections end at frame {len(plan) - 1} but the video goes on; make them from this video"
        )
    row = plan[frame.index]
    if row.pts != frame.pts:
        raise ConfigError(
            f"the detections have frame {frame.index} at pts {row.pts}, the video has it at {frame.pts}; "
            "make them from this video"
        )
    return row.faces


@dataclass(frozen=True, slots=True)
class Covers:
    """What a person asked to be covered, and when; seconds count from the first frame."""

    config: Config
    zones: tuple[Zone, ...]

    @classmethod
    def of(cls, config: Config) -> Covers:
        """Raises ConfigError for zones that make no sense."""
        return cls(config, parse(config.zones))

    def regions(self, frame: Frame, faces: tuple[Track, ...], start: Fraction) -> tuple[Region, ...]:
        """What to cover in `frame`, displayed pixels; nothing outside the range of time asked for."""
        time = frame.time - start
        config = self.config
        # through its text: the float .4 is a little more than 2/5
        if config.start_s is not None and time < Fraction(str(config.start_s)):
            return ()
        if config.end_s is not None and time >= Fraction(str(config.end_s)):
            return ()
        size = frame.displayed_size
        if any(fills(face.box, size) for face in faces):
            return (Whole("nobody looked, or a box as large as the picture"),)
        return regions(faces, at(self.zones, time), size, config.cover)


def fills(box: Box, size: tuple[int, int]) -> bool:
    """Whether a box leaves nothing of a picture of `size` outside it."""
    return box.x0 <= 0 and box.y0 <= 0 and box.x1 >= size[0] and box.y1 >= size[1]


def displayed_size(info: StreamInfo) -> tuple[int, int]:
    return info.orientation.displayed_size(info.width, info.height)

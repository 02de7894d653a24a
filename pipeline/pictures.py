"""Pictures one after the other, in a worker: find the faces, cover them, write, verify, rename."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from veilcast.config import Config
from veilcast.errors import ModelError, VeilcastError
from veilcast.pipeline import picture_files, zones
from veilcast.pipeline.cover import NO_FACES, Painter, regions
from veilcast.pipeline.detect import FaceFinder, open_detector
from veilcast.pipeline.files import reserve, translated
from veilcast.pipeline.gate import release
from veilcast.pipeline.ledger import Ledger
from veilcast.pipeline.picture_files import Picture
from veilcast.pipeline.picture_journal import Line, append, stamp
from veilcast.pipeline.pixels import to_rgb
from veilcast.pipeline.studio import Studio
from veilcast.pipeline.transparency import veil
from veilcast.trt_engines.models import Models
from veilcast.trt_engines.open import open_engine
from veilcast.types import Box, Face, Frame, Track, TrackState

# Networks are compiled for one size each, so pictures are fitted into few: width, height. The finder takes
# large ones as they are (schedule.detail).
LARGE = ((1632, 1088), (1088, 1632), (1760, 992), (992, 1760), (1344, 1344))
SMALL = ((640, 448), (448, 640), (544, 544))
SMALL_PX = 640 * 448

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h

Json = dict[str, Any]


def cover_all(job: Json, on_frame: Callable[[str, int, int | None], None]) -> Json:
    """A worker's job: `source` and `folder`, the `names` below both, `people` (who is in each; empty = not
    told), `candidates` (of people met before), `config`, `settings` (its digest), `set`, `models`, `journal`,
    `careful` (a picture is in place before the next is read; else while the next is looked at, for a disk
    takes its time). One picture that fails is entered and does not stop the rest; weights that fail stop all.
    Raises ModelError.
    """
    cv2.setNumThreads(1)  # there is one worker for each processor, and so one thread for each network
    _keep_memory()
    config = Config.model_validate(job["config"])
    source, folder, journal = (Path(job[key]) for key in ("source", "folder", "journal"))
    models = Models(Path(job["models"]) if job["models"] else None, fetch=not job["models"])

    def settle(number: int, line: Line, covered: Picture | VeilcastError) -> None:
        try:
            if isinstance(covered, VeilcastError):
                raise covered
            _put(covered, folder / line.name)
        except VeilcastError as error:
            (folder / line.name).unlink(missing_ok=True)  # of an earlier run with other settings
            line = replace(line, error=str(error))
        append(journal, line)
        on_frame("covering", number + 1, len(job["names"]))

    with ExitStack() as stack:
        finder = stack.enter_context(open_detector(config.detect, models, config.device))
        synthetic = config.cover.replacewith == "synthetic"
        network = partial(open_engine, device=config.device, threads=1)
        studio = stack.enter_context(Studio(config.synthetic, models, network)) if synthetic else None
        tools = _Tools(finder, studio, config, dict(job["candidates"]))
        hand = stack.enter_context(ThreadPoolExecutor(1, "write"))
        before: Future[None] | None = None
        for number, (name, person) in enumerate(zip(job["names"], job["people"], strict=True)):
            line = Line(name, stamp(source / name), job["settings"], source=job["set"])
            covered: Picture | VeilcastError
            try:
                covered, line = _covered(source / name, number, tools, person, line)
            except ModelError:
                raise
            except VeilcastError as error:
                covered = error
            if before is not None:
                before.result()
            before = hand.submit(settle, number, line, covered)
            if job["careful"]:
                before.result()
        if before is not None:
            before.result()
    return {"pictures": len(job["names"])}


def _keep_memory() -> None:
    """The memory of one picture is used for the next: to give it back and to ask for it anew was a fifteenth
    of the work. mallopt(3); where the C library has none, nothing happens."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 1 << 26)  # bytes: a larger piece comes and goes alone, as before
        mallopt(_TRIM_THRESHOLD, 1 << 28)  # of free memory at most


@dataclass(frozen=True, slots=True)
class _Tools:
    finder: FaceFinder
    studio: Studio | None  # what makes synthetic faces, where they are wanted
    config: Config
    candidates: dict[str, int]  # the first that each person had


def _covered(source: Path, number: int, tools: _Tools, person: str, line: Line) -> tuple[Picture, Line]:
    config = tools.config
    picture = picture_files.read(source, config.limits.max_pixels)
    frame = picture.frame(number)
    tracks = as_tracks(found(frame, tools.finder), config.detect.thresh)
    painters, candidate = NO_FACES, tools.candidates.get(person)
    if tools.studio is not None:
        painters, candidate = painted(tools.studio, frame, tracks, person, candidate)
    if person and candidate is not None:
        candidate = tools.candidates.setdefault(person, candidate)
    fixed = zones.at(zones.parse(config.zones), Fraction(0))
    wanted = regions(tracks, fixed, frame.displayed_size, config.cover)
    ledger = Ledger(first=number)
    release(frame, wanted, config.cover, ledger, faces=painters)
    (fate,) = ledger.counts
    told = replace(line, faces=len(tracks), fate=str(fate), candidate=candidate if person else None)
    return picture, told


def _put(covered: Picture, target: Path) -> None:
    """A covered picture to its place, looked at once more on the way. Raises OutputError,
    VerificationFailed."""
    with reserve(target, overwrite=True) as part:
        try:
            picture_files.write(covered, part.path)
        except OSError as error:
            raise translated(error, target) from None
        picture_files.verify(covered, part.path)
        part.commit(overwrite=True)


def painted(
    studio: Studio, frame: Frame, tracks: tuple[Track, ...], person: str, candidate: int | None = None
) -> tuple[Mapping[int, Painter], int | None]:
    """Synthetic faces of one picture. The largest face is that of `person`, who has one identity in all
    their pictures, `candidate` of their draw, unless that is too close to somebody here; everybody else, and
    all where no person is told, has one in this picture alone. Gives the candidate that was taken."""
    own = hashlib.sha256(b"".join(plane.tobytes() for plane in frame.planes)).digest()
    if not person:
        return studio.still(frame, tracks, own)
    shared = hashlib.sha256(b"person\0" + person.encode()).digest()
    painters, taken = studio.still(frame, tracks[:1], shared, candidate)
    return {**painters, **studio.still(frame, tracks[1:], own)[0]}, taken


def as_tracks(faces: Sequence[Face], thresh: float) -> tuple[Track, ...]:
    """Each sure enough detection of a still picture is a track of its own, the largest first."""
    sure = sorted((f for f in faces if f.score >= thresh), key=lambda f: -f.box.area)
    return tuple(
        Track(number, face.box, face.landmarks, TrackState.CONFIRMED, 0, face.score)
        for number, face in enumerate(sure)
    )


def found(frame: Frame, finder: FaceFinder) -> list[Face]:
    """The faces of a picture, looked for on one of a few canvases, in pixels of the picture."""
    canvas, scale = fitted(*frame.displayed_size)
    size = tuple(max(1, round(side * scale)) for side in frame.displayed_size)
    samples = np.zeros((canvas[1], canvas[0], 4 if frame.format.alpha else 3), np.uint8)
    samples[: size[1], : size[0], :3] = to_rgb(frame, (size[0], size[1]))
    if frame.format.alpha:
        samples[: size[1], : size[0], 3:] = to_rgb(veil(frame), (size[0], size[1]))[..., :1]
    planes = tuple(samples[..., c] for c in range(samples.shape[2]))
    kind = picture_files.LAYOUTS["RGBA" if frame.format.alpha else "RGB"]
    still = Frame(frame.index, frame.index, Fraction(1), planes, kind)
    across, down = (own / drawn for own, drawn in zip(frame.displayed_size, size, strict=True))
    return [_moved(face, across, down) for face in finder.still(still)]


def fitted(width: int, height: int) -> tuple[tuple[int, int], float]:
    """The canvas that shows the picture largest, the smallest of those, and the scale: small pictures at most
    at their own size, for the detector enlarges them itself."""
    canvases = SMALL if width * height <= SMALL_PX else LARGE
    scales = [min(w / width, h / height) for w, h in canvases]
    areas = [w * h for w, h in canvases]
    best = max(range(len(canvases)), key=lambda n: (round(scales[n], 2), -areas[n]))
    return canvases[best], scales[best]


def _moved(face: Face, across: float, down: float) -> Face:
    box = Box(face.box.x0 * across, face.box.y0 * down, face.box.x1 * across, face.box.y1 * down)
    points = face.landmarks
    if points is not None:
        points = points * np.array([across, down], np.float32)
    return Face(box, face.score, points, face.detector)

"""What is to be covered in each frame of one file, and its editable form, D.jsonl.

One line a frame, in order, none left out:

    {"frame": 0, "pts": 0, "time": 0.0, "faces": [{"track": 1, "box": [x0, y0, x1, y1],
     "score": 0.93, "source": "detector", "points": [[x, y] x 5], "action": "cover"}]}

The first line may also name the video that all are of, `"video": "SHA-256 in hex"`: times alone do not tell
two recordings of one camera apart, and the faces of one would be covered where those of the other are not.
Boxes and points are in pixels of the displayed (rotated) picture. A person may edit the file between
`veilcast detect` and `veilcast render`; whatever cannot be understood is an error with its line
number, never a face that is not covered.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from veilcast.errors import ConfigError, InputMissing
from veilcast.types import Box, Track, TrackState

Source = Literal["detector", "predicted", "smoothed", "manual"]

_STATES = tuple(TrackState)
_FACE_FLOATS = 15  # box 4, score 1 (NaN = none), points 10 (NaN = none)
_FACE_INTS = 4  # track id, state, misses, keep


@dataclass(frozen=True, slots=True)
class FramePlan:
    """One frame of a plan; `pts` in ticks of the plan's time base."""

    index: int
    pts: int
    faces: tuple[Track, ...]


class Plan:
    """The frames of one file with the faces to cover in each, in order. About 100 bytes a face, so
    that an archive of hours fits in memory; `plan[i]` makes the objects when they are asked for.

    video: SHA-256 of that file in hex, where it is known."""

    def __init__(self, time_base: Fraction) -> None:
        self.time_base = time_base
        self.video: str | None = None
        self._pts = array("q")
        self._ends = array("q")  # faces up to and including frame i
        self._floats = array("f")
        self._ints = array("q")

    @property
    def start(self) -> Fraction:
        """Seconds at the first frame."""
        return self._pts[0] * self.time_base if self._pts else Fraction(0)

    def __len__(self) -> int:
        return len(self._pts)

    def __iter__(self) -> Iterator[FramePlan]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> FramePlan:
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of a plan of {len(self)} frames")
        first = self._ends[index - 1] if index else 0
        faces = tuple(self._face(row) for row in range(first, self._ends[index]))
        return FramePlan(index, self._pts[index], faces)

    def append(self, pts: int, faces: Iterable[Track]) -> None:
        """The next frame's faces, to .01 px as in D.jsonl, so that both give the same cover."""
        count = self._ends[-1] if self._ends else 0
        for face in faces:
            points = [np.nan] * 10 if face.landmarks is None else face.landmarks.round(2).reshape(-1).tolist()
            score = np.nan if face.score is None else round(face.score, 4)
            self._floats.extend((*_corners(face.box), score, *points))
            self._ints.extend((face.id, _STATES.index(face.state), face.misses, int(face.keep)))
            count += 1
        self._pts.append(pts)
        self._ends.append(count)

    def _face(self, row: int) -> Track:
        x0, y0, x1, y1, score, *points = self._floats[row * _FACE_FLOATS : (row + 1) * _FACE_FLOATS]
        track, state, misses, keep = self._ints[row * _FACE_INTS : (row + 1) * _FACE_INTS]
        return Track(
            id=track,
            box=Box(x0, y0, x1, y1),
            landmarks=None if np.isnan(points[0]) else np.array(points, np.float32).reshape(5, 2),
            state=_STATES[state],
            misses=misses,
            score=None if np.isnan(score) else score,
            keep=bool(keep),
        )


def _corners(box: Box) -> tuple[float, float, float, float]:
    """The box to .01 px, never without area."""
    x0, y0 = round(box.x0, 2), round(box.y0, 2)
    return x0, y0, max(round(box.x1, 2), x0 + 0.01), max(round(box.y1, 2), y0 + 0.01)


@dataclass(frozen=True, slots=True)
class TrackSpan:
    """One track's life in a plan, for the report."""

    track: int
    first_frame: int
    last_frame: int
    frames: int
    kept_frames: int  # frames in which a person asked to keep the face


def spans(plan: Plan) -> list[TrackSpan]:
    """First and last frame of every track, by id."""
    seen: dict[int, TrackSpan] = {}
    for frame in plan:
        for face in frame.faces:
            old = seen.get(face.id, TrackSpan(face.id, frame.index, frame.index, 0, 0))
            seen[face.id] = TrackSpan(
                face.id, old.first_frame, frame.index, old.frames + 1, old.kept_frames + face.keep
            )
    return [seen[track] for track in sorted(seen)]


# --- D.jsonl -----------------------------------------------------------------------------------

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Point = tuple[_Number, _Number]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FaceLine(_Line):
    track: int = Field(ge=-(2**63), lt=2**63)
    box: tuple[_Number, _Number, _Number, _Number]
    score: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    source: Source = "manual"
    points: tuple[_Point, _Point, _Point, _Point, _Point] | None = None
    action: Literal["cover", "keep"] = "cover"

    @model_validator(mode="after")
    def _has_area(self) -> FaceLine:
        x0, y0, x1, y1 = self.box
        if not (x0 < x1 and y0 < y1):
            raise ValueError(f"box must be [x0, y0, x1, y1] with x0 < x1 and y0 < y1, got {list(self.box)}")
        return self


class FrameLine(_Line):
    frame: int = Field(ge=0)
    pts: int = Field(ge=-(2**63), lt=2**63)
    time: _Number
    video: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    faces: list[FaceLine]


def write_plan(plan: Plan, out: TextIO, frames: range | None = None) -> None:
    """`plan`, or some frames in a row of it, as D.jsonl."""
    for frame in plan if frames is None else map(plan.__getitem__, frames):
        line = {
            "frame": frame.index,
            "pts": frame.pts,
            "time": round(float(frame.pts * plan.time_base), 6),
            **({"video": plan.video} if plan.video and frame.index == 0 else {}),
            "faces": [_to_line(face) for face in frame.faces],
        }
        out.write(json.dumps(line) + "\n")


def read_plan(path: Path, time_base: Fraction, first: int = 0) -> Plan:
    """The plan in a D.jsonl that a person may have edited. `time_base` is that of the video; `first` the
    number of the frame that it begins with.

    Raises ConfigError with the line number for anything that is malformed, missing or out of order.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            return _parse(path, lines, time_base, first)
    except OSError as error:
        raise InputMissing(f"cannot read the detections {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; write it with `veilcast detect`") from None


def _parse(path: Path, lines: Iterable[str], time_base: Fraction, first: int) -> Plan:
    plan = Plan(time_base)
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = FrameLine.model_validate_json(text)
        except ValidationError as error:
            raise ConfigError(f"{path}, line {number}: {_first(error)}") from None
        if line.frame != first + len(plan):
            raise ConfigError(
                f"{path}, line {number}: expected frame {first + len(plan)}, found frame {line.frame}; "
                "every frame needs its line, in order"
            )
        if line.video and plan.video not in (None, line.video):
            raise ConfigError(f"{path}, line {number}: this frame is of another video than those before it")
        plan.video = line.video or plan.video
        plan.append(line.pts, [_from_line(face) for face in line.faces])
    return plan


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" if where else problem["msg"]


def _to_line(face: Track) -> dict[str, Any]:
    box, points = face.box, face.landmarks
    return {
        "track": face.id,
        "box": [round(corner, 2) for corner in (box.x0, box.y0, box.x1, box.y1)],
        "score": None if face.score is None else round(face.score, 4),
        "source": _source(face),
        "points": None if points is None else [[round(c, 2) for c in point] for point in points.tolist()],
        "action": "keep" if face.keep else "cover",
    }


def _source(face: Track) -> Source:
    if face.state is TrackState.MANUAL:
        return "manual"
    if face.score is not None:
        return "detector"
    return "smoothed" if face.state is TrackState.SMOOTHED else "predicted"


_STATE_OF: dict[Source, TrackState] = {
    "detector": TrackState.CONFIRMED,
    "predicted": TrackState.LOST,  # in a file, only what is lost is carried on without a later detection
    "smoothed": TrackState.SMOOTHED,
    "manual": TrackState.MANUAL,
}


def _from_line(line: FaceLine) -> Track:
    return Track(
        id=line.track,
        box=Box(*line.box),
        landmarks=None if line.points is None else np.array(line.points, np.float32),
        state=_STATE_OF[line.source],
        misses=0,
        score=line.score,
        keep=line.action == "keep",
    )

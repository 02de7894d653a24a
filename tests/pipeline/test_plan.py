"""D.jsonl: what is written can be read, edited and trusted; what is malformed never uncovers a face."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veilcast.errors import ConfigError, InputMissing
from veilcast.pipeline.plan import Plan, read_plan, spans, write_plan
from veilcast.types import Box, Track, TrackState

BASE = Fraction(1, 25)
POINTS = np.array([[30, 40], [60, 40], [45, 55], [33, 70], [58, 71.25]], np.float32)


def face(track: int = 1, *, state: TrackState = TrackState.CONFIRMED, score: float | None = 0.9) -> Track:
    return Track(track, Box(10.5, 20.25, 80, 100), POINTS, state, 0, score)


def plan_of(*frames: list[Track]) -> Plan:
    plan = Plan(BASE)
    for n, faces in enumerate(frames):
        plan.append(n * 2, faces)
    return plan


def lines_of(plan: Plan) -> list[dict[str, Any]]:
    out = io.StringIO()
    write_plan(plan, out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def written(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "D.jsonl"
    path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines))
    return path


def line(frame: int, *faces: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"frame": frame, "pts": frame * 2, "time": frame * 0.08, "faces": list(faces)} | more


def drawn(**changes: Any) -> dict[str, Any]:
    return {"track": 9, "box": [1, 2, 30, 40], "source": "manual", "action": "cover"} | changes


def test_a_line_holds_exactly_the_documented_keys() -> None:
    first, second = lines_of(plan_of([face()], []))
    assert first == {
        "frame": 0,
        "pts": 0,
        "time": 0.0,
        "faces": [
            {
                "track": 1,
                "box": [10.5, 20.25, 80.0, 100.0],
                "score": 0.9,
                "source": "detector",
                "points": POINTS.tolist(),
                "action": "cover",
            }
        ],
    }
    assert second == {"frame": 1, "pts": 2, "time": 0.08, "faces": []}


@pytest.mark.parametrize(
    ("state", "score", "source"),
    [
        (TrackState.TENTATIVE, 0.4, "detector"),
        (TrackState.COASTING, None, "predicted"),
        (TrackState.LOST, None, "predicted"),
        (TrackState.SMOOTHED, None, "smoothed"),
        (TrackState.MANUAL, None, "manual"),
    ],
)
def test_a_face_says_where_it_comes_from(state: TrackState, score: float | None, source: str) -> None:
    (only,) = lines_of(plan_of([face(state=state, score=score)]))
    assert only["faces"][0]["source"] == source


def test_what_was_written_reads_back_the_same(tmp_path: Path) -> None:
    plan = plan_of([face(1), face(2, state=TrackState.SMOOTHED, score=None)], [], [face(2)])
    again = read_plan(written(tmp_path, *lines_of(plan)), BASE)
    assert lines_of(again) == lines_of(plan)
    for mine, theirs in zip(plan, again, strict=True):
        assert [f.box for f in mine.faces] == [f.box for f in theirs.faces]


def test_the_first_line_names_the_video_and_a_file_by_hand_need_not(tmp_path: Path) -> None:
    plan = plan_of([face()], [])
    assert read_plan(written(tmp_path, *lines_of(plan)), BASE).video is None
    plan.video = "a" * 64
    assert [line.get("video") for line in lines_of(plan)] == [plan.video, None]
    assert read_plan(written(tmp_path, *lines_of(plan)), BASE).video == plan.video


def test_a_person_can_add_a_face_with_a_box_alone(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, line(0, {"track": 5, "box": [1, 2, 3, 4]})), BASE)
    (only,) = plan[0].faces
    assert (only.id, only.state, only.keep, only.landmarks) == (5, TrackState.MANUAL, False, None)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("{", "EOF"),
        ("[]", "object"),
        ("covered", "expected value"),
        ({"frame": 1, "pts": 2, "time": 0.08}, "faces"),
        (line(1, drawn(box=[1, 2, 3])), "box"),
        (line(1, drawn(box=[30, 2, 1, 40])), "x0 < x1"),
        (line(1, drawn(box=[1, 2, 1, 40])), "x0 < x1"),
        ('{"frame":1,"pts":2,"time":0.08,"faces":[{"track":1,"box":[1,2,NaN,4]}]}', "finite"),
        (line(1, drawn(box=["1", 2, 3, 4])), "number"),
        (line(1, drawn(action="Keep")), "action"),
        (line(1, drawn(actoin="cover")), "actoin"),
        (line(1, drawn(source="me")), "source"),
        (line(1, drawn(points=[[1, 2]])), "points"),
        (line(1, drawn(score=2)), "score"),
        (line(3), "expected frame 1"),
        (line(0), "expected frame 1"),
        (line(1, video="walk.mp4"), "video"),
        (line(1, video="b" * 64), "another video"),
    ],
)
def test_a_malformed_line_is_an_error_with_its_number(tmp_path: Path, bad: object, told: str) -> None:
    with pytest.raises(ConfigError, match=r"D\.jsonl, line 2: ") as caught:
        read_plan(written(tmp_path, line(0, video="a" * 64), bad, line(2)), BASE)
    assert told in str(caught.value)


def test_a_missing_or_binary_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="cannot read"):
        read_plan(tmp_path / "none.jsonl", BASE)
    (tmp_path / "D.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_plan(tmp_path / "D.jsonl", BASE)


def test_the_report_knows_the_life_of_each_track(tmp_path: Path) -> None:
    plan = read_plan(
        written(tmp_path, line(0, drawn()), line(1), line(2, drawn(action="keep"), drawn(track=3))), BASE
    )
    assert [(s.track, s.first_frame, s.last_frame, s.frames, s.kept_frames) for s in spans(plan)] == [
        (3, 2, 2, 1, 0),
        (9, 0, 2, 2, 1),
    ]


def test_a_long_plan_stays_compact() -> None:
    plan = Plan(BASE)
    for n in range(10_000):
        plan.append(n, [face(1), face(2)])
    used = sum(len(column) * column.itemsize for column in vars(plan).values() if hasattr(column, "itemsize"))
    assert used < 110 * 20_000  # bytes a face
    assert plan[9_999].faces[1].box == face().box


def test_no_face_loses_its_area_to_rounding() -> None:
    sliver = Track(1, Box(5.001, 5.001, 5.002, 5.002), None, TrackState.CONFIRMED, 0, 0.5)
    assert plan_of([sliver])[0].faces[0].box.area > 0

"""Whole runs: an output is whole or absent, its report is there first, and it does what was asked."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.clips import FRAMES, clip, detections

from veilcast.config import Config, Limits, overlay
from veilcast.errors import (
    ConfigError,
    DamagedMedia,
    NotVideo,
    NotWritable,
    OutputExists,
    PrivacyTripped,
    VeilcastError,
    VerificationFailed,
)
from veilcast.pipeline.api import Extras, anonymize_file, detect_file
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.supervise import Child, Json, Progress

BLACK = 16
CENTRE = (slice(40, 50), slice(60, 70))  # well inside the box of `detections`


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("in") / "in.mp4")


def plan(tmp_path: Path) -> Path:
    return detections(tmp_path / "D.jsonl")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def lumas(path: Path) -> list[np.ndarray]:
    with Decoder(path, Limits()) as decoder:
        return [frame.planes[0].copy() for frame in decoder.frames()]


def is_covered(luma: np.ndarray) -> bool:
    return bool(np.all(np.abs(luma[CENTRE].astype(int) - BLACK) < 10))


def test_a_run_covers_what_the_detections_say_and_tells_it(source: Path, tmp_path: Path) -> None:
    target, seen = tmp_path / "out.mp4", list[Progress]()
    extras = Extras(detections=plan(tmp_path), report=tmp_path / "R.json", preview=tmp_path / "P.png")
    told = anonymize_file(source, target, Config(), extras, seen.append)
    pictures = lumas(target)
    assert len(pictures) == FRAMES
    assert all(is_covered(luma) for luma in pictures)
    assert json.loads((tmp_path / "R.json").read_text()) == json.loads(json.dumps(told))
    assert told["input"]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert told["output"]["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    assert told["ledger"]["counts"] == {"redacted": FRAMES}
    assert told["tracks"] == [
        {"track": 1, "first_frame": 0, "last_frame": FRAMES - 1, "frames": FRAMES, "kept_frames": 0}
    ]
    fates = {stream["kind"]: stream["kept"] for stream in told["streams"]}
    assert (fates["video"], fates["audio"]) == (True, True)
    assert (seen[-1].stage, seen[-1].done) == ("checking", FRAMES) or seen[-1].stage == "covering"
    sheet = cv2.imread(str(tmp_path / "P.png"))
    assert sheet is not None
    assert sheet.shape[1] == 2 * 480
    assert names(tmp_path) == ["D.jsonl", "P.png", "R.json", "out.mp4"]


def test_standard_input_gives_the_same_video(source: Path, tmp_path: Path) -> None:
    a, b = tmp_path / "a.mp4", tmp_path / "b.mp4"
    anonymize_file(source, a, Config(), Extras(detections=plan(tmp_path)))
    told = anonymize_file(
        "-", b, Config(), Extras(detections=plan(tmp_path), stdin=io.BytesIO(source.read_bytes()))
    )
    assert a.read_bytes() == b.read_bytes()
    assert told["input"]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()


def test_outside_the_range_of_time_nothing_is_covered(source: Path, tmp_path: Path) -> None:
    config = overlay(Config(), {"start_s": 0.4, "end_s": 0.8})
    anonymize_file(source, tmp_path / "out.mp4", config, Extras(detections=plan(tmp_path)))
    covered = [is_covered(luma) for luma in lumas(tmp_path / "out.mp4")]
    assert covered == [10 <= n < 20 for n in range(FRAMES)]


def test_a_zone_is_covered_without_any_face(source: Path, tmp_path: Path) -> None:
    nobody = tmp_path / "D.jsonl"
    nobody.write_text(
        "".join(
            json.dumps({"frame": n, "pts": 512 * n, "time": 0, "faces": []}) + "\n" for n in range(FRAMES)
        )
    )
    config = overlay(Config(), {"zones": "50,30 90,30 90,60 50,60"})
    anonymize_file(source, tmp_path / "out.mp4", config, Extras(detections=nobody))
    assert all(is_covered(luma) for luma in lumas(tmp_path / "out.mp4"))


def kept_plan(tmp_path: Path) -> Path:
    path = plan(tmp_path)
    path.write_text(path.read_text().replace('"track": 1', '"action": "keep", "track": 1'))
    return path


def test_a_face_is_kept_only_when_that_is_allowed_and_the_report_names_it(
    source: Path, tmp_path: Path
) -> None:
    told = anonymize_file(source, tmp_path / "a.mp4", Config(), Extras(detections=kept_plan(tmp_path)))
    assert all(is_covered(luma) for luma in lumas(tmp_path / "a.mp4"))
    assert told["kept_tracks"] == []
    allowed = overlay(Config(), {"cover.allow_keep": True})
    told = anonymize_file(source, tmp_path / "b.mp4", allowed, Extras(detections=kept_plan(tmp_path)))
    assert not any(is_covered(luma) for luma in lumas(tmp_path / "b.mp4"))
    assert told["kept_tracks"] == [1]


def test_a_lost_face_stops_the_run_where_that_is_the_policy(source: Path, tmp_path: Path) -> None:
    path = plan(tmp_path)
    path.write_text(path.read_text().replace('"track": 1', '"source": "predicted", "track": 1'))
    config = overlay(Config(), {"cover.on_lost": "stop"})
    with pytest.raises(PrivacyTripped, match="track 1"):
        anonymize_file(source, tmp_path / "out.mp4", config, Extras(detections=path))
    assert names(tmp_path) == ["D.jsonl"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (lambda lines: lines[:-1], "does not balance|end at frame 28"),
        (lambda lines: [*lines, lines[-1].replace('"frame": 29', '"frame": 30')], "balance|frames"),
        (lambda lines: [line.replace('"pts": 512,', '"pts": 513,') for line in lines], "frame 1 at pts 513"),
    ],
)
def test_detections_of_another_video_are_refused(source: Path, tmp_path: Path, text, told: str) -> None:  # type: ignore[no-untyped-def]
    path = plan(tmp_path)
    path.write_text("\n".join(text(path.read_text().splitlines())) + "\n")
    with pytest.raises(VeilcastError, match=told):
        anonymize_file(source, tmp_path / "out.mp4", Config(), Extras(detections=path))
    assert names(tmp_path) == ["D.jsonl"]


def test_a_damaged_input_is_quarantined_with_a_report(source: Path, tmp_path: Path) -> None:
    broken = bytearray(source.read_bytes())
    middle = broken.find(b"mdat") + 2000
    broken[middle : middle + 600] = bytes(600)
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(broken)
    with pytest.raises(DamagedMedia):
        anonymize_file(bad, tmp_path / "out.mp4", Config(), Extras(detections=plan(tmp_path)))
    assert names(tmp_path) == ["D.jsonl", "bad.mp4", "out.mp4.quarantine.json"]
    told = json.loads((tmp_path / "out.mp4.quarantine.json").read_text())
    assert (told["outcome"], told["error"]["exit_code"]) == ("refused", 13)


def test_a_report_tells_no_paths(source: Path, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    where = overlay(Config(), {"synthetic.model": str(tmp_path / "face")})
    extras = Extras(detections=plan(tmp_path), report=told)
    anonymize_file(source, tmp_path / "out.mp4", where, extras)
    assert json.loads(told.read_text())["settings"]["synthetic"]["model"] == "face"
    with pytest.raises(VeilcastError):
        anonymize_file(tmp_path / "no.mp4", tmp_path / "out2.mp4", where, extras)
    assert "cannot read no.mp4" in told.read_text()
    assert str(tmp_path) not in told.read_text()


def test_the_input_is_never_its_own_output(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "same.mp4"
    path.write_bytes(source.read_bytes())
    with pytest.raises(ConfigError, match="input itself"):
        anonymize_file(path, path, Config(), Extras(detections=plan(tmp_path), overwrite=True))
    assert path.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("written", ["part", "report", "preview", "detections", "both"])
def test_nothing_that_is_read_is_ever_written(source: Path, tmp_path: Path, written: str) -> None:
    path, target, found = tmp_path / "in.mp4.part", tmp_path / "out.mp4", plan(tmp_path)
    path.write_bytes(source.read_bytes())
    outputs = {
        "part": (tmp_path / "in.mp4", Extras(detections=found)),
        "report": (target, Extras(detections=found, report=path)),
        "preview": (target, Extras(detections=found, preview=path)),
        "detections": (target, Extras(detections=found, report=found)),
        "both": (target, Extras(detections=found, report=target)),
    }
    output, extras = outputs[written]
    before = found.read_bytes()
    with pytest.raises(ConfigError, match=r"is (the input itself|another output)"):
        anonymize_file(path, output, Config(), replace(extras, overwrite=True))
    assert names(tmp_path) == ["D.jsonl", "in.mp4.part"]
    assert path.read_bytes() == source.read_bytes()
    assert found.read_bytes() == before


@pytest.mark.parametrize("besides", ["report", "preview"])
def test_a_folder_that_is_missing_is_told_before_the_work(tmp_path: Path, besides: str) -> None:
    target = tmp_path / "out.mp4"
    missing = tmp_path / "no" / "file"
    extras = Extras(report=missing) if besides == "report" else Extras(preview=missing)
    with pytest.raises(NotWritable, match="does not exist"):
        anonymize_file(tmp_path / "no video", target, Config(), extras)
    assert names(tmp_path) == []


def test_detections_never_replace_their_video(tmp_path: Path) -> None:
    path = tmp_path / "in.mp4.part"
    path.write_bytes(b"a video")
    for target in (path, tmp_path / "in.mp4"):  # the second is written under the first one's name
        with suppress(VeilcastError):
            detect_file(path, target, Config(), Extras(overwrite=True))
    assert names(tmp_path) == ["in.mp4.part"]
    assert path.read_bytes() == b"a video"


def test_an_output_that_exists_stays(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"precious")
    with pytest.raises(OutputExists):
        anonymize_file(source, target, Config(), Extras(detections=plan(tmp_path)))
    assert target.read_bytes() == b"precious"


def test_an_earlier_output_survives_a_run_that_fails(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"not a video")
    target = tmp_path / "out.mp4"
    target.write_bytes(b"precious")
    with pytest.raises(NotVideo):
        anonymize_file(tmp_path / "in", target, Config(), Extras(detections=plan(tmp_path), overwrite=True))
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("lost", [1, 2000])
def test_an_output_that_does_not_decode_to_what_was_meant_is_never_published(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    perform = Child.perform

    def faulty_disk(worker: Child, job: Json, *rest: Any) -> Json:
        told = perform(worker, job, *rest)
        if job["task"] == "render":
            part = Path(job["target"])
            part.write_bytes(part.read_bytes()[:-lost])
        return told

    monkeypatch.setattr(Child, "perform", faulty_disk)
    extras = Extras(detections=plan(tmp_path), report=tmp_path / "R.json")
    with pytest.raises(VerificationFailed):
        anonymize_file(source, tmp_path / "out.mp4", Config(), extras)
    assert names(tmp_path) == ["D.jsonl"]


RUN = """
import sys
from pathlib import Path
from veilcast.pipeline.api import Extras, anonymize_file, detect_file
from veilcast.config import Config
anonymize_file(sys.argv[1], sys.argv[2], Config(), Extras(detections=Path(sys.argv[3]), overwrite=True))
"""


def children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("victim", ["parent", "worker"])
def test_a_kill_at_any_moment_leaves_no_final_name(
    source: Path, tmp_path: Path, victim: str, seed: int
) -> None:
    target = tmp_path / "out.mp4"
    chance = random.Random(f"{victim}{seed}")
    moment_s = chance.uniform(0.2, 4)
    arguments = [str(source), str(target), str(plan(tmp_path))]
    parent = subprocess.Popen([sys.executable, "-c", RUN, *arguments], stderr=subprocess.DEVNULL)
    time.sleep(moment_s)
    workers = children(parent.pid)
    if victim == "worker" and workers:
        os.kill(chance.choice(workers), signal.SIGKILL)
    elif victim == "parent":
        parent.kill()
    code = parent.wait()
    end = time.monotonic() + 5
    while any(Path(f"/proc/{w}/exe").exists() for w in workers) and time.monotonic() < end:
        time.sleep(0.05)
    if target.exists():
        assert all(is_covered(luma) for luma in lumas(target)), "only a whole output may have the name"
        assert len(lumas(target)) == FRAMES
    else:
        assert code != 0
    if code == 0:
        assert target.exists()
    # and the next run is not hindered by what was left
    anonymize_file(source, target, Config(), Extras(detections=plan(tmp_path), overwrite=True))
    assert names(tmp_path) == ["D.jsonl", "out.mp4"]

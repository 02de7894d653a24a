"""`veilcast run` as a user has it: a face in, a covered face out, everything else as it came."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tests.clips import clip, detections

from veilcast.config import Config, Limits, overlay
from veilcast.errors import ConfigError, DiskFull
from veilcast.pipeline.api import Extras, anonymize_file, detect_file
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.drawn import drawn
from veilcast.pipeline.supervise import Progress, resident_bytes
from veilcast.types import Rgb

SIZE = (320, 240)  # width, height
FRAMES = 50
STEP_PX = 2  # the face moves right by this much a frame
HEAD = (107, 103, 149, 157)  # of `drawn`, in its first position


def walking(n: int) -> Rgb:
    """A person walks to the right in front of a striped wall."""
    x = np.arange(SIZE[0])
    picture = np.tile((100 + 40 * np.sin(x / 9)).astype(np.uint8)[None, :, None], (SIZE[1], 1, 3))
    head = drawn()[60:200, 85:172]
    left = 85 + STEP_PX * n
    picture[60:200, left : left + head.shape[1]] = head
    return picture


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("walk") / "walk.mp4"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"crf": "12"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        for n in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(walking(n), "rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


def lumas(path: Path) -> list[np.ndarray]:
    with Decoder(path, Limits()) as decoder:
        return [frame.planes[0].copy() for frame in decoder.frames()]


def test_a_walking_face_is_covered_in_every_frame_and_the_wall_stays(walk: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.mkv"
    told = anonymize_file(walk, target, overlay(Config(), {"encode.codec": "ffv1"}))
    before, after = lumas(walk), lumas(target)
    assert len(after) == len(before) == FRAMES
    for n, (was, now) in enumerate(zip(before, after, strict=True)):
        x0, y0, x1, y1 = HEAD[0] + STEP_PX * n, HEAD[1], HEAD[2] + STEP_PX * n, HEAD[3]
        inside = now[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4]
        assert np.all(inside <= 17), f"the face shows in frame {n}"
        assert np.array_equal(was[:, :80], now[:, :80]), f"the wall changed in frame {n}"
        assert np.mean(was != now) < 0.15, f"too much is covered in frame {n}"
    assert told["ledger"]["counts"] == {"redacted": FRAMES}
    assert [track["frames"] for track in told["tracks"]] == [FRAMES]


@pytest.mark.parametrize("method", ["solid", "blur"])
def test_two_steps_give_the_bytes_of_one(walk: Path, tmp_path: Path, method: str) -> None:
    config = overlay(Config(), {"cover.replacewith": method})
    anonymize_file(walk, tmp_path / "one.mp4", config)
    found = detect_file(walk, tmp_path / "D.jsonl", config)
    anonymize_file(walk, tmp_path / "two.mp4", config, Extras(detections=tmp_path / "D.jsonl"))
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    assert (found["frames"], len(found["tracks"])) == (FRAMES, 1)


def test_detections_of_another_recording_with_the_same_times_are_refused(walk: Path, tmp_path: Path) -> None:
    other, found = clip(tmp_path / "other.mp4", frames=FRAMES), tmp_path / "D.jsonl"
    detect_file(walk, found)
    with pytest.raises(ConfigError, match="was made from another video"):
        anonymize_file(other, tmp_path / "out.mp4", Config(), Extras(detections=found))
    assert not (tmp_path / "out.mp4").exists()
    first, *rest = found.read_text().splitlines()
    unnamed = {key: value for key, value in json.loads(first).items() if key != "video"}
    found.write_text("\n".join([json.dumps(unnamed), *rest]))
    anonymize_file(other, tmp_path / "out.mp4", Config(), Extras(detections=found))


def test_a_real_clip_leaves_with_as_many_frames_and_every_face_followed(shared: Path, tmp_path: Path) -> None:
    source = shared / "videos" / "grid_bbaf2n_360x288.mpg"
    told = anonymize_file(source, tmp_path / "out.mpg", Config(), Extras(report=tmp_path / "R.json"))
    assert told["ledger"]["counts"] == {"redacted": 75}
    assert len(told["tracks"]) == 1
    assert json.loads((tmp_path / "R.json").read_text())["output"]["frames"] == 75
    sound = [stream for stream in told["streams"] if stream["kind"] == "audio"]
    assert all(stream["kept"] for stream in sound)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 32 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, check=False, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip("mounting a small file system needs privileges")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    source = clip(tmp_path / "in.mp4", frames=60, size=(320, 240))
    config = overlay(Config(), {"encode.crf": 1})
    with pytest.raises(DiskFull, match="no space left"):
        anonymize_file(
            source,
            small_disk / "out.mp4",
            config,
            Extras(detections=detections(tmp_path / "D.jsonl", frames=60)),
        )
    assert list(small_disk.iterdir()) == []


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


@pytest.mark.slow
def test_memory_does_not_grow_over_ten_thousand_frames(tmp_path: Path) -> None:
    """The worker is watched from outside: its second half needs no more than its first."""
    source = clip(tmp_path / "in.mp4", frames=10_000, size=(320, 240))
    plan = detections(tmp_path / "D.jsonl", frames=10_000)
    seen: list[tuple[int, int]] = []

    def watch(progress: Progress) -> None:
        if progress.stage == "covering":
            seen.append((progress.done, max(map(resident_bytes, children(os.getpid())), default=0)))

    start_s = time.monotonic()
    anonymize_file(source, tmp_path / "out.mp4", Config(), Extras(detections=plan), watch)
    early = max(used for done, used in seen if 1000 < done < 4000)
    late = max(used for done, used in seen if done > 7000)
    assert early > 0
    assert late < early * 1.1 + (8 << 20), f"{early >> 20} MiB became {late >> 20} MiB"
    assert time.monotonic() - start_s < 900

"""The jobs on one video: what is opened beside the search, and who hears of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from tests.media import Clip, make

from veilcast.config import Config, overlay
from veilcast.errors import ConfigError, ModelMissing
from veilcast.pipeline import jobs
from veilcast.pipeline.detectors.candidates import Look
from veilcast.pipeline.tasks import Tools
from veilcast.types import Frame

FRAMES = 100


class SlowTools:
    """Their finder takes its time and sees nobody."""

    def __init__(self) -> None:
        self.looked = 0

    def finder(self, *_: object) -> SlowTools:
        return self

    def find_all(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Look]]:
        for frame in frames:
            time.sleep(0.02)
            self.looked += 1
            yield frame, Look(())


def job_of(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": str(make(folder / "in.mp4", Clip(frames=FRAMES))),
        "target": str(folder / "out.mp4"),
        "config": overlay(Config(), settings).model_dump(mode="json"),
        "preview": None,
        "models": None,
    }


def test_a_generator_that_is_missing_is_told_while_faces_are_looked_for(tmp_path: Path) -> None:
    job = job_of(tmp_path, {"cover.replacewith": "synthetic", "synthetic.model": str(tmp_path / "none")})
    tools = SlowTools()
    with pytest.raises(ModelMissing, match="none"):
        jobs.run(job, lambda *_: None, cast(Tools, tools))
    assert tools.looked < FRAMES / 2
    assert not (tmp_path / "out.mp4").exists()


def test_what_is_missing_is_told_first_where_the_file_is_no_video_either(tmp_path: Path) -> None:
    job = job_of(tmp_path, {"cover.replacewith": "synthetic", "synthetic.model": str(tmp_path / "none")})
    Path(job["source"]).write_bytes(b"not a video")
    for _ in range(3):
        with pytest.raises(ModelMissing):
            jobs.run(job, lambda *_: None, cast(Tools, SlowTools()))


def test_a_cover_that_needs_no_generator_opens_none(tmp_path: Path) -> None:
    job = job_of(tmp_path, {"cover.replacewith": "solid", "synthetic.model": str(tmp_path / "none")})
    told = jobs.run(job, lambda *_: None, cast(Tools, SlowTools()))
    assert told["frames"] == FRAMES


def test_detections_of_another_recording_are_refused(tmp_path: Path) -> None:
    job = job_of(tmp_path, {"cover.replacewith": "solid"}) | {"detections": str(tmp_path / "D.jsonl")}
    jobs.detect(job | {"target": job["detections"]}, lambda *_: None, cast(Tools, SlowTools()))
    assert jobs.render(job, lambda *_: None, cast(Tools, SlowTools()))["frames"] == FRAMES
    another = make(tmp_path / "other.mp4", Clip(frames=FRAMES, options={"crf": "40"}))  # same times
    with pytest.raises(ConfigError, match="made from another video"):
        jobs.render(job | {"source": str(another)}, lambda *_: None, cast(Tools, SlowTools()))


def test_a_worker_that_reads_a_large_file_for_its_hash_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, heard = job_of(tmp_path, {}), list[str]()
    monkeypatch.setattr(jobs, "PIECE_BYTES", 1000)
    found = jobs.detect(job, lambda stage, *_: heard.append(stage), cast(Tools, SlowTools()))
    size = Path(job["source"]).stat().st_size
    assert heard.count("opening") >= size // 1000
    assert found["frames"] == FRAMES

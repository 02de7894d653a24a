"""Which cameras share what, and what is ended with the last of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.live_session import CALM

from veilcast.config import overlay
from veilcast.errors import InputMissing, OutputExists
from veilcast.pipeline.addresses import parse_input, parse_output
from veilcast.pipeline.cameras import Cameras
from veilcast.pipeline.generators import SharedGenerator
from veilcast.pipeline.live_job import Camera
from veilcast.pipeline.studio import built_in


class Kept:
    """A camera that is on air, without a process."""

    def __init__(self, camera: Camera, on_event: object) -> None:
        self.camera = camera

    def start(self) -> None: ...

    def stop(self) -> None: ...


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[Path]]:
    """The models of all generators that run, without their processes."""
    models: set[Path] = set()
    monkeypatch.setattr("veilcast.pipeline.cameras.Keeper", Kept)
    monkeypatch.setattr(SharedGenerator, "start", lambda self: models.add(self.model))
    monkeypatch.setattr(SharedGenerator, "stop", lambda self: models.remove(self.model))
    yield models
    assert models == set()


def camera(name: str, folder: Path, **settings: Any) -> Camera:
    (folder / name).mkdir(exist_ok=True)
    asked = overlay(CALM, {"cover.replacewith": "synthetic", **settings})
    return Camera(name, parse_input("rtsp://127.0.0.1/cam"), (parse_output(f"{folder / name}/"),), asked)


def sockets(cameras: Cameras) -> list[Path | None]:
    return [keeper.camera.generator for keeper in cameras.keepers]


def test_cameras_with_the_same_generator_share_it_whether_or_not_it_is_named(
    running: set[Path], tmp_path: Path
) -> None:
    named = camera("c", tmp_path, **{"synthetic.model": built_in()})
    with Cameras() as cameras:
        cameras.apply([camera("a", tmp_path), camera("b", tmp_path), named])
        assert running == {built_in()}
        assert len(set(sockets(cameras))) == 1
        assert None not in sockets(cameras)


def test_a_camera_that_draws_no_faces_starts_no_generator(running: set[Path], tmp_path: Path) -> None:
    with Cameras() as cameras:
        cameras.apply([camera("a", tmp_path, **{"cover.replacewith": "mosaic"})])
        assert sockets(cameras) == [None]
        assert running == set()


def test_a_generator_is_ended_with_the_last_camera_that_draws_with_it(
    running: set[Path], tmp_path: Path
) -> None:
    site, a = tmp_path / "site", camera("a", tmp_path)
    with Cameras() as cameras:
        cameras.apply([a, camera("b", tmp_path)])
        (first, _) = sockets(cameras)
        cameras.apply([a, camera("b", tmp_path, **{"synthetic.model": site})])
        assert running == {built_in(), site}
        assert sockets(cameras)[0] == first  # who did not change is not touched
        cameras.apply([camera("b", tmp_path, **{"synthetic.model": site})])
        assert running == {site}
        cameras.apply([camera("b", tmp_path, **{"synthetic.model": site}), a])
        assert running == {site, built_in()}
        assert len(set(sockets(cameras))) == 2


def recording(name: str, target: Path, crf: int = 23) -> Camera:
    asked = overlay(CALM, {"live.crf": crf})
    return Camera(name, parse_input("rtsp://127.0.0.1/cam"), (parse_output(str(target)),), asked)


def test_a_recording_that_is_new_replaces_nothing_and_one_that_goes_on_may(
    running: set[Path], tmp_path: Path
) -> None:
    """Settings are changed while a recording runs: it goes on under another number, and is not refused for
    what it wrote itself."""
    with Cameras() as cameras:
        cameras.apply([recording("a", tmp_path / "a.mkv")])
        (tmp_path / "a.mkv").touch()
        (tmp_path / "b.mkv").touch()
        cameras.apply([recording("a", tmp_path / "a.mkv", crf=30)])
        with pytest.raises(OutputExists, match=r"b\.mkv exists"):
            cameras.apply([recording("b", tmp_path / "b.mkv")])
        assert [keeper.camera.name for keeper in cameras.keepers] == ["a"]


def playing(name: str, source: Path, folder: Path) -> Camera:
    (folder / name).mkdir(exist_ok=True)
    return Camera(name, parse_input(str(source)), (parse_output(f"{folder / name}/"),), CALM)


def test_a_file_must_be_there_when_it_is_to_be_played_and_no_longer(
    running: set[Path], tmp_path: Path
) -> None:
    """A file that was played may be gone when another camera's settings change."""
    (tmp_path / "a.mkv").touch()
    with Cameras() as cameras:
        cameras.apply([played := playing("a", tmp_path / "a.mkv", tmp_path)])
        (tmp_path / "a.mkv").unlink()
        with pytest.raises(InputMissing, match=r"no file .*b\.mkv"):
            cameras.apply([played, playing("b", tmp_path / "b.mkv", tmp_path)])
        cameras.apply([played])
        assert [keeper.camera.name for keeper in cameras.keepers] == ["a"]

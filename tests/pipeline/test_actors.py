"""Ray carries the work and changes nothing: the same bytes, also when a node is lost; nothing is open."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.pipeline import face_world
from tests.pipeline.archive_world import WORKER, archive, contents, run
from tests.pipeline.tiny_model import write_model

from veilcast.config import Limits
from veilcast.pipeline import own_folder
from veilcast.pipeline.batch import Event
from veilcast.pipeline.generator_model import GeneratorModel
from veilcast.pipeline.journal import State
from veilcast.trt_engines.open import open_engine

actors = pytest.importorskip("veilcast.pipeline.actors")

FACES = (sys.executable, "-m", "tests.pipeline.face_world")
PROGRAM = (sys.executable, "-c", WORKER)


def shown_by_children() -> tuple[set[str], list[str]]:
    """What others see of this process's children: addresses that they listen at, words of their commands."""
    addresses: set[str] = set()
    arguments: list[str] = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended since; Ray starts short-lived ones
            arguments += process.cmdline()
            connections = process.net_connections("tcp")
            addresses |= {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    return addresses, arguments


def test_ray_gives_the_same_bytes_and_is_closed_to_others(tmp_path: Path) -> None:
    source = archive(tmp_path / "in", 3)
    run(source, tmp_path / "alone", tmp_path / "job0")
    seen: dict[str, Any] = {}

    def looked(event: Event) -> None:
        if not seen and event.progress is not None:
            seen["open"], seen["argv"] = shown_by_children()
            folder = Path(os.environ["RAY_AUTH_TOKEN_PATH"]).parent
            seen["folder"] = folder
            seen["mode"] = folder.stat().st_mode & 0o777
            seen["token"] = (folder / "token").read_text()
        if event.progress is not None and event.progress.stage == "finding" and "gave up" not in seen:
            seen["gave up"] = event.row.name
            raise OSError(errno.EIO, "not noted")  # the actor is at the job still: another takes its place

    crew = partial(actors.RayCrew, program=PROGRAM)
    outcome = run(source, tmp_path / "ray", tmp_path / "job", looked, crew=crew)
    assert outcome.counts[State.DONE] == 3
    assert contents(tmp_path / "ray") == contents(tmp_path / "alone")
    assert seen["gave up"]
    assert seen["argv"]
    assert seen["open"] <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert seen["mode"] == 0o700
    assert not seen["folder"].exists()
    assert not any(seen["token"] in part for part in seen["argv"])


def test_folders_of_processes_that_were_killed_go_and_those_at_work_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / f"{own_folder.PREFIX}left"
    left.mkdir()
    with own_folder.own_folder() as mine, own_folder.own_folder() as other:
        assert not left.exists()
        assert mine.is_dir()
        assert other.is_dir()
        assert mine.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []


def test_a_pool_of_generators_renders_for_all_actors_and_outlives_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = write_model(tmp_path / "model")
    with GeneratorModel(folder, open_engine) as model:
        expected = face_world.rendered(model.generator)
    with actors.RayCrew(2, program=FACES, generators=actors.Generators(folder, count=1)) as crew:
        answers = [crew.submit({"task": "faces"}, Limits()) for _ in range(3)]
        assert [answer.result(120)["digest"] for answer in answers] == [expected] * 3
        face_world.kill(crew._pool[0])
        assert crew.submit({"task": "faces"}, Limits()).result(120)["digest"] == expected


@pytest.mark.slow
def test_a_node_that_is_lost_in_the_middle_costs_no_frame(tmp_path: Path) -> None:
    source = archive(tmp_path / "in", 6, frames=60)
    run(source, tmp_path / "alone", tmp_path / "job0")
    token = tmp_path / "token"
    token.write_text("0123456789abcdef" * 4)
    folders = [str(source), str(tmp_path / "out"), str(tmp_path / "job")]
    with tempfile.TemporaryDirectory(prefix="vc-") as short:
        ray = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_TMPDIR": short}
        ended = subprocess.run(
            [sys.executable, "-m", "tests.pipeline.cluster_world", *folders],
            cwd=Path(__file__).resolve().parents[2],
            env=os.environ | ray,
            capture_output=True,
            text=True,
            timeout=150,
            check=True,
        )
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told == {"counts": {"done": 6}, "frames": sum(60 + n for n in range(6)), "in_the_middle": True}
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")

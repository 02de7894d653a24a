"""A camera's keeper goes on, whatever happens in this process, or is heard of."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.live_session import CALM, wait_until
from tests.pipeline.peers import peer, unauthorised

from veilcast.config import overlay
from veilcast.errors import WorkerDied
from veilcast.pipeline.addresses import Secret, parse_input, parse_output
from veilcast.pipeline.generators import SharedGenerator
from veilcast.pipeline.keeper import Keeper
from veilcast.pipeline.live_job import Camera
from veilcast.pipeline.processes import Started, start


def camera(folder: Path, restarts: int = 5) -> Camera:
    asked = overlay(CALM, {"live.restarts": restarts})
    return Camera("door", parse_input("rtsp://127.0.0.1:9/cam"), (parse_output(f"{folder}/"),), asked)


class Failing:
    """A machine on which `start` fails so often, then lets `then` go on."""

    def __init__(self, error: Exception, times: int = 1_000_000) -> None:
        self.error, self.left, self.tries, self._real = error, times, 0, start

    def __call__(self, *given: Any) -> Started:
        self.tries += 1
        if self.tries > self.left:
            return self._real(*given)
        raise self.error


@contextmanager
def kept(asked: Camera, **given: Any) -> Iterator[Keeper]:
    one = Keeper(asked, **given)
    one.start()
    try:
        yield one
    finally:
        one.stop()


FULL = [OSError(code, os.strerror(code)) for code in (errno.EAGAIN, errno.EMFILE, errno.ENOMEM)]


@pytest.mark.parametrize("error", [*FULL, RuntimeError("anything")], ids=str)
def test_a_camera_whose_process_could_not_be_started_is_started_later(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No process, descriptor or memory is left for a while; then there is."""
    monkeypatch.setattr("veilcast.pipeline.keeper.start", Failing(error, times=2))
    with kept(camera(tmp_path)) as one:
        wait_until(lambda: one.status()["pid"] is not None, "the process", one.status)
        assert one.restarts == 2
        assert one.status()["error"]
        assert one.failed is None


def test_a_camera_that_cannot_be_started_at_all_alarms(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failing, told = Failing(FULL[0]), list[tuple[str, dict[str, Any]]]()
    monkeypatch.setattr("veilcast.pipeline.keeper.start", failing)
    with kept(camera(tmp_path, 1), on_event=lambda *event: told.append(event)) as one:
        wait_until(lambda: one.status()["alarm"], "the alarm", one.status)
        assert one.status()["state"] == "fault"
        assert "no process could be started for door" in one.status()["error"]
        wait_until(lambda: failing.tries > 2, "another try, for the slate")
        assert not one.join(0)
    assert [name for name, _ in told][:2] == ["restarting", "held"]
    assert told[1][1]["alarm"] is True


def test_a_log_that_cannot_be_written_ends_no_camera(tmp_path: Path) -> None:
    def broken(*event: object) -> None:
        raise BrokenPipeError

    with kept(camera(tmp_path), on_event=broken) as one:
        wait_until(lambda: one.status()["age_s"] is not None, "its first word", one.status)
        assert one.restarts == 0


def test_the_log_says_why_a_camera_and_an_output_cannot_be_reached_and_no_password(tmp_path: Path) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    login = Secret("anna:pa55-w0rd")

    def told(event: str) -> set[str]:
        return {facts["told"] for name, facts in events if name == event}

    with peer(unauthorised, 0) as port:
        source, output = (f"rtsp://127.0.0.1:{port}/{path}" for path in ("cam", "live"))
        outputs = (parse_output(f"{tmp_path}/"), parse_output(output, login))
        asked = Camera("door", parse_input(source, login), outputs, CALM)
        with kept(asked, on_event=lambda *event: events.append(event)):
            refused = "refuses the credentials, or wants some"
            wait_until(lambda: f"{source} {refused}" in told("state"), "the camera's reason", lambda: events)
            wait_until(lambda: told("output") == {f"{output} {refused}"}, "the output's", lambda: events)
    assert "pa55-w0rd" not in json.dumps(events)


def test_a_reason_is_told_when_it_changes_and_not_each_time_that_it_is_said(tmp_path: Path) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    one = Keeper(camera(tmp_path), lambda *event: events.append(event))

    def said(state: str, told: str, *outputs: str) -> None:
        saying = [{"to": "rtmp://server/live/***", "told": text} for text in outputs]
        for _ in range(3):
            one._heard({"state": state, "told": told, "outputs": saying})

    said("connecting", "")
    said("connecting", "no answer", "", "full")
    said("connecting", "refused", "refused", "full")
    said("live", "", "", "full")
    told = [(name, facts.get("state"), facts["told"]) for name, facts in events]
    assert told == [
        ("state", "connecting", ""),
        ("state", "connecting", "no answer"),
        ("output", None, "full"),
        ("state", "connecting", "refused"),
        ("output", None, "refused"),
        ("state", "live", ""),
        ("output", None, ""),
    ]


def test_a_keeper_that_is_gone_has_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever ends it that nobody thought of: the command ends with an error, and says so."""

    def gone(*rest: object) -> None:
        raise SystemError

    monkeypatch.setattr(Keeper, "_keep", gone)
    monkeypatch.setattr(threading, "excepthook", lambda *told: None)
    with kept(camera(tmp_path)) as one:
        assert one.join(20)
        assert isinstance(one.failed, WorkerDied)
        assert one.status()["alarm"] is True
        assert one.status()["state"] == "fault"
        assert one.failed.exit_code == 51


def test_a_keeper_that_was_stopped_has_not_failed(tmp_path: Path) -> None:
    with kept(camera(tmp_path)) as one:
        assert one.failed is None
    assert one.failed is None
    assert one.status()["alarm"] is False


def test_a_shared_generator_that_could_not_be_started_is_started_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tries: list[object] = []

    def full(*rest: object, **more: object) -> None:
        tries.append(rest)
        raise FULL[0]

    monkeypatch.setattr("veilcast.pipeline.generators.subprocess.Popen", full)
    one = SharedGenerator(tmp_path / "model", tmp_path / "sock")
    one.start()
    try:
        wait_until(lambda: len(tries) > 1, "another try")
    finally:
        one.stop()

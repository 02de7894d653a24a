"""Recordings of cameras: whatever breaks, none takes the place of another, and nobody's file is replaced."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import av.error
import pytest
from tests.live_session import wait_until

from veilcast.config import Live
from veilcast.errors import NotWritable
from veilcast.pipeline.addresses import parse_output
from veilcast.pipeline.backoff import Backoff
from veilcast.pipeline.clocks import TICKS
from veilcast.pipeline.files import part_of
from veilcast.pipeline.outlet import Outlet, Shown
from veilcast.pipeline.publish import Output, Publisher
from veilcast.pipeline.recordings import claimed, keep
from veilcast.pipeline.slates import Card, Reason

SIZE = (64, 48)


def output(target: Path) -> Output:
    return Output(parse_output(str(target)), Live())


def card(number: int, size: tuple[int, int] = SIZE, is_guess: bool = False) -> Shown:
    pts = number * TICKS // 25
    return Shown(Card(pts, Reason.LOST, size), pts, size, is_guess=is_guess)


def recorded(target: Path, *cards: Shown) -> Outlet:
    """An output to which these were given, one after another."""
    outlet = Outlet(output(target), Backoff(0.001, 0.001))
    outlet.start()
    for shown in cards:
        outlet.put(shown)
        wait_until(outlet._queue.empty, "it is taken")
    outlet.stop()
    return outlet


def pictures(path: Path) -> int:
    """How many a player shows of a file."""
    try:
        with av.open(str(path)) as source:
            return sum(1 for _ in source.decode(video=0))
    except av.error.FFmpegError:
        return 0


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Breaking:
    """`Publisher._picture` where the disk fails at some pictures of the session."""

    def __init__(self, *at: int) -> None:
        self._at, self._seen, self._real = at, -1, Publisher._picture

    def __call__(self, publisher: Publisher, *given: Any) -> av.VideoFrame:
        self._seen += 1
        if self._seen in self._at:
            raise OSError("no space")
        return self._real(publisher, *given)

    def __get__(self, publisher: Publisher, owner: object) -> Any:
        return lambda *given: self(publisher, *given)


def test_a_recording_that_breaks_goes_on_in_another_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Publisher, "_picture", Breaking(50, 55))
    outlet = recorded(tmp_path / "rec.mkv", *(card(number) for number in range(60)))
    assert outlet.opened == 3
    assert names(tmp_path) == ["rec-0001.mkv", "rec-0002.mkv", "rec.mkv"]
    counts = [pictures(tmp_path / name) for name in ("rec.mkv", "rec-0001.mkv", "rec-0002.mkv")]
    assert counts[0] == 50
    assert 50 < sum(counts) <= 58  # but for the moment until it is opened again


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".ts"])
def test_what_a_killed_process_left_can_be_played_but_for_its_last_second(
    suffix: str, tmp_path: Path
) -> None:
    """Also of pictures that take few bytes, which a container likes to keep together."""
    target = tmp_path / f"rec{suffix}"
    with Publisher(output(target), SIZE) as publisher:
        for number in range(100):
            publisher.write(card(number).item, card(number).pts)
        left = Path(shutil.copy(part_of(target), tmp_path / f"left{suffix}"))
    assert pictures(target) == 100
    assert pictures(left) >= 100 - 26


def test_what_a_killed_process_left_is_not_written_over(tmp_path: Path) -> None:
    left = tmp_path / "rec.mkv.part"
    left.write_bytes(b"an hour of pictures")
    recorded(tmp_path / "rec.mkv", *(card(number) for number in range(5)))
    assert left.exists()
    assert left.read_bytes() == b"an hour of pictures"
    assert pictures(tmp_path / "rec-0001.mkv") == 5


def test_a_disk_that_is_full_gets_no_file_for_each_try(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Publisher, "_picture", Breaking(*range(20)))
    outlet = recorded(tmp_path / "rec.mkv", *(card(number) for number in range(20)))
    assert outlet.opened > 1
    assert names(tmp_path) == []


def test_a_file_that_appeared_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "rec.mkv"
    publisher = Publisher(output(target), SIZE)
    publisher.write(card(0).item, 0)
    target.write_text("somebody's")
    with pytest.raises(NotWritable, match="appeared"):
        publisher.close()
    assert target.read_text() == "somebody's"
    assert pictures(tmp_path / "rec.mkv.part") == 1


def test_two_at_once_get_names_of_their_own(tmp_path: Path) -> None:
    target = tmp_path / "rec.mkv"
    taken = [claimed(target) for _ in range(3)]
    assert [path.name for path in taken] == ["rec.mkv", "rec-0001.mkv", "rec-0002.mkv"]
    keep(taken[1])
    assert claimed(target).name == "rec-0003.mkv"


def test_a_recording_begins_when_the_camera_has_told_its_size(tmp_path: Path) -> None:
    """Cards of another size before it would be a file of their own."""
    early = [card(number, (640, 360), is_guess=True) for number in range(5)]
    outlet = recorded(tmp_path / "rec.mkv", *early, *(card(number) for number in range(5, 10)))
    assert names(tmp_path) == ["rec.mkv"]
    assert pictures(tmp_path / "rec.mkv") == 5
    assert outlet.lost == 0


@pytest.mark.parametrize("taken", ["rec.mkv", "rec.mkv.part"])
def test_the_command_does_not_begin_where_a_file_is(taken: str, tmp_path: Path) -> None:
    (tmp_path / taken).write_text("mine")
    words = [sys.executable, "-m", "veilcast", "live", "--in", "rtsp://127.0.0.1:9/cam", "--out", "rec.mkv"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 20
    assert f"{taken} exists" in done.stderr.splitlines()[-1]
    assert names(tmp_path) == [taken]
    assert (tmp_path / taken).read_text() == "mine"

"""Files appear whole under their final name or not at all; inputs are read as one unchanging content."""

from __future__ import annotations

import fcntl
import io
import os
import pkgutil
import stat
import sys
from pathlib import Path

import pytest

from veilcast.errors import ConfigError, DamagedMedia, InputMissing, InputTooLarge, NotWritable, OutputExists
from veilcast.pipeline.files import check_apart, open_source, reserve, sha256, write_durably

NO_INPUT = io.BytesIO()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_output_appears_only_when_it_is_committed(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    with reserve(target, overwrite=False) as part:
        part.path.write_bytes(b"whole")
        assert names(tmp_path) == ["out.mp4.part"]
        part.commit(overwrite=False)
    assert names(tmp_path) == ["out.mp4"]
    assert target.read_bytes() == b"whole"


def test_an_abandoned_output_leaves_nothing(tmp_path: Path) -> None:
    with reserve(tmp_path / "out.mp4", overwrite=False) as part:
        part.path.write_bytes(b"half")
    assert names(tmp_path) == []


def test_an_output_that_exists_is_replaced_only_on_request(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_bytes(b"precious")
    with pytest.raises(OutputExists, match="--overwrite"), reserve(target, overwrite=False):
        pass
    with reserve(target, overwrite=True) as part:
        part.path.write_bytes(b"new")
        part.commit(overwrite=True)
    assert target.read_bytes() == b"new"


def test_an_output_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    with reserve(target, overwrite=False) as part:
        target.write_bytes(b"someone else's")
        with pytest.raises(OutputExists):
            part.commit(overwrite=False)
    assert target.read_bytes() == b"someone else's"
    assert names(tmp_path) == ["out.mp4"]


def test_two_runs_never_write_the_same_output(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    with reserve(target, overwrite=False) as part:
        part.path.write_bytes(b"first")
        with pytest.raises(OutputExists, match="another run"), reserve(target, overwrite=False):
            pass
        part.commit(overwrite=False)
    assert target.read_bytes() == b"first"


@pytest.mark.parametrize("call", ["os.open", "fcntl.flock", "os.ftruncate"])
def test_a_signal_between_any_two_steps_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real = pkgutil.resolve_name(call)

    def interrupted(*args: object) -> None:
        monkeypatch.undo()  # once: what cleans up is not interrupted again
        real(*args)
        sys.exit(143)  # as the handler of SIGTERM does, before the caller sees the result

    monkeypatch.setattr(call, interrupted)
    with pytest.raises(SystemExit), reserve(tmp_path / "out.mp4", overwrite=False):
        pytest.fail("the block is not reached")
    assert names(tmp_path) == []


def test_a_run_that_finishes_while_another_begins_keeps_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.mp4"
    real = fcntl.flock

    def overtaken(fd: int, how: int) -> None:  # the other run commits between our open and our lock
        if target.with_name("out.mp4.part").exists():
            target.with_name("out.mp4.part").write_bytes(b"first")
            target.with_name("out.mp4.part").rename(target)
        real(fd, how)

    monkeypatch.setattr("fcntl.flock", overtaken)
    with pytest.raises(OutputExists, match="another run"), reserve(target, overwrite=True):
        pass
    assert target.read_bytes() == b"first"


def test_a_half_written_file_of_a_killed_run_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "out.mp4.part").write_bytes(b"left over, longer than what comes")
    write_durably(tmp_path / "out.mp4", b"new")
    assert names(tmp_path) == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"new"


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "out.mp4.part").symlink_to(tmp_path / "victim")
    with pytest.raises(NotWritable), reserve(tmp_path / "out.mp4", overwrite=True):
        pass
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_a_folder_that_is_missing_or_in_the_way_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotWritable, match="does not exist"), reserve(tmp_path / "no" / "out.mp4", False):
        pass
    with pytest.raises(NotWritable, match="is a folder"), reserve(tmp_path, False):
        pass


def test_a_device_or_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for name in ("pipe", "null"):
        with pytest.raises(NotWritable, match="device or a pipe"), reserve(tmp_path / name, overwrite=True):
            pass
    assert names(tmp_path) == ["null", "pipe"]
    assert (tmp_path / "pipe").is_fifo()


def test_what_shows_faces_is_for_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "seen.png.part").touch(0o644)  # a killed run left it
    for name in ("seen.png", "new.png"):
        with reserve(tmp_path / name, overwrite=True, private=True) as part:
            assert stat.S_IMODE(part.path.stat().st_mode) == 0o600
            part.commit(overwrite=True)
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_nothing_goes_to_standard_output(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="standard output"):
        check_apart([tmp_path / "in.mp4"], [Path("-")])


def test_standard_input_is_spooled_where_nobody_else_can_see_it(tmp_path: Path) -> None:
    with open_source("-", 100, io.BytesIO(b"video")) as source:
        assert source.path.read_bytes() == b"video"
        assert source.path.read_bytes() == b"video"  # a second pass starts at the beginning
        found = os.fstat(source.fds[0])
        assert (stat.S_IMODE(found.st_mode), found.st_nlink) == (0o600, 0)


def test_the_limit_on_bytes_holds_for_files_and_for_standard_input(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x" * 101)
    with pytest.raises(InputTooLarge), open_source(str(tmp_path / "in"), 100, NO_INPUT):
        pass
    with pytest.raises(InputTooLarge), open_source("-", 100, io.BytesIO(b"x" * 101)):
        pass


def test_a_missing_input_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("none.mp4", ".", "pipe"):
        with pytest.raises(InputMissing), open_source(str(tmp_path / name), 100, NO_INPUT):
            pass


def test_an_input_that_changes_between_the_passes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "in"
    path.write_bytes(b"one")
    with open_source(str(path), 100, NO_INPUT) as source:
        source.check_unchanged()
        path.write_bytes(b"other")
        with pytest.raises(DamagedMedia, match="changed"):
            source.check_unchanged()


def test_the_hash_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"abc")
    assert sha256(tmp_path / "in").startswith("ba7816bf8f01cfea414140de5dae2223")

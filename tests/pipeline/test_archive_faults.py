"""Disks that fill up, stores that drop and delay, and archives of very many files."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.clips import clip
from tests.pipeline.archive_world import archive, contents, run

from veilcast.errors import DiskFull, StoreFailed
from veilcast.pipeline import stores
from veilcast.pipeline.journal import Journal, State


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = shutil.which("mount") and os.geteuid() == 0
    if (
        not mounted
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("no right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_ends_the_job_without_half_a_file_and_it_goes_on_later(
    small_disk: Path, tmp_path: Path
) -> None:
    source = archive(tmp_path / "in", 3)
    run(source, tmp_path / "whole", tmp_path / "job0")
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (232 << 10))
    with pytest.raises(DiskFull):
        run(source, small_disk / "out", tmp_path / "job", workers=1)
    left = contents(small_disk / "out")
    assert left.items() <= contents(tmp_path / "whole").items()
    assert len(left) < 3
    ballast.unlink()
    assert run(source, small_disk / "out", tmp_path / "job").counts[State.DONE] == 3
    assert contents(small_disk / "out") == contents(tmp_path / "whole")


def test_a_full_disk_of_the_journal_is_told(small_disk: Path, tmp_path: Path) -> None:
    source = archive(tmp_path / "in", 3)
    (small_disk / "ballast").write_bytes(b"x" * (120 << 10))
    with pytest.raises(DiskFull):
        run(source, tmp_path / "out", small_disk / "job", workers=1)
    run(source, tmp_path / "whole", tmp_path / "job0")
    assert contents(tmp_path / "out").items() <= contents(tmp_path / "whole").items()


# -- object stores


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A local S3 server with an empty bucket, as options for fsspec."""
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {"endpoint_url": f"http://{host}:{port}", "skip_instance_cache": True}
    import s3fs

    system = s3fs.S3FileSystem(**options)
    system.mkdir("cams")
    yield options
    system.invalidate_cache()
    system.rm("cams", recursive=True)  # what the server holds outlives it
    server.stop()


class Faulty:
    """A store that drops connections, delays, and cuts what it sends, now and then."""

    def __init__(self, store: stores.Remote, every: int) -> None:
        self._store, self._every = store, every
        self._calls = 0
        self._lock = threading.Lock()
        self.faults = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _fault(self) -> int:
        with self._lock:
            self._calls += 1
            if self._calls % self._every:
                return 0
            self.faults += 1
            return 1 + self.faults % 3

    def fetch(self, name: str, path: Path, charge: Any) -> None:
        match self._fault():
            case 1:
                raise StoreFailed("dropped")
            case 2:
                time.sleep(0.2)
            case 3:
                path.write_bytes(b"half")
                raise StoreFailed("cut off")
        self._store.fetch(name, path, charge)

    def put(self, path: Path, name: str, charge: Any) -> None:
        match self._fault():
            case 1:
                raise StoreFailed("dropped")
            case 2:
                time.sleep(0.2)
            case 3:
                self._store.put(path, name, charge)
                raise StoreFailed("arrived, but the answer was lost")
        self._store.put(path, name, charge)


def test_an_archive_in_s3_survives_faults_and_arrives_whole(
    s3: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    source = archive(tmp_path / "in", 4)
    run(source, tmp_path / "whole", tmp_path / "job0")
    system = s3fs.S3FileSystem(**s3)
    for name in contents(source):
        system.put_file(str(source / name), f"cams/in/{name}")
    system.pipe_file("cams/in/notes.txt", b"hello")
    opened: list[Faulty] = []

    def faulty(url: str, options: dict[str, Any] | None = None) -> Any:
        opened.append(Faulty(stores.Remote(url, system, url.removeprefix("s3://")), every=2))
        return opened[-1]

    monkeypatch.setattr("veilcast.pipeline.batch.open_store", faulty)
    outcome = run("s3://cams/in", "s3://cams/out", tmp_path / "job", retries=8, overwrite=True)
    assert outcome.counts[State.DONE] == 4
    assert outcome.left_behind == ("notes.txt",)
    assert sum(store.faults for store in opened) >= 3
    system.invalidate_cache()
    system.get("cams/out", str(tmp_path / "back"), recursive=True)
    assert contents(tmp_path / "back") == contents(tmp_path / "whole")
    assert not (tmp_path / "job" / "work").exists()


def test_s3_by_its_url_with_a_glob_to_a_folder(s3: dict[str, Any], tmp_path: Path) -> None:
    import s3fs

    source = archive(tmp_path / "in", 2)
    system = s3fs.S3FileSystem(**s3)
    for name in contents(source):
        system.put_file(str(source / name), f"cams/{name}")
    outcome = run("s3://cams/cam1/*.mp4", tmp_path / "out", tmp_path / "job", source_options=s3)
    assert outcome.counts[State.DONE] == 1
    assert list(contents(tmp_path / "out")) == ["001.mp4"]


def test_keys_that_lead_out_of_the_folder_are_quarantined(tmp_path: Path) -> None:
    import fsspec

    system = fsspec.filesystem("memory")
    made = clip(tmp_path / "a.mp4", 9).read_bytes()
    for key in ("/evil/in/../../../escape.mp4", "/evil/in/ok.mp4"):
        system.store.pop(key, None)
    system.pipe_file("/evil/in/ok.mp4", made)
    remote = stores.Remote("memory://evil/in", system, "/evil/in")
    entry = stores.Entry("../../escape.mp4", len(made), "1")
    with Journal(_made(tmp_path / "job")) as journal:
        journal.add([(entry, 0)])
    assert [e.name for e in remote.walk()] == ["ok.mp4"]
    outcome = run("memory://evil/in", tmp_path / "out" / "deep" / "er", tmp_path / "job")
    assert outcome.counts[State.QUARANTINED] == 1
    assert outcome.counts[State.DONE] == 1
    assert not list(tmp_path.rglob("escape*"))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


# -- many files


def many(count: int, tmp_path: Path) -> None:
    """The time of a file does not grow with the files: the last tenth takes as long as the first."""
    source = tmp_path / "in"
    first = clip(_made(source) / "000000.mp4", 3, size=(48, 32)).read_bytes()
    for number in range(1, count):
        path = source / f"{number // 1000:03d}" / f"{number:06d}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(first)
    ended: list[float] = []

    def note(event: Any) -> None:
        if event.state is State.DONE:
            ended.append(time.process_time())

    outcome = run(source, tmp_path / "out", tmp_path / "job", note)
    assert outcome.counts[State.DONE] == count
    tenth = count // 10
    assert ended[-1] - ended[-tenth] < 3 * (ended[2 * tenth] - ended[tenth]) + 0.5
    began_s = time.monotonic()
    again = run(source, tmp_path / "out", tmp_path / "job")
    assert again.counts[State.DONE] == count
    assert time.monotonic() - began_s < 5 + count / 500


def test_many_tiny_files_do_not_slow_down(tmp_path: Path) -> None:
    many(100, tmp_path)


@pytest.mark.slow
def test_10000_tiny_files_do_not_slow_down(tmp_path: Path) -> None:
    many(10_000, tmp_path)

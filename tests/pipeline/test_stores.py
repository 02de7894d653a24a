"""Where an archive lies: names that stay inside, globs, contents that tell what a file is."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.clips import clip

from veilcast.errors import ConfigError, InputMissing
from veilcast.pipeline.rate import Bucket
from veilcast.pipeline.sniff import is_video, promises
from veilcast.pipeline.stores import Folder, is_safe, matches, open_store, split_glob


def names(url: Path | str) -> list[str]:
    return [entry.name for entry in open_store(str(url)).walk()]


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def test_a_folder_is_walked_to_its_end_in_order(tmp_path: Path) -> None:
    touched(tmp_path, "b/2.mp4", "a.mp4", "b/1.mp4", "b/c/d.mkv")
    assert names(tmp_path) == ["a.mp4", "b/1.mp4", "b/2.mp4", "b/c/d.mkv"]
    assert names(f"file://{tmp_path}") == names(tmp_path)


def test_links_are_left_alone(tmp_path: Path) -> None:
    touched(tmp_path, "in/a.mp4", "out/secret.mp4")
    (tmp_path / "in" / "link.mp4").symlink_to(tmp_path / "out" / "secret.mp4")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "out")
    assert names(tmp_path / "in") == ["a.mp4"]


def test_a_glob_chooses_and_names_are_kept_from_its_first_wildcard_on(tmp_path: Path) -> None:
    touched(tmp_path, "cam1/day1/a.mp4", "cam1/a.mp4", "cam2/a.mkv", "cam2/b.mp4")
    assert names(f"{tmp_path}/cam*/*.mp4") == ["cam1/a.mp4", "cam2/b.mp4"]
    assert names(f"{tmp_path}/**/*.mp4") == ["cam1/a.mp4", "cam1/day1/a.mp4", "cam2/b.mp4"]
    assert names(f"{tmp_path}/cam1/**") == ["a.mp4", "day1/a.mp4"]


def test_a_file_may_be_called_like_a_pattern(tmp_path: Path) -> None:
    touched(tmp_path, "a[1].mp4", "a1.mp4")
    assert names(tmp_path / "a[1].mp4") == ["a[1].mp4"]


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputMissing):
        names(tmp_path / "nothing")
    with pytest.raises(ConfigError):
        open_store("nosuchprotocol://bucket/x")


def test_globs() -> None:
    assert split_glob("s3://b/cams/*/x") == ("s3://b/cams", "*/x")
    assert split_glob("/a/b") == ("/a/b", "")
    assert matches("a/b/c.mp4", "**/c.mp4")
    assert matches("c.mp4", "**/c.mp4")
    assert not matches("a/c.mp4", "*.mp4")


@pytest.mark.parametrize(
    "name", ["../x.mp4", "a/../../x.mp4", "/etc/x.mp4", "a//b.mp4", "a/./b.mp4", "", "a\0b", "x" * 2000]
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    assert not is_safe(name)


@pytest.mark.parametrize("name", ["a.mp4", "a/b c.mp4", "-x.mp4", "a\n.mp4", "..a.mp4", "名.mp4"])
def test_strange_names_that_stay_inside_are_taken(name: str) -> None:
    assert is_safe(name)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov", ".ts", ".mpg"])
def test_the_content_tells_what_a_file_is(suffix: str, tmp_path: Path) -> None:
    from tests.media import Clip, make

    codec = "mpeg2video" if suffix == ".mpg" else "libx264"
    path = make(tmp_path / f"a{suffix}", Clip(encoder=codec))
    head = path.read_bytes()[:4096]
    assert is_video(head)
    assert promises(path.name)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"hello, this is text",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 99,
        b"\xff\xd8\xff\xe0" * 99,
        b"\0\0\0\x18ftypheic" + b"\0" * 99,
        b"RIFF\0\0\0\0WAVEfmt ",
        b"%PDF-1.7",
        b"G" + b"a" * 4000,
    ],
)
def test_other_contents_are_no_videos(head: bytes) -> None:
    assert not is_video(head)


def test_a_rate_is_kept_over_time() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    bucket = Bucket(1000, now=lambda: now[0], sleep=sleep)
    for _ in range(50):
        bucket.charge(500)
    assert now[0] == pytest.approx(24, abs=0.1)  # 25000 bytes, of which one second's worth at once


def test_memory_is_a_store_too(tmp_path: Path) -> None:
    store = open_store("memory://box")
    source = clip(tmp_path / "a.mp4")
    store.put(source, "deep/a.mp4", lambda size: None)
    assert [entry.name for entry in store.walk()] == ["deep/a.mp4"]
    store.fetch("deep/a.mp4", tmp_path / "b.mp4", lambda size: None)
    assert (tmp_path / "b.mp4").read_bytes() == source.read_bytes()
    assert store.head("deep/a.mp4") == source.read_bytes()[:4096]
    assert store.stamp("nothing") is None
    assert store.stamp("deep/a.mp4") == next(store.walk()).stamp


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("memory://user:SECRET@host/cams", "memory://host/cams"),
        ("memory://host/cams/a.mp4?sig=SECRET&for=me", "memory://host/cams/a.mp4"),
        ("memory://host/cams/?.mp4", "memory://host/cams/?.mp4"),
    ],
)
def test_what_lets_somebody_in_is_never_told(url: str, told: str) -> None:
    with pytest.raises(InputMissing, match="there is nothing at") as raised:
        list(open_store(url).walk())
    assert "SECRET" not in str(raised.value)
    assert told in str(raised.value)


def test_a_folder_of_this_machine_is_read_where_it_is(tmp_path: Path) -> None:
    assert Folder(str(tmp_path)).local("a") == tmp_path / "a"

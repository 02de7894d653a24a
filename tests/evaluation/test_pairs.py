"""What is compared with what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from veilcast.errors import ConfigError, EvaluationFailed, InputMissing, UnsupportedMedia
from veilcast.evaluation.pairs import clips, frames, listed, media
from veilcast.pipeline.sniff import PICTURE_NAMES, VIDEO_NAMES


def picture(path: Path, size: tuple[int, int] = (40, 30), colour: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour, colour, colour)).save(path)
    return path


def test_folders_pair_by_name_and_name_the_person(tmp_path: Path) -> None:
    for name in ("anna/1.jpg", "bert/2.png"):
        picture(tmp_path / "in" / name)
    picture(tmp_path / "out" / "anna/1.png")  # another format is the same picture
    picture(tmp_path / "out" / "bert/2.png")
    found = clips(tmp_path / "in", tmp_path / "out")
    assert [(c.name, c.person, c.still) for c in found] == [
        ("anna/1.jpg", "anna", True),
        ("bert/2.png", "bert", True),
    ]


def test_what_run_takes_from_a_folder_is_compared_and_nothing_else(tmp_path: Path) -> None:
    for name in sorted(VIDEO_NAMES | PICTURE_NAMES | {".bmp", ".txt"}):
        (tmp_path / f"a{name}").touch()
    assert {path.suffix for path in media(tmp_path)} == VIDEO_NAMES | PICTURE_NAMES


def test_an_original_without_an_output_is_an_error_not_a_smaller_set(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "1.jpg")
    picture(tmp_path / "in" / "2.jpg")
    picture(tmp_path / "out" / "1.jpg")
    with pytest.raises(InputMissing, match=r"2\.jpg has no output"):
        clips(tmp_path / "in", tmp_path / "out")


def test_a_list_says_who_and_under_which_scope(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (tmp_path / "list.csv").write_text(
        "original,output,person,scope\na.png,b.png,anna,monday\na.png,b.png,,\n"
    )
    first, second = listed(tmp_path / "list.csv")
    assert (first.person, first.scope, second.person, second.scope) == ("anna", "monday", None, None)


@pytest.mark.parametrize(
    ("text", "error"), [("a,b\n1,2\n", ConfigError), ("original,output\nx.png,y.png\n", InputMissing)]
)
def test_a_wrong_list_is_told(tmp_path: Path, text: str, error: type[Exception]) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(error):
        listed(tmp_path / "list.csv")


def test_pictures_of_different_sizes_cannot_be_compared(tmp_path: Path) -> None:
    (clip,) = clips(picture(tmp_path / "a.png"), picture(tmp_path / "b.png", (80, 60)))
    with pytest.raises(EvaluationFailed, match="40x30 and its output 80x60"):
        list(frames(clip))


def test_pictures_are_compared_as_they_are_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "turned.jpg", exif=exif)
    (clip,) = clips(tmp_path / "turned.jpg", picture(tmp_path / "upright.png", (30, 40)))
    (pair,) = frames(clip)
    assert pair.original.shape == pair.output.shape == (40, 30, 3)
    assert pair.original.dtype == np.uint8


def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    (clip,) = clips(tmp_path / "a.png", picture(tmp_path / "b.png"))
    with pytest.raises(UnsupportedMedia, match="not a picture"):
        list(frames(clip))


def test_a_file_is_not_compared_with_a_folder(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "1.jpg")
    with pytest.raises(ConfigError, match="two files or two folders"):
        clips(tmp_path / "in", tmp_path / "in" / "1.jpg")

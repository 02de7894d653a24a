"""Picture sets: what is covered, what stays, and what happens when it goes wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image, ImageCms

from veilcast.config import Config, Synthetic
from veilcast.errors import (
    ConfigError,
    InputMissing,
    OutputExists,
    SomeFailed,
    VerificationFailed,
    WorkerDied,
)
from veilcast.pipeline import images, labels, picture_files, pictures
from veilcast.pipeline.images import Options, run_folder, split
from veilcast.pipeline.picture_journal import JOURNAL
from veilcast.types import Box, Face, Frame, Track

MARK = (255, 0, 255)  # the colour of what stands for a face here
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


class MarkFinder:
    """Finds the magenta square instead of a face."""

    def still(self, frame: Frame) -> tuple[Face, ...]:
        red, green, blue = (plane.astype(int) for plane in frame.planes[:3])
        ys, xs = np.nonzero((red > 180) & (green < 90) & (blue > 180))
        if not len(xs):
            return ()
        box = Box(float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))
        return (Face(box, 0.9, None, "marks"),)


@pytest.fixture(autouse=True)
def _in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers run in this process and find marks."""

    @contextmanager
    def finder(*_: object) -> Iterator[MarkFinder]:
        yield MarkFinder()

    monkeypatch.setattr(pictures, "open_detector", finder)
    monkeypatch.setattr(images, "supervise", lambda job, *_: pictures.cover_all(job, lambda *_: None))


def photo(size: tuple[int, int] = (160, 120), at: tuple[int, int] = (40, 30), seed: int = 0) -> Image.Image:
    """Grey texture with a 40 px magenta square at `at` (x, y)."""
    texture = np.random.default_rng(seed).integers(60, 200, (size[1] // 8, size[0] // 8), np.uint8)
    picture = Image.fromarray(texture).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    picture.paste(MARK, (*at, at[0] + 40, at[1] + 40))
    return picture


def marks(path: Path) -> int:
    """How many pixels still show the mark."""
    rgb = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return int(((rgb[..., 0] > 150) & (rgb[..., 1] < 120) & (rgb[..., 2] > 150)).sum())


def journal(folder: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()]
    return {line["name"]: line for line in lines}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "in"
    for person in ("anna", "bert"):
        (source / person).mkdir(parents=True)
    photo(seed=1).save(source / "anna" / "1.jpg", quality=92, icc_profile=PROFILE)
    photo(seed=2).save(source / "anna" / "2.png", icc_profile=PROFILE)
    photo(seed=3).save(source / "bert" / "1.webp", lossless=True, exact=True)
    photo(seed=4).save(source / "bert" / "2.tiff", compression="tiff_lzw")
    return source


def test_every_format_keeps_its_name_place_and_size_and_loses_its_face(folder: Path, tmp_path: Path) -> None:
    summary = run_folder(folder, tmp_path / "out", Config())
    assert (summary.done, summary.faces, summary.failed) == (4, 4, ())
    for path in folder.rglob("*.*"):
        made = tmp_path / "out" / path.relative_to(folder)
        assert marks(path) >= 1500
        assert marks(made) == 0
        with Image.open(path) as before, Image.open(made) as after:
            assert (after.size, after.format) == (before.size, before.format)


def test_outside_the_cover_nothing_changes_in_exact_formats(folder: Path, tmp_path: Path) -> None:
    run_folder(folder, tmp_path / "out", Config())
    for name in ("anna/2.png", "bert/1.webp", "bert/2.tiff"):
        before, after = (np.asarray(Image.open(f / name)) for f in (folder, tmp_path / "out"))
        changed = np.argwhere((before != after).any(-1))
        assert changed.min(0) == pytest.approx([30, 40], abs=12)
        assert changed.max(0) == pytest.approx([70, 80], abs=12)


def test_the_profile_stays_and_everything_else_goes(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    exif = Image.Exif()
    exif[0x010F] = "a camera with a serial number"
    photo().save(source / "a.jpg", exif=exif, icc_profile=PROFILE, comment=b"by me", dpi=(300, 300))
    run_folder(source, tmp_path / "out", Config())
    data = (tmp_path / "out" / "a.jpg").read_bytes()
    with Image.open(tmp_path / "out" / "a.jpg") as made:
        assert made.info["icc_profile"] == PROFILE
        assert not made.getexif()
    assert b"serial number" not in data
    assert b"by me" not in data


def test_a_turned_picture_is_written_upright(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to show
    photo((160, 120), at=(8, 8)).save(source / "a.png", exif=exif)
    run_folder(source, tmp_path / "out", Config())
    with Image.open(tmp_path / "out" / "a.png") as made:
        assert made.size == (120, 160)
        assert not made.getexif()
        assert marks(tmp_path / "out" / "a.png") == 0
        assert np.asarray(made)[28, 92].tolist() == [0, 0, 0]  # upper right, where the mark is shown


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "P", "I;16"])
def test_other_kinds_of_pixels_are_carried(mode: str, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    if mode == "I;16":
        ramp = np.arange(160 * 120, dtype=np.uint16).reshape(120, 160)
        Image.fromarray(ramp).save(source / "a.png")
    else:
        colours = photo().quantize(64, dither=Image.Dither.NONE) if mode == "P" else photo().convert(mode)
        colours.save(source / "a.png")
    run_folder(source, tmp_path / "out", Config())
    with Image.open(tmp_path / "out" / "a.png") as made:
        assert made.mode == ("RGB" if mode == "P" else mode)
    if mode == "I;16":
        assert (np.asarray(Image.open(tmp_path / "out" / "a.png")) == ramp).all()
    if mode in ("RGBA", "P"):
        assert marks(tmp_path / "out" / "a.png") == 0


@pytest.mark.parametrize(
    ("mode", "colour", "made"), [("RGB", (0, 255, 0), "RGBA"), ("L", 7, "LA"), ("P", 3, "RGBA")]
)
def test_a_colour_that_is_transparent_stays_so(mode: str, colour: object, made: str, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    shown = photo().convert(mode)
    shown.paste(colour, (100, 90, 130, 110))  # type: ignore[arg-type]
    shown.save(source / "a.png", transparency=colour)
    with Image.open(source / "a.png") as before:
        hidden = np.asarray(before.convert("RGBA"))[..., 3] == 0
    assert hidden[100, 110]
    run_folder(source, tmp_path / "out", Config())
    with Image.open(tmp_path / "out" / "a.png") as after:
        assert after.mode == made
        assert ((np.asarray(after)[..., -1] == 0) == hidden).all()


def test_one_damaged_file_is_told_and_does_not_stop_the_rest(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "anna" / "1.jpg").read_bytes()
    (folder / "anna" / "0.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "anna" / "x.png").write_bytes(b"no picture")
    with pytest.raises(SomeFailed, match=r"2 of 6.*0\.jpg.*damaged"):
        run_folder(folder, tmp_path / "out", Config())
    assert not (tmp_path / "out" / "anna" / "0.jpg").exists()
    assert len([p for p in (tmp_path / "out").rglob("*.*") if p.name != JOURNAL]) == 4
    assert "JPEG, PNG" in journal(tmp_path / "out")["anna/x.png"]["error"]


def test_what_cannot_be_carried_exactly_is_refused_by_name(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    photo().convert("CMYK").save(source / "print.jpg")
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(source / "deep.png", transparency=7)
    photo().save(source / "two.tiff", save_all=True, append_images=[photo(seed=2)])
    with pytest.raises(SomeFailed):
        run_folder(source, tmp_path / "out", Config())
    told = journal(tmp_path / "out")
    assert "CMYK" in told["print.jpg"]["error"]
    assert "transparent level" in told["deep.png"]["error"]
    assert "several pictures" in told["two.tiff"]["error"]
    assert not (tmp_path / "out" / "two.tiff").exists()


def test_a_stopped_run_goes_on_where_it_was(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(job: dict[str, Any], *_: object) -> None:
        pictures.cover_all({**job, "names": job["names"][:1], "people": [""]}, lambda *_: None)
        raise KeyboardInterrupt

    with monkeypatch.context() as first:
        first.setattr(images, "supervise", stop)
        with pytest.raises(KeyboardInterrupt):
            run_folder(folder, tmp_path / "out", Config(), Options(workers=1))
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("1.jpg")}
    summary = run_folder(folder, tmp_path / "out", Config(), Options(workers=1))
    assert (summary.done, summary.resumed) == (4, 1)
    assert {p: p.stat().st_mtime_ns for p in times} == times
    assert len(times) == 1


def test_a_changed_source_or_setting_is_done_again(folder: Path, tmp_path: Path) -> None:
    run_folder(folder, tmp_path / "out", Config())
    photo(seed=9).save(folder / "anna" / "2.png")
    assert run_folder(folder, tmp_path / "out", Config()).resumed == 3
    larger = Config.model_validate({"cover": {"mask_scale": 2}})
    assert run_folder(folder, tmp_path / "out", larger).resumed == 0


def test_a_zone_that_was_enlarged_in_its_file_is_covered_in_what_was_done(
    tmp_path: Path, folder: Path
) -> None:
    zones = tmp_path / "zones.toml"
    config = Config.model_validate({"zones": str(zones)})
    zones.write_text("[[zone]]\npoints = [[0, 0], [9, 0], [9, 9]]\n")
    run_folder(folder, tmp_path / "out", config)
    assert run_folder(folder, tmp_path / "out", config).resumed == 4
    zones.write_text("[[zone]]\npoints = [[0, 0], [159, 0], [159, 119], [0, 119]]\n")
    assert run_folder(folder, tmp_path / "out", config).resumed == 0
    assert not np.asarray(Image.open(tmp_path / "out" / "anna" / "2.png"))[100, 20].any()
    zones.unlink()
    with pytest.raises(ConfigError, match="zones file"):
        run_folder(folder, tmp_path / "out", config)


def test_another_table_of_people_makes_pictures_anew(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "Studio", PaintStudio)
    config = Config.model_validate({"cover": {"replacewith": "synthetic"}})
    for who, resumed in (("x", 0), ("x", 4), ("y", 0)):
        (folder / "l.csv").write_text(f"file,who\nanna/1.jpg,{who}\n")
        assert run_folder(folder, tmp_path / "out", config, Options(identity_by="who")).resumed == resumed


def other_set(tmp_path: Path) -> Path:
    """Pictures of one name, but others than `folder` has."""
    (tmp_path / "other" / "anna").mkdir(parents=True)
    photo(seed=7).save(tmp_path / "other" / "anna" / "2.png")
    (tmp_path / "other" / "people.csv").write_text("file,person\nanna/2.png,cleo\n")
    return tmp_path / "other"


def test_what_another_set_became_is_replaced_only_on_request(folder: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", other_set(tmp_path)
    run_folder(folder, out, Config())
    before = (out / "anna" / "2.png").read_bytes()
    with pytest.raises(OutputExists, match=r"anna/2\.png was not made from this folder"):
        run_folder(other, out, Config())
    assert (out / "anna" / "2.png").read_bytes() == before
    assert not (out / "people.csv").exists()
    assert run_folder(other, out, Config(), Options(overwrite=True)).resumed == 0
    assert (out / "anna" / "2.png").read_bytes() != before
    assert str(tmp_path) not in (out / JOURNAL).read_text()


def test_two_sets_that_share_no_name_go_on_in_one_folder(folder: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", other_set(tmp_path)
    (other / "anna" / "2.png").rename(other / "anna" / "9.png")
    run_folder(folder, out, Config())
    run_folder(other, out, Config())
    (folder / "people.csv").write_text("file,person\n")
    with pytest.raises(OutputExists, match=r"people\.csv"):
        run_folder(folder, out, Config())
    (folder / "people.csv").unlink()
    assert run_folder(folder, out, Config()).resumed == 4
    assert run_folder(other, out, Config()).resumed == 1


@pytest.mark.parametrize("lost", ["the source", "the last line"])
def test_a_set_goes_on_in_a_journal_of_an_earlier_version_and_of_a_killed_run(
    lost: str, folder: Path, tmp_path: Path
) -> None:
    run_folder(folder, tmp_path / "out", Config())
    path = tmp_path / "out" / JOURNAL
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    if lost == "the source":
        for line in lines:
            del line["source"]
        photo(seed=9).save(folder / "anna" / "2.png")
    else:
        del lines[-1]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run_folder(folder, tmp_path / "out", Config()).resumed == 3


def test_a_picture_that_kills_its_worker_costs_itself_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fragile(job: dict[str, Any], *_: object) -> None:
        names = job["names"]
        before = names[: names.index("bert/1.webp")] if "bert/1.webp" in names else names
        if before != names and not job["careful"]:
            del before[-1:]  # what was being written when it died is lost with it
        pictures.cover_all({**job, "names": before, "people": [""] * len(before)}, lambda *_: None)
        if "bert/1.webp" in names:
            raise WorkerDied("the worker was killed by signal 11")

    monkeypatch.setattr(images, "supervise", fragile)
    with pytest.raises(SomeFailed, match="1 of 4"):
        run_folder(folder, tmp_path / "out", Config(), Options(workers=1))
    told = journal(tmp_path / "out")
    assert {name for name, line in told.items() if "signal 11" in line["error"]} == {"bert/1.webp"}
    assert not (tmp_path / "out" / "bert" / "1.webp").exists()
    assert (tmp_path / "out" / "anna" / "2.png").exists(), "it was written when its successor was looked at"
    assert (tmp_path / "out" / "bert" / "2.tiff").exists()


def test_an_output_that_fails_with_new_settings_does_not_stay_behind(folder: Path, tmp_path: Path) -> None:
    run_folder(folder, tmp_path / "out", Config())
    (folder / "anna" / "1.jpg").write_bytes(b"\xff\xd8 broken now")
    with pytest.raises(SomeFailed):
        run_folder(folder, tmp_path / "out", Config())
    assert not (tmp_path / "out" / "anna" / "1.jpg").exists()


def test_labels_come_along_without_what_leads_back(folder: Path, tmp_path: Path) -> None:
    (folder / "people.csv").write_text("file,person\nanna/1.jpg,anna\n")
    coco = {
        "images": [{"id": 1, "file_name": "anna/1.jpg", "flickr_url": "http://x/1", "date_captured": "then"}],
        "annotations": [{"id": 7, "image_id": 1, "bbox": [1, 2, 3, 4]}],
    }
    (folder / "coco.json").write_text(json.dumps(coco))
    (folder / "thumbs.db").write_bytes(b"small faces")
    summary = run_folder(folder, tmp_path / "out", Config())
    made = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert made["images"] == [{"id": 1, "file_name": "anna/1.jpg"}]
    assert made["annotations"] == coco["annotations"]
    assert (tmp_path / "out" / "people.csv").read_text() == (folder / "people.csv").read_text()
    assert summary.left_behind == ("thumbs.db",)
    assert not (tmp_path / "out" / "thumbs.db").exists()


def test_what_could_be_a_picture_is_none_of_the_labels(tmp_path: Path) -> None:
    """As labelme writes them, and as others do: in a list, in lines, in a key, as a URI."""
    photo().save(tmp_path / "2.png")
    coded = base64.b64encode((tmp_path / "2.png").read_bytes()).decode()
    lines = base64.encodebytes((tmp_path / "2.png").read_bytes()).decode()
    uri = "data:image/svg+xml,%3Csvg%3E"
    shapes = [{"label": "anna", "points": [[1.5, 2], [3, 4]], "note": "no " * 999}]
    labelme = {"version": "5.0", "shapes": shapes, "imagePath": "2.png", "imageData": coded}
    others = {"a": [{"url": "http://x/1", "b": [coded, lines, uri, 7]}], "c": f"x {coded}", coded: 1}
    expected = [{k: v for k, v in labelme.items() if k != "imageData"},
                {"a": [{"b": [None, None, None, 7]}], "c": None}]  # fmt: skip
    for given, wanted in zip((labelme, others), expected, strict=True):
        (tmp_path / "given.json").write_text(json.dumps(given))
        labels.copy(tmp_path / "given.json", tmp_path / "made.json")
        assert json.loads((tmp_path / "made.json").read_text()) == wanted


@pytest.mark.parametrize("cell", ["base64", "lines", "data:image/gif;base64,R0lGOD", "bytes", "utf-16"])
def test_a_table_that_could_hold_pictures_is_left_out_and_told(
    cell: str, folder: Path, tmp_path: Path
) -> None:
    data = (folder / "anna" / "1.jpg").read_bytes()
    held = {"base64": base64.b64encode(data), "lines": base64.encodebytes(data), "bytes": data,
            "utf-16": "anna".encode("utf-16")}.get(cell, cell.encode())  # fmt: skip
    (folder / "table.csv").write_bytes(b"file,person,thumb\nanna/1.jpg,anna,x\n")
    (folder / "list.txt").write_text("000001\nanna-1\n" * 999 + "Jörg;ñ\n", encoding="latin-1")
    run_folder(folder, tmp_path / "out", Config())
    (folder / "table.csv").write_bytes(b"file,person,thumb\nanna/1.jpg,anna," + held + b"\n")
    with pytest.raises(SomeFailed, match=r"table\.csv"):
        run_folder(folder, tmp_path / "out", Config())
    assert not (tmp_path / "out" / "table.csv").exists(), "not even that of an earlier run"
    assert (tmp_path / "out" / "list.txt").read_bytes() == (folder / "list.txt").read_bytes()


def test_an_output_that_decodes_to_something_else_is_not_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(picture: picture_files.Picture, path: Path) -> None:
        photo().save(path, format=picture.format)  # the mark is still in it

    monkeypatch.setattr(picture_files, "write", careless)
    with pytest.raises(SomeFailed, match="4 of 4"):
        run_folder(folder, tmp_path / "out", Config())
    assert [p.name for p in (tmp_path / "out").rglob("*.*")] == [JOURNAL]


def test_metadata_in_an_output_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    photo().save(path)
    picture = picture_files.read(path, 1 << 20)
    exif = Image.Exif()
    exif[0x010F] = "camera"
    Image.fromarray(picture.samples).save(path, exif=exif)
    with pytest.raises(VerificationFailed, match="not the picture that was written"):
        picture_files.verify(picture, path)


def test_wrong_folders_are_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="beside it"):
        run_folder(folder, folder / "out", Config())
    with pytest.raises(InputMissing, match="no JPEG"):
        run_folder(tmp_path / "nothing", tmp_path / "out", Config())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep me")
    with pytest.raises(OutputExists, match="--overwrite"):
        run_folder(folder, tmp_path / "full", Config())


@pytest.mark.parametrize("size", [(4000, 3000), (3000, 4000), (1000, 1000), (320, 200), (2400, 300)])
def test_faces_come_back_from_the_canvas_in_pixels_of_the_picture(size: tuple[int, int]) -> None:
    canvas, scale = pictures.fitted(*size)
    assert size[0] * scale <= canvas[0] + 1e-6
    assert size[1] * scale <= canvas[1] + 1e-6
    mark = max(8, min(size) // 4)
    samples = np.full((size[1], size[0], 3), 120, np.uint8)
    x, y = size[0] // 2, size[1] // 3
    samples[y : y + mark, x : x + mark] = MARK
    picture = picture_files.Picture(samples, "RGB", "PNG", {}, True)
    (face,) = pictures.found(picture.frame(0), MarkFinder())  # type: ignore[arg-type]
    assert face.box.iou(Box(x, y, x + mark, y + mark)) > 0.8


def test_unsure_detections_are_not_covered() -> None:
    faces = [Face(Box(0, 0, 9, 9), score) for score in (0.9, 0.36, 0.34)]
    assert [track.score for track in pictures.as_tracks(faces, 0.35)] == [0.9, 0.36]


class PaintStudio:
    """Paints each face in a colour that follows from the key's file, the nonce and the track."""

    calls: ClassVar[list[tuple[bytes, int]]] = []
    asked: ClassVar[list[int | None]] = []  # for the candidate of which picture's person

    def __init__(self, settings: Synthetic, models: object, *_: object) -> None:
        assert settings.identity_key_file is not None
        self.key = settings.identity_key_file.read_bytes()

    def __enter__(self) -> PaintStudio:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def still(
        self, frame: Frame, tracks: tuple[Track, ...], nonce: bytes, candidate: int | None = None
    ) -> tuple[dict[int, Any], int | None]:
        def paint(track: Track, frame: Frame) -> None:
            self.calls.append((hashlib.sha256(self.key + nonce).digest(), track.id))
            box = track.box
            for plane in frame.planes[:3]:
                plane[int(box.y0) - 20 : int(box.y1) + 20, int(box.x0) - 20 : int(box.x1) + 20] = 33

        self.asked.append(candidate)
        taken = len(self.asked) if candidate is None else candidate
        return {track.id: partial(paint, track) for track in tracks}, taken


@pytest.mark.parametrize(("by", "identities"), [("image", 4), ("folder", 2), ("who", 3)])
def test_one_synthetic_person_for_each_image_folder_or_label(
    by: str, identities: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "Studio", PaintStudio)
    monkeypatch.setattr(PaintStudio, "calls", [])
    monkeypatch.setattr(PaintStudio, "asked", [])
    rows = "anna/1.jpg,x\nanna/2.png,y\nbert/1.webp,y\n"  # the fourth has no label: a person of its own
    (folder / "l.csv").write_text("file,who\n" + rows)
    config = Config.model_validate({"cover": {"replacewith": "synthetic"}})
    summary = run_folder(folder, tmp_path / "out", config, Options(identity_by=by, workers=2))
    assert summary.done == len(PaintStudio.calls) == 4
    assert summary.unnamed == (1 if by == "who" else 0)
    assert len(set(PaintStudio.calls)) == identities
    assert (np.asarray(Image.open(tmp_path / "out" / "anna" / "2.png"))[50, 60] == 33).all()


def test_a_person_keeps_the_candidate_of_their_first_picture(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "Studio", PaintStudio)
    monkeypatch.setattr(PaintStudio, "asked", [])
    (tmp_path / "key").write_bytes(b"k" * 32)
    config = Config.model_validate(
        {"cover": {"replacewith": "synthetic"}, "synthetic": {"identity_key_file": str(tmp_path / "key")}}
    )
    options = Options(identity_by="folder", workers=1)
    run_folder(folder, tmp_path / "out", config, options)
    seconds = [number for number in PaintStudio.asked if number is not None]
    assert seconds == [1, 5]  # pictures of anna and of bert
    (tmp_path / "out" / "bert" / sorted(p.name for p in (folder / "bert").iterdir())[0]).unlink()
    run_folder(folder, tmp_path / "out", config, options)  # goes on: who bert is, the journal tells
    assert PaintStudio.asked[-2] == 5


def test_who_somebody_was_under_a_key_that_is_lost_is_not_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "Studio", PaintStudio)
    config = Config.model_validate({"cover": {"replacewith": "synthetic"}})
    options = Options(identity_by="folder", workers=1)
    run_folder(folder, tmp_path / "out", config, options)
    (tmp_path / "out" / "anna" / "1.jpg").unlink()
    monkeypatch.setattr(PaintStudio, "asked", [])
    run_folder(folder, tmp_path / "out", config, options)
    assert PaintStudio.asked == [None, None]  # the person, and who else is there


def test_the_pictures_of_one_person_go_to_one_worker_in_order() -> None:
    names = [f"{n}.jpg" for n in range(9)]
    people = {"0.jpg": "a", "5.jpg": "a", "8.jpg": "a", "1.jpg": "b"}
    chunks = split(names, people, 4)
    assert sorted(name for chunk in chunks for name in chunk) == names
    assert [n for n in chunks[0] if people.get(n) == "a"] == ["0.jpg", "5.jpg", "8.jpg"]
    assert len(chunks) == 3


def test_the_key_of_a_run_is_gone_with_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "Studio", PaintStudio)
    config = Config.model_validate({"cover": {"replacewith": "synthetic"}})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run_folder(folder, tmp_path / "out", config)
    assert not list(tmp_path.glob("veilcast-key-*"))
    assert "key" not in (tmp_path / "out" / JOURNAL).read_text()


@pytest.mark.parametrize(
    ("table", "rows", "told"),
    [
        ("l.csv", "train/a.jpg,x", {"train/a.jpg": "who=x"}),
        ("l.csv", "a.jpg,x", {"train/a.jpg": "who=x"}),  # the only one of that name
        ("l.csv", "b.jpg,y\na.jpg,x", {"train/a.jpg": "who=x"}),  # two are called b.jpg: nobody knows which
        ("train/l.csv", "b.jpg,y", {"train/b.jpg": "who=y"}),  # beside it
    ],
)
def test_a_table_tells_pictures_by_path_or_by_a_name_that_one_of_them_has(
    tmp_path: Path, table: str, rows: str, told: dict[str, str]
) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / table).write_text("file,who\n" + rows)
    assert labels.people(tmp_path, ["train/a.jpg", "train/b.jpg", "test/b.jpg"], "who") == told


def test_a_table_of_other_pictures_is_no_table_of_these(folder: Path, tmp_path: Path) -> None:
    (folder / "l.csv").write_text("file,who\nelsewhere/7.jpg,x\n")
    with pytest.raises(ConfigError, match=r"no row of l\.csv"):
        run_folder(folder, tmp_path / "out", Config(), Options(identity_by="who"))
    assert not (tmp_path / "out").exists()


def test_a_column_that_no_table_has_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="column 'person'"):
        run_folder(folder, tmp_path / "out", Config(), Options(identity_by="person"))

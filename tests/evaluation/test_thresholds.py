"""Thresholds from labelled pictures."""

from __future__ import annotations

import csv
import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.evaluation.people import POINTS, Finder, judges, portrait, save, scene

from veilcast.errors import ConfigError, EvaluationFailed, InputMissing
from veilcast.evaluation import labelled, thresholds

PLACE = (20, 30)


def folder(root: Path, people: int) -> Path:
    for person in range(people):
        for n in range(3):
            save(scene([(portrait(person, n), *PLACE)]), root / f"p{person:02d}" / f"{n}.png")
    return root


def test_a_folder_by_person_sets_a_threshold(tmp_path: Path) -> None:
    portraits = labelled.portraits(folder(tmp_path / "set", 25), Finder([PLACE]))
    (row,) = thresholds.calibrated(portraits, judges())
    assert (row.people, row.genuine_pairs, row.impostor_pairs) == (25, 75, 25 * 3 * 24 * 3)
    assert row.tar == 1  # drawn people are easy to tell
    assert 0.2 < row.threshold < 0.99
    thresholds.write([row], tmp_path / "t.json")
    assert thresholds.read(tmp_path / "t.json") == {"grid": row.threshold}


def test_too_few_people_set_nothing(tmp_path: Path) -> None:
    with pytest.raises(EvaluationFailed, match="too few pictures"):
        thresholds.calibrated(labelled.portraits(folder(tmp_path, 3), Finder([PLACE])), judges())


def test_a_folder_without_people_is_told(tmp_path: Path) -> None:
    save(scene([]), tmp_path / "alone.png")
    with pytest.raises(InputMissing, match="one folder per person"):
        thresholds.calibrated(labelled.portraits(tmp_path, Finder([PLACE])), judges())


def test_of_a_pack_only_the_held_out_people_are_used(tmp_path: Path) -> None:
    names = [f"person-{n}" for n in range(60)]
    kept = [n for n in names if labelled.held_out(n)]
    assert 0 < len(kept) < 20
    columns = ["shard", "key", "identity", "inside", *(f"{p}_{a}" for p in labelled.POINTS for a in "xy")]
    with (
        tarfile.open(tmp_path / "a.tar", "w") as archive,
        gzip.open(tmp_path / labelled.INDEX, "wt", newline="") as index,
    ):
        writer = csv.writer(index)
        writer.writerow(columns)
        for n, name in enumerate(names):
            data = io.BytesIO()
            Image.fromarray(portrait(n)).save(data, "WEBP", lossless=True)
            member = tarfile.TarInfo(f"{n}.webp")
            member.size = len(data.getvalue())
            archive.addfile(member, io.BytesIO(data.getvalue()))
            writer.writerow(["a.tar", f"{n}.webp", name, 1.0, *POINTS.ravel()])
    found = list(labelled.portraits(tmp_path, Finder([])))
    assert sorted(p.person for p in found) == sorted(kept)
    assert found[0].rgb.shape == (64, 64, 3)
    assert np.allclose(found[0].landmarks, POINTS)


def test_a_file_that_holds_no_thresholds_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"grid": 0.5}')
    with pytest.raises(ConfigError, match="--calibrate"):
        thresholds.read(tmp_path / "t.json")


def test_labels_are_read_by_clip_and_frame(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("clip,frame,x,y,width,height\na.mp4,3,10,20,30,40\na.mp4,3,1,2,3,4\n")
    boxes = labelled.read_boxes(tmp_path / "l.csv")
    assert [(b.x0, b.y0, b.x1, b.y1) for b in boxes["a.mp4", 3]] == [(10, 20, 40, 60), (1, 2, 4, 6)]
    (tmp_path / "l.csv").write_text("clip,frame\na.mp4,3\n")
    with pytest.raises(ConfigError, match="needs the columns"):
        labelled.read_boxes(tmp_path / "l.csv")

"""People who lie, and cameras that hang upside down: networks know upright faces alone."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from veilcast.config import Detect
from veilcast.errors import ModelMissing
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.detect import FaceFinder, open_detector
from veilcast.pipeline.detectors.candidates import Candidates, nothing, surer
from veilcast.pipeline.detectors.network import CENTERFACE, YUNET, Kind, NetworkDetector
from veilcast.pipeline.looks import LYING, turned
from veilcast.pipeline.schedule import CLOSE_EVERY
from veilcast.trackers.life import lies
from veilcast.trt_engines.models import Models
from veilcast.types import Face, Frame, PixelFormat, Rgb

GREY = PixelFormat("gray", "grey", 8)
SIZE = (640, 360)
EVERY_FRAME = Detect(look_s=0)
CYCLE = 3  # looks in which the picture is turned in all three ways
QUARTERS = pytest.mark.parametrize("quarters", [1, 2, 3])


class Upright:
    """Stands in for a network that sees a bright rectangle where its upper half is the brighter one, and
    otherwise with the score `lying`; in pictures whose longer side is more than `least_px`."""

    def __init__(self, kind: Kind, score: float = 0.8, lying: float = 0.0, least_px: int = 0) -> None:
        self.kind, self._score, self._lying, self._least_px, self.asked = kind, score, lying, least_px, 0

    def ready(self, width: int, height: int) -> None:
        """Nothing has to be opened."""

    def candidates(self, rgb: Rgb, thresh: float) -> Candidates:
        self.asked += 1
        rows, columns = np.nonzero(rgb[:, :, 0] > 100)
        if not rows.size or max(rgb.shape) <= self._least_px:
            return nothing()
        x0, y0, x1, y1 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        upper, lower = np.array_split(rgb[y0:y1, x0:x1, 0].astype(float), 2)
        score = self._score if upper.mean() > lower.mean() + 30 else self._lying
        if score < thresh:
            return nothing()
        five = np.array([[0.3, 0.3], [0.7, 0.3], [0.5, 0.5], [0.3, 0.8], [0.7, 0.8]]) * [x1 - x0, y1 - y0]
        return Candidates(
            np.array([[x0, y0, x1, y1]], np.float32),
            np.array([score], np.float32),
            (five + np.array([x0, y0]))[None].astype(np.float32),
        )


def finder(score: float = 0.8, lying: float = 0.0, least_px: int = 0) -> tuple[FaceFinder, list[Upright]]:
    networks = [Upright(kind, score, lying, least_px) for kind in (CENTERFACE, YUNET)]
    return FaceFinder({n.kind.name: cast(NetworkDetector, n) for n in networks}, EVERY_FRAME), networks


def scene(index: int, quarters: int = 0, there: bool = True, side: int = 48) -> Frame:
    """A face turned clockwise by so many quarters."""
    plane = np.full(SIZE[::-1], 40, np.uint8)
    if there:
        face = np.full((side, side), 120, np.uint8)
        face[: side // 2] = 240
        plane[60 : 60 + side, 100 : 100 + side] = np.rot90(face, -quarters)
    return Frame(index, index, Fraction(1, 25), (plane,), GREY)


def corners(face: Face) -> list[float]:
    return [face.box.x0, face.box.y0, face.box.x1, face.box.y1]


def seen_in(eyes: FaceFinder, frames: Iterable[Frame]) -> list[int]:
    return [frame.index for frame in frames if eyes.find(frame)]


@QUARTERS
def test_who_lies_in_the_first_frame_is_found_there(quarters: int) -> None:
    eyes, _ = finder()
    faces = eyes.find(scene(0, quarters)) or ()
    assert len(faces) == 1
    (face,) = faces
    assert corners(face) == pytest.approx([100, 60, 148, 108], abs=2)
    assert lies(face.landmarks)
    assert face.landmarks is not None
    middle, eyes_middle = np.array([124, 84]), face.landmarks[:2].mean(axis=0)
    up = {1: [1, 0], 2: [0, 1], 3: [-1, 0]}[quarters]
    assert (eyes_middle - middle) @ np.array(up) > 5, "eyes are where the turned face has its forehead"


@QUARTERS
def test_who_lies_down_later_is_found_within_three_looks_and_then_seen_in_all(quarters: int) -> None:
    """But for the next one, which may be under way already."""
    eyes, _ = finder()
    film = [scene(n, quarters, there=n >= 5) for n in range(5 + 3 * CYCLE)]
    first, *later = seen_in(eyes, film)
    assert first < 5 + CYCLE
    assert {*range(first + 2, len(film))} <= {*later}


@QUARTERS
def test_a_camera_that_hangs_otherwise_is_noticed_by_small_faces_too(quarters: int) -> None:
    """In the first frame, and where somebody comes later within seconds."""
    eyes, _ = finder(least_px=320)
    assert eyes.find(scene(0, quarters, side=20))
    later, _ = finder(least_px=320)
    film = [scene(n, quarters, there=n >= 5, side=20) for n in range(5 + 3 * CLOSE_EVERY)]
    assert seen_in(later, film)


@QUARTERS
def test_who_lies_in_a_single_picture_is_found(quarters: int) -> None:
    eyes, _ = finder()
    faces = eyes.still(scene(0, quarters))
    assert [corners(face) for face in faces] == [pytest.approx([100, 60, 148, 108], abs=2)]


def test_a_whole_file_gives_what_frame_by_frame_gives() -> None:
    film = [scene(n, 3, there=n >= 5) for n in range(20)]
    one_by_one = seen_in(finder()[0], film)
    assert [f.index for f, look in finder()[0].find_all(film) if look and look.faces] == one_by_one


def test_who_stands_is_seen_upright_however_much_the_turned_picture_shows_them() -> None:
    eyes, networks = finder(lying=0.75)
    for n in range(6):
        (face,) = eyes.find(scene(n)) or ()
        assert not lies(face.landmarks)
    assert networks[0].asked <= 2 * 6, "the better network does not look at turned pictures for that"


@pytest.mark.parametrize(("score", "starts"), [(LYING + 0.05, True), (LYING - 0.05, False)])
def test_who_is_not_surely_lying_starts_no_track(score: float, starts: bool) -> None:
    """One network sees them and the other does not."""
    better, light = Upright(CENTERFACE, 0), Upright(YUNET, YUNET.own(score))
    eyes = FaceFinder({n.kind.name: cast(NetworkDetector, n) for n in (better, light)}, EVERY_FRAME)
    (face,) = eyes.find(scene(0, 2)) or ()
    assert (face.score >= EVERY_FRAME.thresh) == starts


def test_turned_candidates_lie_where_the_turned_picture_shows_them() -> None:
    """In the picture of 640x360 a point near its upper right corner; four quarters are none."""
    one = Candidates(
        np.array([[600, 10, 630, 30]], np.float32),
        np.array([0.5], np.float32),
        np.full((1, 5, 2), (610, 20), np.float32),
    )
    places = [one.turned(n, SIZE).boxes[0].tolist() for n in range(5)]
    assert places[1] == [330, 600, 350, 630], "lower right"
    assert places[2] == [10, 330, 40, 350], "lower left"
    assert places[3] == [10, 10, 30, 40], "upper left"
    assert places[4] == places[0]
    assert one.turned(1, SIZE).points[0, 0].tolist() == [340, 610]
    assert one.turned(3, SIZE).turned(-3, SIZE[::-1]).boxes.tolist() == one.boxes.tolist()


def test_of_two_in_one_place_the_surer_one_stays() -> None:
    box = np.array([[10, 10, 50, 50]], np.float32)
    points = np.zeros((1, 5, 2), np.float32)
    sure, unsure = (Candidates(box, np.array([s], np.float32), points) for s in (0.7, 0.6))
    assert len(surer(sure, unsure)) == 1
    assert len(surer(unsure, sure)) == 0
    assert len(surer(unsure, sure.moved(1, 1, x=200))) == 1
    assert len(surer(unsure, nothing())) == 1


@pytest.mark.shared
@QUARTERS
def test_seven_people_are_found_however_a_real_picture_is_turned(shared: Path, quarters: int) -> None:
    models = Models()
    try:
        for name in (CENTERFACE.name, YUNET.name):
            models.file(name)
    except ModelMissing:
        pytest.skip("no detector weights in the cache: veilcast models pull")
    with (
        Decoder(shared / "videos/group7_stock_640x360.mp4") as decoder,
        open_detector(Detect(), models) as real,
    ):
        faces = real.find(turned(next(iter(decoder.frames())), quarters)) or ()
    assert sum(face.score > 0.9 and lies(face.landmarks) for face in faces) >= 6

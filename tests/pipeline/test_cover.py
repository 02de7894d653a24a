from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilcast.config import Cover
from veilcast.errors import PrivacyTripped
from veilcast.pipeline import cover as covering
from veilcast.pipeline.cover import black, cover, is_solid, regions, subsampling
from veilcast.pipeline.shapes import Ellipse, Polygon, Rect, Region, Whole, alpha, pooled
from veilcast.pipeline.strength import weakness
from veilcast.types import Box, Colour, Frame, Orientation, PixelFormat, Plane, Track, TrackState

SIZE = (96, 64)
FORMATS = [
    PixelFormat("yuv420p", "yuv", 8, 1, 1),
    PixelFormat("yuv422p10le", "yuv", 10, 1, 0),
    PixelFormat("yuv444p", "yuv", 8),
    PixelFormat("yuv411p", "yuv", 8, 2, 0),
    PixelFormat("yuv410p", "yuv", 8, 2, 2),
    PixelFormat("gbrp10le", "rgb", 10),
    PixelFormat("gray", "grey", 8),
    PixelFormat("yuva420p", "yuv", 8, 1, 1, alpha=True),
]
METHODS = ["solid", "mosaic", "blur"]


def noise(
    format: PixelFormat = FORMATS[0],
    size: tuple[int, int] = SIZE,
    orientation: Orientation | None = None,
    strided: bool = False,
    full_range: bool | None = False,
) -> Frame:
    rng = np.random.default_rng(7)
    width, height = size
    count = {"yuv": 3, "rgb": 3, "grey": 1}[format.family] + format.alpha

    def plane(n: int) -> Plane:
        chroma = format.family == "yuv" and n in (1, 2)
        w = -(-width >> format.log2_chroma_w) if chroma else width
        h = -(-height >> format.log2_chroma_h) if chroma else height
        step = 3 if strided else 1
        samples = rng.integers(30, (1 << format.depth) - 30, (h, w * step)).astype(format.dtype)
        return samples[:, ::step]

    planes = tuple(plane(n) for n in range(count))
    colour = Colour(full_range=full_range)
    return Frame(0, 0, Fraction(1, 25), planes, format, colour, orientation or Orientation())


def copies(frame: Frame) -> list[Plane]:
    return [plane.copy() for plane in frame.planes]


def track(box: Box, state: TrackState = TrackState.CONFIRMED, keep: bool = False, id: int = 1) -> Track:
    return Track(id, box, None, state, 0, keep=keep)


def support(
    frame: Frame, region: Region, feather_px: float, plane: int
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Which samples of a plane a region covers, made over the whole picture."""
    mask = alpha(region, Rect(0, 0, *frame.size), feather_px)
    return pooled(mask, *subsampling(frame)[plane]) > 0


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strided", [False, True])
def test_every_sample_outside_the_mask_is_unchanged(format: PixelFormat, method: str, strided: bool) -> None:
    frame = noise(format, strided=strided)
    before = copies(frame)
    face = Ellipse(40.3, 30.8, 15, 19, 1)
    chosen = Cover(replacewith=method)
    cover(frame, [face], chosen)
    feather_px = 0 if method == "solid" else chosen.feather * 38
    for n, (plane, old) in enumerate(zip(frame.planes, before, strict=True)):
        mask = support(frame, face, feather_px, n)
        assert np.array_equal(plane[~mask], old[~mask])
        assert np.mean(plane[mask] != old[mask]) > 0.7


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
def test_solid_is_one_colour_in_every_plane_straddling_samples_included(format: PixelFormat) -> None:
    frame = noise(format, size=(97, 65))
    face = Ellipse(90.5, 60.5, 11, 13, 1)  # odd sizes, at the border
    cover(frame, [face], Cover())
    for n, plane in enumerate(frame.planes):
        assert (plane[support(frame, face, 0, n)] == black(frame, n)).all()


def test_black_is_the_black_of_the_format() -> None:
    limited, full = noise(), noise(full_range=True)
    assert [black(limited, n) for n in range(3)] == [16, 128, 128]
    assert black(full, 0) == 0
    assert [black(noise(FORMATS[1]), n) for n in range(3)] == [64, 512, 512]
    assert [black(noise(FORMATS[5]), n) for n in range(3)] == [0, 0, 0]
    assert black(noise(FORMATS[7]), 3) == 255


def test_faces_are_painted_in_the_order_that_is_given() -> None:
    painted: list[int] = []
    shapes = [Ellipse(20.0 * n, 30, 5, 5, n) for n in (1, 2, 3)]
    faces = {n: lambda _, n=n: painted.append(n) for n in (3, 1)}
    made = cover(noise(), shapes, Cover(), faces)
    assert painted == [3, 1]
    assert made.regions == tuple(shapes)
    assert made.solid == (shapes[1],)


@pytest.mark.parametrize("method", METHODS)
def test_the_inside_of_the_face_tells_no_detail(method: str) -> None:
    """Noise inside the cover is gone: of what was there nothing but cell means is left."""
    frame = noise(FORMATS[2], size=(200, 200))
    before = copies(frame)
    cover(frame, [Ellipse(100, 100, 60, 80, 1)], Cover(replacewith=method))
    inside = (slice(60, 140), slice(70, 130))
    for plane, old in zip(frame.planes, before, strict=True):
        now, was = plane[inside].astype(float), old[inside].astype(float)
        assert now.std() < 0.15 * was.std()


def test_mosaic_and_blur_keep_a_bounded_number_of_cells_at_any_size() -> None:
    for side in (20, 60, 180):
        frame = noise(FORMATS[6], size=(200, 200))
        cover(frame, [Ellipse(100, 100, side / 2, side / 2, 1)], Cover(replacewith="mosaic", feather=0))
        reach = round(side / 2 * 0.7)
        inside = frame.planes[0][100 - reach : 100 + reach, 100 - reach : 100 + reach]
        edges = np.count_nonzero(np.diff(inside.astype(int), axis=1).any(axis=0))
        assert edges <= Cover().cells


@pytest.mark.parametrize("method", ["mosaic", "blur"])
def test_mosaic_and_blur_fill_the_ellipse(method: str) -> None:
    """The feather lies outside: within the ellipse not one bright sample of the source is left."""
    frame = noise(FORMATS[6], size=(200, 200))
    frame.planes[0][:] = 0
    frame.planes[0][::4, ::4] = 255
    face = Ellipse(100, 100, 60, 80, 1)
    cover(frame, [face], Cover(replacewith=method))
    assert frame.planes[0][support(frame, face, 0, 0)].max() < 60


def test_coarse_covers_keep_few_levels() -> None:
    frame = noise(FORMATS[6], size=(200, 200))
    frame.planes[0][:] = np.linspace(0, 255, 200).astype(np.uint8)[None]
    cover(frame, [Ellipse(100, 100, 90, 90, 1)], Cover(replacewith="mosaic", cells=60, levels=4, feather=0))
    assert set(np.unique(frame.planes[0][60:140, 60:140])) <= {0, 64, 128, 192, 255}


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_face_is_covered_where_it_is_shown(turns: int, mirrored: bool) -> None:
    orientation = Orientation(turns, mirrored)
    frame = noise(FORMATS[0], size=(97, 65), orientation=orientation)
    width, height = frame.displayed_size
    face = Ellipse(width * 0.25, height * 0.7, 8, 12, 1)
    cover(frame, [face], Cover())
    stored = frame.planes[0][:, ::-1] if mirrored else frame.planes[0]
    shown = np.rot90(stored, -turns)
    mask = alpha(face, Rect(0, 0, width, height), 0) > 0
    assert np.array_equal(shown == 16, mask)


@pytest.mark.parametrize("method", METHODS)
def test_a_whole_picture_is_always_solid(method: str) -> None:
    frame = noise()
    cover(frame, [Whole("damaged")], Cover(replacewith=method))
    assert [set(np.unique(plane)) for plane in frame.planes] == [{16}, {128}, {128}]


def test_a_zone_is_burned_in() -> None:
    frame = noise()
    cover(frame, [Polygon(((10, 10), (30, 10), (30, 25), (10, 25)))], Cover())
    assert (frame.planes[0][10:25, 10:30] == 16).all()
    assert (frame.planes[0][:8] != 16).all()


@pytest.mark.parametrize("method", ["mosaic", "blur"])
def test_a_method_that_fails_is_replaced_by_solid(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr(covering, "_coarse", broken)
    frame = noise()
    face = Ellipse(40, 30, 15, 19, 1)
    covered = cover(frame, [face], Cover(replacewith=method))
    assert covered.failures == (f"{method} failed: MemoryError",)
    assert covered.solid == (face,)
    assert (frame.planes[0][support(frame, face, 0, 0)] == 16).all()


def test_a_painter_that_fails_half_way_leaves_solid() -> None:
    def broken(frame: Frame) -> None:
        frame.planes[0][30, 40] = 200
        raise RuntimeError("too alike")

    frame = noise()
    faces = [Ellipse(40, 30, 15, 19, 1), Ellipse(70, 30, 8, 8, 2)]
    covered = cover(frame, faces, Cover(), {1: broken})
    assert covered.solid == tuple(faces)
    assert is_solid(frame, faces)


def test_a_painter_draws_its_own_track_and_solid_covers_the_others() -> None:
    def paint(frame: Frame) -> None:
        frame.planes[0][20:40, 30:80] = 99

    frame = noise()
    drawn, plain = Ellipse(40, 30, 15, 19, 1), Ellipse(75, 30, 12, 12, 2)
    covered = cover(frame, [drawn, plain], Cover(), {1: paint})
    assert covered.solid == (plain,)
    assert frame.planes[0][30, 40] == 99
    assert is_solid(frame, [plain])


def wanted(tracks: Sequence[Track], chosen: Cover | None = None) -> tuple[Region, ...]:
    return regions(tracks, (), SIZE, chosen or Cover())


def test_every_state_of_a_track_is_covered() -> None:
    box = Box(10, 10, 30, 40)
    for state in TrackState:
        assert wanted([track(box, state)]) == wanted([track(box)])


def test_the_ellipse_is_the_box_scaled_with_a_margin() -> None:
    (region,) = wanted([track(Box(10, 10, 30, 40))], Cover(mask_scale=1.4, margin_px=2))
    assert isinstance(region, Ellipse)
    assert (region.x, region.y, region.rx, region.ry) == pytest.approx((20, 25, 16, 23))
    assert region.track == 1


@pytest.mark.parametrize("box", [Box(-np.inf, 0, 10, 10), Box(0, 0, np.inf, np.inf)])
def test_a_box_that_is_not_finite_covers_the_whole_picture(box: Box) -> None:
    (region,) = wanted([track(box), track(Box(1, 1, 5, 5))])
    assert isinstance(region, Whole)


def test_a_face_outside_the_picture_needs_no_cover() -> None:
    assert wanted([track(Box(200, 10, 220, 30))]) == ()


def test_keep_counts_only_where_it_is_allowed() -> None:
    kept = track(Box(10, 10, 30, 40), keep=True)
    assert len(wanted([kept])) == 1
    assert wanted([kept], Cover(allow_keep=True)) == ()


def test_a_lost_track_holds_slates_or_stops() -> None:
    lost = track(Box(10, 10, 30, 40), TrackState.LOST)
    assert wanted([lost], Cover(on_lost="hold")) == wanted([track(Box(10, 10, 30, 40))])
    assert wanted([lost], Cover(on_lost="slate")) == (Whole("track 1 lost"),)
    with pytest.raises(PrivacyTripped, match="track 1 was lost"):
        wanted([lost], Cover(on_lost="stop"))


@pytest.mark.parametrize("method", ["mosaic", "blur"])
def test_grey_stays_grey_under_coarse_covers(method: str) -> None:
    frame = noise()
    for plane in frame.planes:
        plane[:] = 128
    cover(frame, [Ellipse(40, 30, 15, 19, 1)], Cover(replacewith=method))
    assert all((plane == 128).all() for plane in frame.planes)


def test_a_setting_that_is_too_weak_warns() -> None:
    assert weakness(Cover()) is None
    assert weakness(Cover(replacewith="blur")) is None
    assert "recognisable" in (weakness(Cover(replacewith="mosaic", cells=20)) or "")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(-80, 200)] * 2, *[st.floats(0, 90)] * 2), max_size=4),
    st.sampled_from(METHODS),
    st.sampled_from(FORMATS),
    st.tuples(st.integers(1, 97), st.integers(1, 65)),
)
def test_any_boxes_on_any_picture_are_covered_and_the_rest_stays(
    boxes: list[tuple[float, float, float, float]],
    method: str,
    format: PixelFormat,
    size: tuple[int, int],
) -> None:
    frame = noise(format, size)
    before = copies(frame)
    chosen = Cover(replacewith=method)
    tracks = [track(Box(x, y, x + w, y + h), id=n) for n, (x, y, w, h) in enumerate(boxes)]
    shapes = regions(tracks, (), frame.displayed_size, chosen)
    covered = cover(frame, shapes, chosen)
    assert covered.failures == ()
    for n, (plane, old) in enumerate(zip(frame.planes, before, strict=True)):
        touched = np.zeros(plane.shape, np.bool_)
        for shape in shapes:
            assert isinstance(shape, Ellipse)
            feather_px = 0 if method == "solid" else chosen.feather * 2 * max(shape.rx, shape.ry)
            touched |= support(frame, shape, feather_px, n)
        assert np.array_equal(plane[~touched], old[~touched])
        if method == "solid":
            assert (plane[touched] == black(frame, n)).all()

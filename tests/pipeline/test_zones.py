from fractions import Fraction
from pathlib import Path

import pytest

from veilcast.errors import ConfigError
from veilcast.pipeline.shapes import Polygon
from veilcast.pipeline.zones import Zone, at, parse

TRIANGLE = Polygon(((1, 2), (30, 2), (30, 20)))


def test_polygons_on_the_command_line() -> None:
    assert parse("1,2 30,2 30,20; 5,5 9,5 9,9.5 ") == (
        Zone(TRIANGLE),
        Zone(Polygon(((5, 5), (9, 5), (9, 9.5)))),
    )
    assert parse("") == ()


@pytest.mark.parametrize("text", ["1,2 3,4", "a,b c,d e,f", "1,2,3 4,5,6 7,8,9", "nan,1 2,3 4,5"])
def test_what_is_no_polygon_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a polygon"):
        parse(text)


def test_zones_from_a_file_with_times(tmp_path: Path) -> None:
    file = tmp_path / "zones.toml"
    file.write_text("[[zone]]\npoints = [[1, 2], [30, 2], [30, 20]]\nstart_s = 2\nend_s = 4.5\n")
    zones = parse(str(file))
    assert zones == (Zone(TRIANGLE, 2.0, 4.5),)
    covered = [bool(at(zones, Fraction(n, 2))) for n in range(12)]
    assert covered == [4 <= n < 9 for n in range(12)]
    assert at((Zone(TRIANGLE, 0.4, 0.6),), Fraction(2, 5)) == (TRIANGLE,)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "zone = 3",
        "[[zone]]\npoints = [[1, 2]]",
        "[[zone]]\npoint = [[1, 2], [3, 4], [5, 6]]",
        "[[zone]]\npoints = [[1, 2], [3, 4], [5, 6]]\nuntil = 3",
        "[[zone]]\npoints = [[1, 2], [3, 4], [5, 6]]\nstart_s = 3\nend_s = 3",
        "[[zone]]\npoints = [[1, 2], [3, 4], [5, 6]]\nstart_s = inf",
        "[[zone]]\npoints = [[1, 2], [3, 4], [5, 6]]\nend_s = 1e400",
        "[[zone]\n",
        "other = 1\n[[zone]]\npoints = [[1, 2], [3, 4], [5, 6]]",
    ],
)
def test_a_file_that_says_anything_else_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "zones.toml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"zones\.toml"):
        parse(str(file))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the zones file"):
        parse(str(tmp_path / "none.toml"))

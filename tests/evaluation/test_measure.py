"""One pass over clips whose truth is known, down to the result and its files."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.people import FACE_PX, Array, Finder, judges, portrait, save, scene

from veilcast.errors import ConfigError, EvaluationFailed
from veilcast.evaluation import report
from veilcast.evaluation.gallery import of_originals
from veilcast.evaluation.measure import ClipMeter, Measured, Options, measured
from veilcast.evaluation.pairs import Clip, FramePair, clips
from veilcast.evaluation.summary import Result, check_control, summary

PLACES = [(20, 30), (200, 120)]
THRESHOLDS = {"grid": 0.7}


def solid(picture: Array, place: tuple[int, int]) -> Array:
    out = picture.copy()
    x, y = place
    out[y - 8 : y + FACE_PX + 8, x - 8 : x + FACE_PX + 8] = 0
    return out


def film(outputs: list[Array], originals: list[Array], options: Options | None = None) -> Measured:
    into = Measured()
    clip = Clip(Path("in.mp4"), Path("out.mp4"), "in.mp4")
    meter = ClipMeter(clip, [Finder(PLACES)], judges(), options or Options(every=1), into)
    for t, (a, b) in enumerate(zip(originals, outputs, strict=True)):
        meter.look(FramePair(t, t / 25, a, b))
    meter.close()
    return into


def two_people(frames: int) -> list[Array]:
    return [scene([(portrait(1, t), *PLACES[0]), (portrait(2, t), *PLACES[1])]) for t in range(frames)]


def covered(picture: Array) -> Array:
    return solid(solid(picture, PLACES[0]), PLACES[1])


def test_a_covered_film_exposes_nobody_and_is_recognised_by_nobody() -> None:
    originals = two_people(10)
    result = summary(film([covered(p) for p in originals], originals), THRESHOLDS)
    assert result["coverage"]["faces"] == 20
    assert result["coverage"]["exposed"] == 0
    assert result["coverage"]["identities"] == 2
    assert result["coverage"]["false_cover"] == 0
    (row,) = result["reidentification"]
    assert (row["tar"], row["control"]) == (0, 1)
    assert 0 < row["tar_upper"] < 0.2
    assert result["utility"]["detected_share"]["mean"] == 0
    assert result["quality"]["outside_difference_levels"] == 0


def test_an_untouched_film_exposes_everybody() -> None:
    originals = two_people(6)
    result = summary(film(originals, originals), THRESHOLDS)
    assert (result["coverage"]["exposed"], result["coverage"]["longest_run"]) == (12, 6)
    assert result["coverage"]["covered_share"] == 0
    assert result["reidentification"][0]["tar"] == 1
    assert result["time"]["tl_id"]["grid"] == pytest.approx(1)
    assert result["time"]["warping_error"] == pytest.approx(result["time"]["source_warping_error"])


def test_one_leaked_face_in_one_frame_is_found_in_every_table() -> None:
    originals = two_people(12)
    outputs = [covered(p) for p in originals]
    outputs[7] = solid(originals[7], PLACES[0])  # the second person shows
    result = summary(film(outputs, originals), THRESHOLDS)
    assert (result["coverage"]["exposed"], result["coverage"]["longest_run"]) == (1, 1)
    assert result["coverage"]["identities_exposed"] == 1
    (row,) = result["reidentification"]
    assert row["tar"] == pytest.approx(1 / 24)
    assert (row["tracks"], row["tracks_matched"]) == (2, 1)


def test_a_leak_between_the_frames_that_networks_see_is_still_exposed() -> None:
    originals = two_people(12)
    outputs = [covered(p) for p in originals]
    outputs[5] = originals[5]
    result = summary(film(outputs, originals, Options(every=6)), THRESHOLDS)
    assert result["coverage"]["exposed"] == 2
    assert result["reidentification"][0]["faces"] == 2 * 6


def test_a_face_moved_away_is_not_privacy() -> None:
    # the output's face is shifted: aligned from the original, it is not where it was
    originals = two_people(6)
    swapped = [scene([(portrait(2, t), *PLACES[0]), (portrait(1, t), *PLACES[1])]) for t in range(6)]
    result = summary(film(swapped, originals), THRESHOLDS)
    assert result["coverage"]["exposed"] == 0
    assert result["reidentification"][0]["tar"] == 0
    assert result["utility"]["detected_share"]["mean"] == 1


def test_what_a_network_says_of_a_cover_is_no_utility(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two people one is covered: ages are compared for the other alone."""
    thirty = replace(judges(), people=lambda crops: np.full((len(crops), 2), (30.0, 0.9), np.float32))
    monkeypatch.setattr("tests.evaluation.test_measure.judges", lambda: thirty)
    originals = two_people(4)
    result = summary(film([solid(p, PLACES[0]) for p in originals], originals), THRESHOLDS)
    assert result["utility"]["detected_share"] == {"mean": 0.5, "source_noise": None, "faces": 8}
    assert result["utility"]["age_error_years"]["faces"] == 4
    assert result["utility"]["gender_agreement_share"]["mean"] == 1


def test_a_face_that_flashes_in_one_frame_is_told() -> None:
    originals = two_people(4)
    flashing = [np.minimum(p, 225) + np.uint8(30 * (i == 2)) for i, p in enumerate(originals)]
    calm, told = (summary(film(p, originals), THRESHOLDS)["time"] for p in (originals, flashing))
    assert calm["flash_levels"] == calm["flash_levels_p99"] == 0
    assert told["flash_levels"] == pytest.approx(20, abs=1)  # two of three steps
    assert told["flash_levels_p99"] == pytest.approx(30, abs=1)


def test_missing_networks_leave_their_figures_out() -> None:
    result = summary(film(two_people(4), two_people(4)), THRESHOLDS)
    assert result["utility"]["pose_error_degrees"]["mean"] is None
    assert result["time"]["tlpips"] is None
    assert result["fairness"]["age_band_estimated"] == {}
    assert result["fairness"]["skin_tone_estimated"] != {}


def test_a_blind_recogniser_fails_the_evaluation_instead_of_calling_it_private() -> None:
    originals = two_people(4)
    result = summary(film([covered(p) for p in originals], originals), {"grid": 0.99999})
    with pytest.raises(EvaluationFailed, match="untouched faces"):
        check_control(result)
    check_control(summary(film(originals, originals), THRESHOLDS))


def test_a_recogniser_without_a_threshold_is_an_error() -> None:
    with pytest.raises(ConfigError, match="--calibrate"):
        summary(film(two_people(3), two_people(3)), {})


def test_labelled_faces_count_where_no_detector_sees_them() -> None:
    originals = [scene([]) for _ in range(3)]
    into = Measured()
    clip = Clip(Path("in.mp4"), Path("out.mp4"), "in.mp4")
    meter = ClipMeter(clip, [Finder(PLACES)], judges(), Options(), into)
    face = Finder(PLACES)(two_people(1)[0])[0]
    for t, picture in enumerate(originals):
        meter.look(FramePair(t, t / 25, picture, picture), [face.box])
    meter.close(labelled=True)
    assert (into.coverage[0].faces, into.coverage[0].exposed) == (3, 3)


@pytest.fixture
def people_folders(tmp_path: Path) -> tuple[Path, Path]:
    """Twelve people with three pictures each, and outputs in which each is another person."""
    for person in range(12):
        for n in range(3):
            name = f"p{person:02d}/{n}.png"
            save(scene([(portrait(person, n), *PLACES[0])]), tmp_path / "in" / name)
            save(scene([(portrait(100 + person, n), *PLACES[0])]), tmp_path / "out" / name)
    return tmp_path / "in", tmp_path / "out"


def ranked(original: Path, output: Path) -> Result:
    seen = measured(clips(original, output), [Finder(PLACES)], judges(), Options())
    return summary(seen, THRESHOLDS, of_originals(seen))


def test_clean_pictures_are_found_in_the_gallery_and_new_faces_are_not(
    people_folders: tuple[Path, Path],
) -> None:
    original, output = people_folders
    (row,) = ranked(original, output)["reidentification"]
    assert row["rank1_control"] == 1
    assert row["rank1"] < 0.3
    assert row["gallery_people"] == 12
    assert row["attacks"]["strangers_share"] < 0.1
    # one new face for each person is linkable inside its scope, and pictures are clips
    assert row["attacks"]["clips_of_two_scopes_share"] == 1
    (untouched,) = ranked(original, original)["reidentification"]
    assert untouched["rank1"] == 1


def test_the_json_has_exactly_the_keys_that_were_promised(
    people_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    result = ranked(*people_folders)
    report.write_json(result, tmp_path / "r.json")
    read = json.loads((tmp_path / "r.json").read_text())
    assert list(read) == ["coverage", "reidentification", "utility", "quality", "time", "fairness"]
    assert {"faces", "exposed", "longest_run", "false_cover"} <= set(read["coverage"])
    promised = {"recogniser", "tar", "tar_upper", "rank1", "rank5", "control"}
    assert promised <= set(read["reidentification"][0])
    assert read["quality"]["detectable_share"] > 0.4


def test_the_csv_holds_each_figure_once(people_folders: tuple[Path, Path], tmp_path: Path) -> None:
    result = ranked(*people_folders)
    report.write_csv(result, tmp_path / "r.csv")
    with (tmp_path / "r.csv").open() as file:
        rows = {(r["section"], r["name"]): r["value"] for r in csv.DictReader(file)}
    assert rows["coverage", "faces"] == "36"
    assert rows["reidentification", "grid.tar"] == str(result["reidentification"][0]["tar"])
    assert ("utility", "detected_share.mean") in rows


def test_the_page_needs_nothing_from_elsewhere(people_folders: tuple[Path, Path], tmp_path: Path) -> None:
    original, output = people_folders
    seen = measured(clips(original, output), [Finder(PLACES)], judges(), Options())
    result = summary(seen, THRESHOLDS, of_originals(seen))
    report.write_html(result, seen, {"made by": "<a test>"}, tmp_path / "r.html")
    html = (tmp_path / "r.html").read_text()
    assert not re.search(r"(src|href)=\"?(?!data:)[^\"]*(http|//)", html)
    assert "<script" not in html
    assert html.count("data:image/jpeg;base64,") == 2 * 18  # six pairs of each kind
    assert "&lt;a test&gt;" in html
    assert html.count("<svg") == 1  # stills have no course in time, only the trade-off
    assert "width=device-width" in html
    assert "@media print" in html


def test_the_page_shows_the_most_exposed_face_first(tmp_path: Path) -> None:
    originals = two_people(12)
    outputs = [covered(p) for p in originals]
    outputs[7] = solid(originals[7], PLACES[0])
    seen = film(outputs, originals)
    worst = seen.album.cases()["most exposed"][0]
    assert worst.caption == "in.mp4, frame 7"
    assert worst.score > 0.9
    (curve,) = report.exposure(seen).values()
    assert max(curve, key=lambda p: p[1])[0] == pytest.approx(7 / 25)
    assert np.median([p[1] for p in curve]) == 0


def test_one_exposed_frame_is_never_thinned_out_of_the_curve() -> None:
    long = Measured(clips=[Clip(Path("a.mp4"), Path("b.mp4"), "a.mp4")])
    long.curve = [(0, t / 25, 0.99 if t == 3333 else 0.1) for t in range(5000)]
    (curve,) = report.exposure(long).values()
    assert len(curve) <= report.POINTS
    assert (3333 / 25, 0.99) in list(curve)

"""Every measure broken on purpose, and the test with a known answer that notices.

A measure that cannot fail measures nothing. Each entry replaces one function where the test looks it up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.mutants import Mutant, Threat, returns, value
from tests.pipeline.test_mutants import NOTICED, called, place

COVERAGE = "tests.evaluation.test_coverage"
REID = "tests.evaluation.test_reidentification"
UTILITY = "tests.evaluation.test_utility"
QUALITY = "tests.evaluation.test_quality"
TEMPORAL = "tests.evaluation.test_temporal"
FAIRNESS = "tests.evaluation.test_fairness"
MEASURE = "tests.evaluation.test_measure"
DATASET = "tests.evaluation.test_dataset"

Broken = tuple[str, str, Callable[[Any], Any], str, tuple[Any, ...]]


def scaled(factor: float) -> Callable[[Any], Any]:
    """The same measure in another unit."""

    def change(original: Any) -> Any:
        return lambda *args, **more: factor * original(*args, **more)

    return change


def _in_sample(original: Any) -> Any:
    """A classifier that is tested on those it was trained on: everybody is a group of their own twice."""
    return lambda real, made, groups, strength=0.1: original(
        np.repeat(real, 2, 0), np.repeat(made, 2, 0), np.arange(2 * len(real)) % 2, strength
    )


# name, target, change, test, its arguments
# fmt: off
BROKEN: list[Broken] = [
    ("a face is exposed only where it is equal", "evaluation.coverage:EXPOSED_ABOVE", value(0.9999),
     f"{COVERAGE}:test_one_leaked_frame_among_a_hundred_is_found", ()),
    ("every frame is a run of its own", "evaluation.coverage:longest_run", returns(1),
     f"{COVERAGE}:test_the_longest_run_is_of_consecutive_frames_of_one_face", ()),
    ("runs go on from face to face", "evaluation.coverage:linked",
     lambda linked: lambda frames: [[0] * len(frame) for frame in frames],
     f"{COVERAGE}:test_two_faces_that_leak_in_turn_do_not_make_one_long_run", ()),
    ("every detection counts", f"{COVERAGE}:counted",
     lambda counted: lambda frames, still=False: [[True] * len(frame) for frame in frames],
     f"{COVERAGE}:test_a_detection_that_no_neighbouring_frame_confirms_is_not_a_face", ()),
    ("the means are left in", f"{COVERAGE}:ncc",
     lambda ncc: lambda a, b: float(a @ b / np.sqrt((a @ a) * (b @ b))),
     f"{COVERAGE}:test_correlation_has_its_textbook_values", ()),
    ("a flat face is never exposed", "evaluation.coverage:ncc", returns(0.0),
     f"{COVERAGE}:test_a_flat_original_shown_again_counts_as_exposed", ()),
    ("no cover is false", f"{COVERAGE}:false_cover", returns(0.0),
     f"{COVERAGE}:test_cover_far_from_any_face_is_false_cover", ()),
    ("clips are averaged", f"{COVERAGE}:together", lambda together: lambda parts: together(parts[:1]),
     f"{COVERAGE}:test_clips_add_up", ()),
    ("coverage looks where the networks look", "evaluation.measure:coverage",
     lambda coverage: lambda seen, still=False: coverage([f for f in seen if f[0].frame % 6 < 3], still),
     f"{MEASURE}:test_a_leak_between_the_frames_that_networks_see_is_still_exposed", ()),
    ("the normal approximation", f"{REID}:clopper_pearson",
     lambda original: lambda k, n, confidence=0.95: (k / max(n, 1), k / max(n, 1)),
     f"{REID}:test_bounds_are_clopper_and_pearsons", ()),
    ("one impostor in a hundred", f"{REID}:threshold_at_far",
     lambda original: lambda scores, far=1e-3: original(scores, 10 * far),
     f"{REID}:test_the_threshold_lets_at_most_one_impostor_in_a_thousand_pass", ()),
    ("scores are not of the same face", f"{REID}:pair_scores",
     lambda original: lambda a, b: original(a, np.roll(b, 1, 0)),
     f"{REID}:test_the_same_pictures_match_and_shuffled_ones_do_not", ()),
    ("the own picture is in the gallery", f"{REID}:ranks",
     lambda ranks: lambda *args: ranks(*args[:4]),
     f"{REID}:test_rank_is_the_place_of_the_own_person_not_of_the_own_picture", ()),
    ("people without a mate count", f"{REID}:rank_rate",
     lambda rate: lambda places, rank: float(((places > 0) & (places <= rank)).mean()),
     f"{REID}:test_rank_rates_of_a_known_list", ()),
    ("the trade-off is turned", f"{REID}:det_curve",
     lambda curve: lambda genuine, impostors: curve(impostors, genuine),
     f"{REID}:test_the_det_curve_of_perfect_and_of_useless_scores", ()),
    ("negation does not negate", "evaluation.attacks:negation",
     lambda original: lambda outputs, originals, who: original(-outputs, originals, who),
     f"{REID}:test_negation_finds_faces_that_were_pushed_away_from_their_source", ()),
    ("the parrot learns nothing", "evaluation.attacks:ridge",
     lambda ridge: lambda x, y, strength: np.eye(x.shape[1]),
     f"{REID}:test_a_parrot_learns_a_fixed_rotation_but_not_fresh_identities", ()),
    ("linkage takes two scopes for one", "evaluation.attacks:linkage",
     lambda linkage: lambda v, p, c, scopes, threshold: linkage(v, p, c, scopes * 0, threshold),
     f"{REID}:test_linkage_separates_scopes", ()),
    ("the control is not looked at", f"{MEASURE}:check_control", returns(None),
     f"{MEASURE}:test_a_blind_recogniser_fails_the_evaluation_instead_of_calling_it_private", ()),
    ("pose in radians", f"{UTILITY}:pose_error_degrees", scaled(np.pi / 180),
     f"{UTILITY}:test_a_known_turn_of_the_head_is_measured", ("y", 30)),
    ("pose of all points", "evaluation.utility:RIGID", value(tuple(range(468))),
     f"{UTILITY}:test_an_open_mouth_is_no_turn_of_the_head", ()),
    ("gaze in pixels", f"{UTILITY}:gaze_error", scaled(30),
     f"{UTILITY}:test_gaze_is_in_eye_widths_and_turns_with_the_head", ()),
    ("landmarks in pixels", f"{UTILITY}:landmark_error", scaled(100),
     f"{UTILITY}:test_landmarks_shifted_by_a_tenth_of_the_eye_distance", ()),
    ("expression as a sum", f"{UTILITY}:blendshape_distance", scaled(52),
     f"{UTILITY}:test_blendshapes_differ_by_their_mean", ()),
    ("a distance of means alone", f"{QUALITY}:frechet_distance",
     lambda original: lambda a, b: float(((a.mean(0) - b.mean(0)) ** 2).sum()),
     f"{QUALITY}:test_frechet_distance_of_shifted_and_scaled_gaussians", (4000,)),
    ("energy instead of sharpness", f"{QUALITY}:sharpness",
     lambda original: lambda picture, box: (original(picture, box) or 0) ** 2,
     f"{QUALITY}:test_a_blur_of_known_sigma_costs_its_known_share_of_sharpness", ()),
    ("every border is a seam", f"{QUALITY}:seam_energy", returns(1.0),
     f"{QUALITY}:test_a_hard_edge_is_a_seam_and_a_feathered_one_is_less", ()),
    ("what is covered counts as harm", f"{QUALITY}:outside_difference",
     lambda original: lambda a, b: float(np.abs(a - b).mean()),
     f"{QUALITY}:test_nothing_differs_outside_an_exact_cover", ()),
    ("the classifier knows its test", f"{QUALITY}:detectability", _in_sample,
     f"{QUALITY}:test_the_classifier_is_tested_on_people_it_has_not_seen", ()),
    ("frames far apart are neighbours", f"{TEMPORAL}:adjacent_cosine",
     lambda original: lambda track, frames=None: original(track),
     f"{TEMPORAL}:test_frames_that_are_not_neighbours_are_not_compared_as_such", ()),
    ("global is local", f"{TEMPORAL}:tg_id",
     lambda original: lambda output, source: 1.0,
     f"{TEMPORAL}:test_slow_drift_is_steady_locally_but_not_globally", ()),
    ("tLPIPS of the output alone", f"{TEMPORAL}:tlpips",
     lambda original: lambda output, source: float(output.mean()) if len(output) else None,
     f"{TEMPORAL}:test_tlpips_is_zero_where_output_moves_as_the_source_does", ()),
    ("a dusk is a flash", f"{TEMPORAL}:flashes",
     lambda original: lambda output, source: original(output, 0 * source),
     f"{TEMPORAL}:test_a_flash_is_what_the_source_does_not_do", ()),
    ("no warping", f"{TEMPORAL}:warping_error",
     lambda original: lambda a, b, forward, seen: original(a, b, 0 * forward, seen),
     f"{TEMPORAL}:test_what_moves_with_the_source_has_no_warping_error_and_what_stays_behind_has", ()),
    ("everything is seen twice", f"{TEMPORAL}:visible",
     lambda original: lambda forward, backward: np.ones(forward.shape[:2], bool),
     f"{TEMPORAL}:test_what_moves_with_the_source_has_no_warping_error_and_what_stays_behind_has", ()),
    ("movement is jitter", f"{TEMPORAL}:jitter",
     lambda original: lambda points, scale: float(np.linalg.norm(np.diff(points, axis=0), axis=-1).mean()),
     f"{TEMPORAL}:test_steady_movement_does_not_jitter", ()),
    ("pictures are counted for people", f"{FAIRNESS}:k_anonymity",
     lambda original: lambda people, groups: original(range(len(people)), groups),
     f"{FAIRNESS}:test_k_is_the_size_of_the_smallest_group_of_people_not_of_pictures", ()),
    ("skin tone of the whole picture", f"{FAIRNESS}:ita_degrees",
     lambda original: lambda rgb, points: original(rgb, points * 0 + 20),
     f"{FAIRNESS}:test_skin_tone_is_the_typology_angle_of_the_cheeks", (70, 20, 45.0, "light")),
    ("the test is anonymised too", f"{DATASET}:transfer",
     lambda original: lambda a, b, labels, test, truth: original(a, b - b.mean(0), labels, test, truth),
     f"{DATASET}:test_a_shift_of_all_pictures_is_the_sets_own_affair", ()),
    ("the classifier is told the answer", f"{DATASET}:accuracy",
     lambda original: lambda train, labels, test, truth: original(test, truth, test, truth),
     f"{DATASET}:test_shuffled_labels_teach_nothing", ()),
    ("pictures of one person count as two people", f"{DATASET}:margin",
     lambda original: lambda rows, people, *other: original(rows, range(len(people)), *other),
     f"{DATASET}:test_margins_of_known_angles", ()),
]
# fmt: on


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken[0])
def test_the_broken_measure_is_noticed(
    broken: Broken, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name, target, change, killer, arguments = broken
    mutant = Mutant(name, Threat.ADAPTIVE, "evaluation", target, change, killer, arguments)
    test, given = called(mutant, monkeypatch, tmp_path)
    owner, attribute = place(target)
    monkeypatch.setattr(owner, attribute, change(getattr(owner, attribute)))
    with pytest.raises(NOTICED):
        test(**given)


def test_each_part_of_the_evaluation_is_broken_somewhere() -> None:
    parts = Counter(broken[3].partition(":")[0] for broken in BROKEN)
    assert set(parts) >= {COVERAGE, REID, UTILITY, QUALITY, TEMPORAL, FAIRNESS, MEASURE, DATASET}

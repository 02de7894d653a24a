"""The pipeline broken on purpose, one way each, and the test that notices.

A safety test counts only with a mutant that makes it fail. Each entry replaces one named function;
`test_mutants.py` runs the named test against it and fails where the mutant survives.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from unittest.mock import ANY

import numpy as np

from veilcast.config import Config
from veilcast.errors import VeilcastError
from veilcast.pipeline import cover as covering
from veilcast.pipeline import gate, ledger
from veilcast.pipeline.admission import codec_name
from veilcast.pipeline.files import part_of
from veilcast.pipeline.picture_files import LAYOUTS
from veilcast.pipeline.schedule import ENLARGED, closest_passes
from veilcast.pipeline.shapes import Whole
from veilcast.pipeline.stretch import Stretch
from veilcast.trackers import kalman
from veilcast.trt_engines.canary import F32_PLAIN, ORT
from veilcast.types import Box, TrackState


class Threat(StrEnum):
    """The rows of the threat table that covering a file meets."""

    MISSED = "the detector misses frames; a person enters"
    CROSSED = "tracks cross, ids swap"
    FAILED = "what draws over a face fails, lies or does nothing"
    MEDIA = "corrupt, truncated, hostile media"
    KILLED = "killed, disk full, input or output error"
    SECRETS = "secrets or faces outside the picture"
    ADAPTIVE = "an attacker who reads what the cover leaves"


@dataclass(frozen=True)
class Mutant:
    """`change` takes the original of `target` ("module:name" or "module:Class.name", of veilcast or of
    the tests) and returns what replaces it. `killed_by`: "module:function", called with `arguments`."""

    name: str
    threat: Threat
    stage: str
    target: str
    change: Callable[[Any], Any]
    killed_by: str
    arguments: tuple[Any, ...] = ()


ORACLE = "tests.pipeline.test_oracle"
COVER = "tests.pipeline.test_cover"
DETECT = "tests.pipeline.test_detect"
LOOKS = "tests.pipeline.test_looks"
TILES = "tests.pipeline.test_tiles"
GATE = "tests.pipeline.test_gate"
LEDGER = "tests.pipeline.test_ledger"
HEADERS = "tests.pipeline.test_headers"
FILES = "tests.pipeline.test_oracle_files"
OUTPUTS = "tests.pipeline.test_files"
PARTS = "tests.pipeline.test_live_parts"
UNITS = "tests.pipeline.test_live_units"
RECORDINGS = "tests.pipeline.test_recordings"
PEERS = "tests.pipeline.test_live_peers"
SEGMENTS = "tests.pipeline.test_segments"
STORES = "tests.pipeline.test_stores"
BATCH = "tests.pipeline.test_batch"
ALPHA = "tests.pipeline.test_transparency"
PICTURES = "tests.pipeline.test_images"
KILLS = "tests.pipeline.test_kills"
SMOOTHING = "tests.trackers.test_smoothing"
ONLINE = "tests.trackers.test_online"
ABSENCE = "tests.trackers.test_absence"


def returns(value: Any) -> Callable[[Any], Any]:
    """A function that ignores everything and says `value`."""
    return lambda original: lambda *args, **kwargs: value


def value(new: Any) -> Callable[[Any], Any]:
    """A constant with another value."""
    return lambda original: new


def without(predicate: Callable[[Any], bool]) -> Callable[[Any], Any]:
    """`regions` that forgets the tracks for which `predicate` holds."""
    return lambda original: lambda tracks, *rest: original([t for t in tracks if not predicate(t)], *rest)


def _hits_only(place: Any) -> Any:
    def mutant(path: Any, index: int, *rest: Any) -> Any:
        return place(path, index, *rest) if any(hit.index == index for hit in path.hits) else None

    return mutant


def _no_tail(place: Any) -> Any:
    def mutant(path: Any, index: int, time: Any, *rest: Any) -> Any:
        return place(path, index, time, *rest) if time <= path.hits[-1].time else None

    return mutant


def _blind(watch: Any) -> Any:
    """Sees nothing new."""
    return type("Blind", (watch,), {"is_new": returns(False)(None), "is_foreign": returns(False)(None)})


def _strong_only(associate: Any) -> Any:
    def mutant(self: Any, index: int, time: Any, faces: Any) -> None:
        associate(self, index, time, [face for face in faces if face.score >= self._strong])

    return mutant


def _confirmed_only(place: Any) -> Any:
    return lambda path, *rest: place(path, *rest) if path.confirmed else None


def _one_of_overlapping(regions: Any) -> Any:
    def mutant(tracks: Any, *rest: Any) -> Any:
        kept: list[Any] = []
        for track in tracks:
            if all(track.box.intersection(other.box) == 0 for other in kept):
                kept.append(track)
        return regions(kept, *rest)

    return mutant


def _first_only(regions: Any) -> Any:
    return lambda tracks, *rest: regions(tracks[:1], *rest)


def _shared_ids(take: Any) -> Any:
    counter = iter(range(1, 10**6))
    return lambda self: next(counter)


def _failures_pass(cover: Any) -> Any:
    """A cover that swallows the failure of a method instead of covering solid."""

    def mutant(frame: Any, wanted: Any, settings: Any, faces: Any = None) -> Any:
        for region in wanted:
            try:
                covering._drawn(frame, region, settings, faces or {})
            except Exception:  # noqa: BLE001 - the fault that is planted
                continue
        return covering.Covered(frame, tuple(wanted), (), covering.digest(frame, wanted))

    return mutant


def _luma_only(areas: Any) -> Any:
    return lambda *args: areas(*args)[:1]


def _inward(alpha: Any) -> Any:
    """A feather that eats into the full cover."""

    def mutant(region: Any, rect: Any, feather_px: float) -> Any:
        if not hasattr(region, "rx"):
            return alpha(region, rect, feather_px)
        return alpha(replace(region, rx=region.rx - feather_px, ry=region.ry - feather_px), rect, feather_px)

    return mutant


def _uncovered(release: Any) -> Any:
    """A release that lets the frame pass as clean where its cover fails."""

    def mutant(frame: Any, regions: Any, settings: Any, ledger: Any, *rest: Any) -> Any:
        try:
            covered = covering.cover(frame, regions, settings)
        except Exception:  # noqa: BLE001 - the fault that is planted
            regions = ()
            covered = covering.cover(frame, (), settings)
        ledger.entry(frame.index, gate.fate_of(regions), regions=regions)
        return gate.SafeFrame(covered, ledger)

    return mutant


def _claims_stay(claim: Any) -> Any:
    return lambda self, index: self.look(index)


def _any_index(entry: Any) -> Any:
    def mutant(self: Any, index: int, *args: Any, **kwargs: Any) -> None:
        self._next = index
        entry(self, index, *args, **kwargs)

    return mutant


def _quoting(release: Any) -> Any:
    """A release whose reason quotes what failed, and with it perhaps pixels or names."""

    def mutant(frame: Any, regions: Any, settings: Any, ledger: Any) -> Any:
        try:
            covering.cover(frame, regions, settings)
        except Exception as error:  # noqa: BLE001 - the fault that is planted
            return release(frame, (Whole(f"cover failed: {error}"),), settings, ledger)
        return release(frame, regions, settings, ledger)

    return mutant


def _passed_over(decode_strictly: Any) -> Any:
    """A decoder that leaves out what it cannot read."""
    return lambda self: ((f, False) for packet in self._demux() for f in self._try_decode(packet)[0])


def _believed(in_halves: Any) -> Any:
    return lambda target, expected, *rest: (expected.pts, *in_halves(target, expected, *rest)[1:])


def _unread(in_halves: Any) -> Any:
    def first_alone(target: Any, expected: Any, entry: int, limits: Any, on_frame: Any) -> Any:
        with Stretch(target, limits, end=expected.pts[entry] * expected.time_base) as before:
            streams = [f"{s.type} {codec_name(s)}" for s in before.container.streams]
            for frame in before.frames():
                on_frame(frame)
            return expected.pts, before.info, streams

    return first_alone


def _forgiven(perform: Any) -> Any:
    def changed(child: Any, *job: Any) -> Any:
        try:
            return perform(child, *job)
        finally:
            child.owes = False

    return changed


def _by_arrival(stride: Any) -> Any:
    return lambda self, time, now: stride(self, None, now)


def _undamaged_arrival(arrival: Any) -> Any:
    def mutant(self: Any, *rest: Any) -> Any:
        made = arrival(self, *rest)
        return replace(made, frame=replace(made.frame, damaged=False))

    return mutant


def _undamaged(release: Any) -> Any:
    """A release that believes what a decoder made of damaged data."""
    return lambda frame, *rest, **more: release(replace(frame, damaged=False), *rest, **more)


def _quoted(translated: Any) -> Any:
    """Errors of a library as they are."""

    @contextmanager
    def mutant(*given: Any) -> Any:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the fault that is planted
            raise VeilcastError(str(error)) from None

    return mutant


INFINITE = Box(-float("inf"), 0, 10, 10)

# in two or three lines each: what it is, how it is made, what notices it
# fmt: off
MUTANTS = [
    Mutant("no lead", Threat.MISSED, "smoothing", "trackers.smoothing:Path.lead_s", returns(0.0),
           f"{ORACLE}:test_no_face_leaks_before_it_is_first_detected"),
    Mutant("no face is ever seen clearly", Threat.MISSED, "smoothing",
           "trackers.smoothing:CLEAR", value(float("inf")),
           f"{SMOOTHING}:test_one_clear_detection_gives_a_track_its_whole_lead_and_lag", (0.9,)),
    Mutant("no lag", Threat.MISSED, "smoothing", "trackers.smoothing:place", _no_tail,
           f"{ORACLE}:test_no_face_leaks_after_it_is_last_detected"),
    Mutant("detections alone are covered", Threat.MISSED, "smoothing", "trackers.smoothing:place", _hits_only,
           f"{ORACLE}:test_no_face_leaks_where_the_detector_looks_at_some_frames_only", (3,)),
    Mutant("a face seen once is taken for noise", Threat.MISSED, "smoothing",
           "trackers.smoothing:place", _confirmed_only,
           f"{ORACLE}:test_a_face_detected_once_is_covered_around_that_time"),
    Mutant("a still picture never gets the closest look", Threat.MISSED, "detect", "pipeline.tiles:small",
           lambda small: lambda boxes: boxes[:0],
           f"{DETECT}:test_the_better_network_looks_for_small_faces_around_anything_small_that_was_seen",
           (20, 0.8, True)),
    Mutant("what looks before saw is forgotten", Threat.MISSED, "detect", "pipeline.looks:MEMORY", value(0),
           f"{DETECT}:test_a_thorough_look_goes_where_looks_before_saw_something_small", (0.8,)),
    Mutant("only what is a face already is looked at more closely", Threat.MISSED, "detect",
           "pipeline.looks:FAINT", value(1.0),
           f"{DETECT}:test_a_thorough_look_goes_where_looks_before_saw_something_small", (0.25,)),
    Mutant("a film is never looked at whole in detail", Threat.MISSED, "detect",
           "pipeline.schedule:thorough_passes", lambda passes: lambda size, near=False: passes(size, True),
           f"{DETECT}:test_whom_the_light_network_never_sees_the_next_whole_look_finds_and_the_later_ones_keep"),
    Mutant("a quick look never sees the whole picture in detail", Threat.MISSED, "detect",
           "pipeline.schedule:quick_passes",
           lambda passes: lambda size, enlarged=ENLARGED, near=False: passes(size, enlarged, True),
           f"{DETECT}:test_a_quick_look_goes_where_a_look_before_saw_something_small_or_sees_the_whole_picture"),
    Mutant("in a crowd nobody looks for large faces", Threat.MISSED, "detect", "pipeline.looks:in_a_crowd",
           lambda _: lambda passes, *_: tuple(replace(p, near=False) for p in passes if p.near),
           f"{DETECT}:test_in_a_crowd_a_thorough_look_sees_the_whole_picture_in_detail_and_large_faces_besides",
           ((640, 360), [(540, 960)])),
    Mutant("tiles have no room around them", Threat.MISSED, "detect", "pipeline.tiles:_ROOM_PX", value(0),
           f"{TILES}:test_every_small_face_lies_whole_in_a_tile_with_room_around_it", ((1760, 992),)),
    Mutant("a crowd is looked at only where somebody was seen", Threat.MISSED, "detect",
           "pipeline.tiles:_CROWD", value(1.0),
           f"{TILES}:test_a_crowd_is_looked_at_in_the_whole_picture_and_an_empty_street_nowhere"),
    Mutant("what a tile shows is covered elsewhere", Threat.MISSED, "detect", "pipeline.tiles:at_home",
           lambda at_home: lambda seen, place, size: seen,
           f"{DETECT}:test_the_better_network_looks_for_small_faces_around_anything_small_that_was_seen",
           (20, 0.8, True)),
    Mutant("weak detections are not used", Threat.MISSED, "tracking",
           "trackers.online:KalmanTracker._associate", _strong_only,
           f"{ORACLE}:test_no_face_leaks_while_it_is_detected_weakly"),
    Mutant("a score without sense is no face", Threat.FAILED, "tracking",
           "trackers.online:KalmanTracker._associate", _strong_only,
           f"{ONLINE}:test_a_score_without_sense_counts_as_a_face"),
    Mutant("tracks do not start earlier", Threat.MISSED, "linking",
           "trackers.smoothing:extend_back", returns(None),
           f"{SMOOTHING}:test_a_track_goes_back_along_weak_detections"),
    Mutant("predictions stand still", Threat.MISSED, "tracking",
           "trackers.kalman:predict", lambda predict: lambda state, dt: state,
           f"{SMOOTHING}:test_somebody_who_enters_is_covered_before_the_first_detection"),
    Mutant("predicted boxes do not grow", Threat.MISSED, "tracking",
           "trackers.life:grown", lambda grown: lambda state, settings, share=1.0: kalman.box_of(state),
           f"{ONLINE}:test_a_missed_face_is_carried_on_with_a_growing_box"),
    Mutant("cover before and after a face's detections does not grow", Threat.MISSED, "smoothing",
           "trackers.smoothing:GROWN", value(0.0),
           f"{SMOOTHING}:test_cover_that_leads_and_lags_grows_with_doubt"),
    Mutant("one look that sees nobody is believed", Threat.MISSED, "absence",
           "trackers.absence:Absence._is_empty",
           lambda is_empty: lambda self, look: any(is_empty(self, n) for n in (look - 1, look, look + 1)),
           f"{ABSENCE}:test_one_look_that_sees_nothing_may_have_missed_a_face"),
    Mutant("what is seen faintly is nobody", Threat.MISSED, "absence", "trackers.absence:shows",
           returns(False), f"{ABSENCE}:test_something_faint_where_a_face_should_be_keeps_it_covered", (3,)),
    Mutant("where nobody says anything nobody is", Threat.MISSED, "absence", f"{ABSENCE}:Observation",
           lambda observation: lambda index, time, faces, cut=False, faint=None, cells=None: observation(
               index, time, faces, cut, np.empty((0, 4)) if faint is None else faint, cells),
           f"{ABSENCE}:test_a_look_that_nobody_speaks_for_ends_nothing"),
    Mutant("every detection is taken for a faint one", Threat.MISSED, "absence", "trackers.smoothing:FAINT",
           value(9.0),
           f"{ABSENCE}:test_cover_reaches_from_a_detection_to_the_looks_beside_it_that_see_nothing_and_no_farther"),
    Mutant("a lost face is believed to be gone whoever asks", Threat.MISSED, "absence",
           "pipeline.stages:observed", lambda observed: lambda looked, cuts, config: observed(
               looked, cuts, Config()),
           "tests.pipeline.test_stages:test_who_asks_for_lost_faces_hears_of_all_of_them"),
    Mutant("tracks live on through a cut", Threat.MISSED, "tracking",
           "trackers.online:KalmanTracker.cut", returns(None),
           f"{ONLINE}:test_a_cut_ends_all_tracks"),
    Mutant("cuts are not seen", Threat.MISSED, "cuts", "pipeline.cuts:CutFinder.is_cut", returns(False),
           "tests.pipeline.test_cuts:test_a_hard_cut_is_found_where_it_is"),
    Mutant("nobody looks between what the clock asks for", Threat.MISSED, "detect",
           "pipeline.novelty:Watch.is_new", returns(False),
           "tests.pipeline.test_novelty:test_who_is_there_for_three_frames_is_looked_at"),
    Mutant("a montage is looked at by the clock", Threat.MISSED, "detect", "pipeline.detect:Watch", _blind,
           "tests.pipeline.test_novelty:test_every_shot_of_a_rapid_montage_is_looked_at"),
    Mutant("a live stream is looked at by the clock", Threat.MISSED, "look-ahead", "pipeline.window:Watch",
           _blind,
           "tests.pipeline.test_live_units:test_who_is_there_for_a_moment_between_two_live_looks_is_covered",
           (20,)),
    Mutant("a look into a flash is a look", Threat.MISSED, "detect", "pipeline.novelty:is_flat",
           returns(False),
           "tests.pipeline.test_novelty:test_a_flash_shows_nothing_and_who_looked_into_it_looks_again"),
    Mutant("everybody stands", Threat.MISSED, "detect", "pipeline.looks:Looker._turns", returns({}),
           f"{LOOKS}:test_who_lies_in_the_first_frame_is_found_there", (1,)),
    Mutant("nobody remembers who lies", Threat.MISSED, "detect", "pipeline.looks:SURELY", value(9.0),
           f"{LOOKS}:test_who_lies_down_later_is_found_within_three_looks_and_then_seen_in_all", (2,)),
    Mutant("who lies in a single picture is not looked for", Threat.MISSED, "pictures",
           "pipeline.detect:still_passes", lambda passes: lambda size: tuple(
               step for step in passes(size) if not step.turns),
           f"{LOOKS}:test_who_lies_in_a_single_picture_is_found", (3,)),
    Mutant("a camera that hangs upside down is not noticed", Threat.MISSED, "detect",
           "pipeline.schedule:first_passes", lambda _: closest_passes,
           f"{LOOKS}:test_a_camera_that_hangs_otherwise_is_noticed_by_small_faces_too", (2,)),
    Mutant("who lies is believed to be gone", Threat.MISSED, "absence", "trackers.smoothing:lies",
           returns(False),
           f"{ABSENCE}:test_who_lies_is_not_gone_where_looks_see_those_alone_who_stand", (2,)),
    Mutant("bursts of frames count as a moment", Threat.MISSED, "detect", "pipeline.schedule:Schedule._most",
           returns(1000),
           "tests.pipeline.test_schedule:test_frames_that_come_in_bursts_are_looked_at_as_often_as_others"),
    Mutant("a look into a flash speaks for the frames around it", Threat.MISSED, "absence",
           "trackers.absence:_alike", returns(True),
           f"{ABSENCE}:test_looks_into_a_flash_say_nothing_of_the_frames_around_it"),
    Mutant("a flash is a cut", Threat.MISSED, "cuts", "pipeline.cuts:FLAT", value(-1.0),
           "tests.pipeline.test_cuts:test_a_flash_and_a_fade_are_no_cuts"),
    Mutant("a stream does not look ahead", Threat.MISSED, "look-ahead",
           "trackers.smoothing:Path.lead_s", returns(0.0),
           f"{ORACLE}:test_a_stream_covers_dropouts_by_coasting_and_first_frames_by_looking_ahead"),
    Mutant("a stream does not coast", Threat.MISSED, "look-ahead", "trackers.beside:place", _no_tail,
           f"{SMOOTHING}:test_the_look_ahead_with_no_frames_is_causal_and_coasts"),
    Mutant("matches by order of detection", Threat.CROSSED, "association",
           "trackers.online:assign", lambda assign: lambda costs: [(n, n) for n in range(min(costs.shape))],
           f"{ONLINE}:test_crossing_faces_keep_their_ids"),
    Mutant("all trackers share one counter", Threat.CROSSED, "tracking",
           "trackers.life:Ids.take", _shared_ids,
           f"{ONLINE}:test_ids_are_counted_for_each_tracker"),
    Mutant("anyone is joined with anyone", Threat.CROSSED, "linking",
           "trackers.linking:_gap_cost", returns(0.0),
           f"{SMOOTHING}:test_two_people_far_apart_are_never_joined"),
    Mutant("one cover for two who overlap", Threat.CROSSED, "cover", f"{ORACLE}:regions", _one_of_overlapping,
           f"{ORACLE}:test_no_face_leaks_where_people_cross_and_one_is_missed_there"),
    Mutant("tentative tracks are not covered", Threat.MISSED, "cover",
           f"{COVER}:regions", without(lambda track: track.state is TrackState.TENTATIVE),
           f"{COVER}:test_every_state_of_a_track_is_covered"),
    Mutant("coasting tracks are not covered", Threat.MISSED, "cover",
           f"{COVER}:regions", without(lambda track: track.state is TrackState.COASTING),
           f"{COVER}:test_every_state_of_a_track_is_covered"),
    Mutant("keep needs no permission", Threat.MISSED, "cover",
           f"{COVER}:regions", without(lambda track: track.keep),
           f"{COVER}:test_keep_counts_only_where_it_is_allowed"),
    Mutant("a lost track is ignored", Threat.MISSED, "cover",
           f"{COVER}:regions", without(lambda track: track.state is TrackState.LOST),
           f"{COVER}:test_a_lost_track_holds_slates_or_stops"),
    Mutant("a box without sense is skipped", Threat.FAILED, "cover",
           f"{COVER}:regions", without(lambda track: track.box == INFINITE),
           f"{COVER}:test_a_box_that_is_not_finite_covers_the_whole_picture", (INFINITE,)),
    Mutant("a face turned with the picture is covered elsewhere", Threat.MISSED, "cover",
           "pipeline.cover:stored", lambda stored: lambda region, *rest: region,
           f"{COVER}:test_the_face_is_covered_where_it_is_shown", (1, False)),
    Mutant("colour is left", Threat.ADAPTIVE, "cover", "pipeline.cover:_areas", _luma_only,
           f"{COVER}:test_the_inside_of_the_face_tells_no_detail", ("mosaic",)),
    Mutant("the feather eats into the face", Threat.ADAPTIVE, "cover", "pipeline.cover:alpha", _inward,
           f"{COVER}:test_mosaic_and_blur_fill_the_ellipse", ("mosaic",)),
    Mutant("a failing method leaves the face", Threat.FAILED, "cover", f"{COVER}:cover", _failures_pass,
           f"{COVER}:test_a_painter_that_fails_half_way_leaves_solid"),
    Mutant("solid draws nothing", Threat.FAILED, "cover", "pipeline.cover:_solid", returns(None),
           f"{ORACLE}:test_no_face_leaks_before_it_is_first_detected"),
    Mutant("blur draws nothing", Threat.FAILED, "cover", "pipeline.cover:_coarse", returns(None),
           f"{ORACLE}:test_no_face_leaks_from_a_street_with_planted_dropouts", ("blur",)),
    Mutant("the digest is not checked", Threat.FAILED, "gate",
           "pipeline.gate:digest", lambda digest: lambda frame, regions: _Anything(),
           f"{GATE}:test_one_sample_changed_after_the_cover_is_refused", ("blur", 1)),
    Mutant("solid is not checked", Threat.FAILED, "gate", "pipeline.gate:is_solid", returns(True),
           f"{GATE}:test_a_solid_cover_that_shows_something_is_refused_whatever_its_digest_says"),
    Mutant("nothing is checked", Threat.FAILED, "gate", "pipeline.gate:_check", returns(None),
           f"{GATE}:test_a_face_in_the_ledger_that_was_not_covered_is_refused"),
    Mutant("a frame that cannot be covered passes", Threat.FAILED, "gate", f"{GATE}:release", _uncovered,
           f"{GATE}:test_what_the_cover_cannot_do_leaves_as_a_slate"),
    Mutant("a damaged frame passes", Threat.MEDIA, "gate", f"{GATE}:release", _uncovered,
           f"{GATE}:test_a_damaged_frame_passes_only_as_a_slate"),
    Mutant("frames may come twice", Threat.KILLED, "ledger", "pipeline.ledger:Ledger.entry", _any_index,
           f"{LEDGER}:test_frames_are_entered_in_order_and_once", (0,)),
    Mutant("frames may get lost", Threat.KILLED, "ledger", "pipeline.ledger:Ledger.balance", returns(None),
           f"{LEDGER}:test_a_frame_too_many_or_too_few_trips", (3,)),
    Mutant("an entry opens the gate twice", Threat.KILLED, "ledger",
           "pipeline.ledger:Ledger.claim", _claims_stay,
           f"{GATE}:test_a_frame_goes_through_once"),
    Mutant("mosaic as fine as the face is large", Threat.ADAPTIVE, "cover",
           "pipeline.cover:_cell_px", returns(2.0),
           f"{COVER}:test_mosaic_and_blur_keep_a_bounded_number_of_cells_at_any_size"),
    Mutant("a weak setting is not named", Threat.ADAPTIVE, "cover", f"{COVER}:weakness", returns(None),
           f"{COVER}:test_a_setting_that_is_too_weak_warns"),
    Mutant("nothing is covered", Threat.MISSED, "stages", "pipeline.stages:regions", returns(()),
           f"{FILES}:test_no_face_leaks_through_a_lossless_codec", ("yuv420p",)),
    Mutant("a frame that nobody looked at is clean", Threat.MISSED, "passages", "pipeline.passages:unknown",
           lambda unknown: lambda seen, settings: [False] * len(seen),
           "tests.pipeline.test_passages:test_a_frame_that_nobody_looked_at_is_covered_whole"),
    Mutant("people get new ids at a seam", Threat.CROSSED, "passages",
           "pipeline.passages:Passages._names", lambda names: lambda self, again: {},
           "tests.pipeline.test_passages:test_people_keep_their_ids_across_a_seam"),
    Mutant("nobody looks after a cut", Threat.MISSED, "detect", "pipeline.schedule:Schedule.passes",
           lambda passes: lambda schedule, time, size, urgent: passes(schedule, time, size, False),
           "tests.pipeline.test_detect:test_the_first_frame_after_a_cut_is_looked_at"),
    Mutant("the encoder takes a frame without the gate", Threat.FAILED, "encode", "pipeline.encode:SafeFrame",
           value(covering.Covered),
           f"{FILES}:test_the_encoder_takes_nothing_but_what_the_gate_let_through"),
    Mutant("faces not looked at are not covered", Threat.MISSED, "stages", "pipeline.stages:regions",
           without(lambda track: track.state is TrackState.SMOOTHED),
           f"{FILES}:test_no_face_leaks_through_a_lossless_codec", ("yuv420p",)),
    Mutant("one cover for two in a file", Threat.CROSSED, "stages", "pipeline.stages:regions", _first_only,
           f"{FILES}:test_no_face_leaks_through_a_lossless_codec", ("yuv420p",)),
    Mutant("an end that is missing is not noticed", Threat.MEDIA, "decode",
           "pipeline.decode:Decoder._check_complete", returns(None),
           f"{FILES}:test_a_source_that_was_cut_off_is_refused"),
    Mutant("errors of the bit stream are passed over", Threat.MEDIA, "decode",
           "pipeline.decode:Decoder._decode_strictly", _passed_over,
           f"{FILES}:test_damage_is_refused_unless_slates_are_asked_for"),
    Mutant("what a decoder made of damage is shown", Threat.MEDIA, "stages", "pipeline.stages:release",
           _undamaged, f"{FILES}:test_damaged_frames_are_slates_and_show_nobody"),
    Mutant("the times of an output are believed", Threat.KILLED, "verification",
           "pipeline.verification:_in_halves", _believed,
           "tests.pipeline.test_verification:test_a_frame_at_another_time_is_seen_in_either_half", (70,)),
    Mutant("errors in a half of an output are passed over", Threat.MEDIA, "verification",
           "pipeline.verification:_in_halves", _unread,
           "tests.pipeline.test_verification:test_damage_in_either_half_is_seen", (80, "libx265")),
    Mutant("a second video stream is copied", Threat.SECRETS, "streams", "pipeline.streams:_judge_video",
           returns((True, "copied")),
           f"{FILES}:test_a_second_video_stream_with_uncovered_faces_does_not_leave"),
    Mutant("all tags of a stream are written again", Threat.SECRETS, "streams", "pipeline.encode:kept_tags",
           value(dict), f"{FILES}:test_names_and_positions_do_not_leave"),
    Mutant("the header of a track is copied as it is", Threat.SECRETS, "streams",
           "pipeline.copies:bare_header", lambda bare: lambda codec, header: header,
           f"{HEADERS}:test_comments_and_pictures_in_a_vorbis_header_do_not_leave"),
    Mutant("what is tied to a packet is copied with it", Threat.SECRETS, "streams", "pipeline.copies:alone",
           lambda alone: lambda packet: packet,
           f"{HEADERS}:test_what_is_tied_to_a_sounds_packets_does_not_leave"),
    Mutant("an attachment is believed to be a font", Threat.SECRETS, "streams", "pipeline.streams:is_font",
           returns(True), f"{HEADERS}:test_a_picture_that_calls_itself_a_font_does_not_leave"),
    Mutant("faces are looked for in pixels of any shape", Threat.MISSED, "decode",
           "pipeline.decode:check_square", returns(None),
           "tests.pipeline.test_decode:test_pixels_in_which_faces_are_too_squeezed_to_be_found_are_refused",
           ((1, 4), False)),
    Mutant("what a container hides is shown", Threat.SECRETS, "decode", "pipeline.decode:check_whole",
           returns(None), "tests.pipeline.test_fidelity:test_edges_that_the_container_hides_are_not_shown"),
    Mutant("a reason quotes an exception", Threat.SECRETS, "gate", f"{GATE}:release", _quoting,
           f"{GATE}:test_what_the_cover_cannot_do_leaves_as_a_slate"),
    Mutant("a live frame that nobody looked at is clean", Threat.MISSED, "window",
           "pipeline.window:Window._is_known", returns(True),
           f"{UNITS}:test_a_picture_that_nobody_looked_at_in_time_is_not_known"),
    Mutant("a live output takes frames without the gate", Threat.FAILED, "publish",
           "pipeline.publish:SafeFrame", value(covering.Covered),
           f"{UNITS}:test_a_live_output_takes_nothing_but_what_the_gate_let_through"),
    Mutant("a live frame covered whole is shown as it is", Threat.FAILED, "programme",
           "pipeline.program:fate_of", returns(ledger.Fate.CLEAN),
           f"{UNITS}:test_a_picture_that_is_covered_whole_is_shown_as_a_card"),
    Mutant("a card is not shown when pictures stop", Threat.MEDIA, "programme",
           "pipeline.program:Program._is_live", returns(True),
           f"{UNITS}:test_a_card_is_shown_when_pictures_stop"),
    Mutant("a live stream does not look ahead", Threat.MISSED, "window",
           "trackers.smoothing:Path.lead_s", returns(0.0),
           f"{UNITS}:test_a_live_picture_is_covered_before_its_face_is_first_detected", (0, 4)),
    Mutant("a live picture leaves before anybody has looked beyond it", Threat.MISSED, "window",
           "pipeline.window:Window._answered", returns(True),
           f"{UNITS}:test_no_picture_leaves_before_somebody_has_looked_at_it_or_beyond"),
    Mutant("a camera's time is when its pictures came", Threat.MISSED, "clocks",
           "pipeline.clocks:Clock._stride", _by_arrival,
           f"{PARTS}:test_what_a_network_holds_back_is_counted_by_the_cameras_own_clock"),
    Mutant("a live finder that fails leaves the picture", Threat.FAILED, "live",
           "pipeline.live_pictures:release", _uncovered,
           f"{UNITS}:test_a_live_cover_that_fails_is_a_slate"),
    Mutant("a live stream is believed before its first key frame", Threat.MEDIA, "receive",
           "pipeline.receive:Receiver._arrival", _undamaged_arrival,
           f"{UNITS}:test_a_damaged_live_stream_is_marked_until_the_next_key_frame"),
    Mutant("a password is part of an address's text", Threat.SECRETS, "addresses",
           "pipeline.addresses:Address.__str__", lambda told: lambda self: self.reveal(),
           "tests.pipeline.test_live_parts:test_secrets_do_not_show", ("address",)),
    Mutant("a library's words about an output are told", Threat.SECRETS, "publish",
           "pipeline.publish:translated", _quoted,
           f"{PARTS}:test_a_server_that_refuses_is_told_in_our_own_words", ("publishing",)),
    Mutant("a library's words about a camera are told", Threat.SECRETS, "receive",
           "pipeline.receive:translated", _quoted,
           f"{PARTS}:test_a_server_that_refuses_is_told_in_our_own_words", ("reading",)),
    Mutant("a camera that nobody keeps raises no alarm", Threat.KILLED, "keeper",
           "pipeline.keeper:Keeper._is_alarming", value(property(lambda keeper: keeper._ladder.ended)),
           "tests.pipeline.test_keeper:test_a_keeper_that_is_gone_has_failed"),
    Mutant("a shared generator gives a camera another one's faces", Threat.CROSSED, "generators",
           "pipeline.generator_process:served",
           lambda served: lambda together, pictures: served(together, pictures[::-1]),
           "tests.pipeline.test_live_generator:test_cameras_that_ask_at_the_same_time_get_their_own_faces"),
    Mutant("an answer is taken for any face", Threat.CROSSED, "generators",
           "pipeline.generate:Job.digest", returns(b"x"),
           "tests.pipeline.test_live_generator:test_an_answer_for_another_face_is_refused"),
    Mutant("a redirect is followed", Threat.MEDIA, "relay",
           "pipeline.relay:RtspWatch._judge", returns(None),
           "tests.pipeline.test_live_peers:test_what_a_peer_says_is_read_along_however_it_is_cut",
           (b"RTSP/1.0 302 Found\r\nLocation: x\r\n\r\n", "redirects", 7)),
    Mutant("the service answers to any name", Threat.SECRETS, "service",
           "service.server:TrustedHostMiddleware", lambda trusted: lambda app, **given: app,
           "tests.service.test_service:test_a_page_whose_name_leads_here_reads_nothing", ("/status",)),
    Mutant("any host may be reached", Threat.MEDIA, "relay", f"{PEERS}:permitted",
           returns(lambda name, ip: True), f"{PEERS}:test_a_host_that_is_not_allowed_is_not_reached"),
    Mutant("the output is written under its final name", Threat.KILLED, "outputs", "pipeline.files:part_of",
           lambda part_of: lambda target: target,
           f"{OUTPUTS}:test_an_output_appears_only_when_it_is_committed"),
    Mutant("what is read may be written over", Threat.KILLED, "outputs", "pipeline.api:check_apart",
           returns(None), "tests.pipeline.test_api:test_detections_never_replace_their_video"),
    Mutant("a recording is written over the one before", Threat.KILLED, "outputs", "pipeline.publish:claimed",
           lambda claimed: lambda target: target,
           f"{RECORDINGS}:test_a_recording_that_breaks_goes_on_in_another_file"),
    Mutant("a killed process's recording is written over", Threat.KILLED, "outputs",
           "pipeline.publish:claimed", lambda claimed: lambda target: target,
           f"{RECORDINGS}:test_what_a_killed_process_left_is_not_written_over"),
    Mutant("a killed process's recording cannot be played", Threat.KILLED, "outputs",
           "pipeline.publish:SURVIVING", value({}),
           f"{RECORDINGS}:test_what_a_killed_process_left_can_be_played_but_for_its_last_second", (".mkv",)),
    Mutant("a recording replaces a file", Threat.KILLED, "outputs", "pipeline.publish:keep",
           lambda keep: lambda path: part_of(path).rename(path),
           f"{RECORDINGS}:test_a_file_that_appeared_meanwhile_is_not_replaced"),
    Mutant("anybody may read what shows faces", Threat.SECRETS, "outputs", "pipeline.files:PRIVATE",
           value(0o644), f"{OUTPUTS}:test_what_shows_faces_is_for_its_owner_alone"),
    Mutant("a half-written file stays", Threat.KILLED, "outputs", "pipeline.files:_same_file",
           returns(False), f"{OUTPUTS}:test_an_abandoned_output_leaves_nothing"),
    Mutant("segments are joined whatever is missing", Threat.KILLED, "segments",
           "pipeline.ledger:Ledger.balance", returns(None), f"{SEGMENTS}:test_every_frame_has_its_fate_once"),
    Mutant("a segment that changed on the disk is taken", Threat.KILLED, "segments",
           f"{SEGMENTS}:open_segment", returns(None), f"{SEGMENTS}:test_a_damaged_segment_is_noticed"),
    Mutant("a frame that was sought is taken unseen", Threat.KILLED, "segments", "pipeline.sections:hashed",
           returns("0" * 32), f"{SEGMENTS}:test_a_frame_that_is_sought_is_the_one_that_was_looked_at"),
    Mutant("another film is covered with this one's plan", Threat.MISSED, "segments",
           "pipeline.sections:Section._check", returns(None),
           f"{SEGMENTS}:test_another_film_under_the_name_is_not_covered_with_the_plan_of_the_first", (2,)),
    Mutant("a source that changed meanwhile has its output", Threat.MISSED, "archive",
           "pipeline.archive:_check_unchanged", returns(None),
           f"{BATCH}:test_a_source_that_changes_at_the_last_moment_gets_no_output", ("out",)),
    Mutant("any folder is taken for a job's", Threat.KILLED, "archive",
           "pipeline.intake:_check_own", returns(None),
           f"{BATCH}:test_a_folder_of_somebody_is_no_journal", (True,)),
    Mutant("a job clears away whatever lies in its folder", Threat.KILLED, "archive",
           "pipeline.intake:NUMBER", value("*"), f"{BATCH}:test_a_job_deletes_what_it_made_and_nothing_else"),
    Mutant("a zone that grew in its file is not covered", Threat.MISSED, "pictures",
           "pipeline.named:contents", returns(""),
           f"{BATCH}:test_other_contents_of_a_file_that_settings_name_are_other_settings", ("zones",)),
    Mutant("a camera that moves fast is looked through by the clock", Threat.MISSED, "schedule",
           "pipeline.motion:speed", returns(0.0),
           "tests.pipeline.test_novelty:test_faces_before_a_camera_that_is_swung_are_covered_in_every_frame"),
    Mutant("what alpha shows is not looked at", Threat.MISSED, "alpha", "pipeline.looks:ways",
           lambda ways: lambda frame: ways(frame)[:1],
           f"{ALPHA}:test_a_face_that_only_alpha_shows_is_found", (LAYOUTS["RGBA"], False)),
    Mutant("a new face is painted under the old one's alpha", Threat.FAILED, "alpha",
           "pipeline.cover:_is_seen_in_alpha", returns(False),
           f"{ALPHA}:test_no_cover_leaves_what_alpha_shows", ("synthetic",)),
    Mutant("labels hold the original picture", Threat.SECRETS, "pictures", "pipeline.labels:holds_picture",
           returns(False), f"{PICTURES}:test_what_could_be_a_picture_is_none_of_the_labels"),
    Mutant("labels lead back to the originals", Threat.SECRETS, "pictures", "pipeline.labels:LEADS_BACK",
           value(frozenset()), f"{PICTURES}:test_what_could_be_a_picture_is_none_of_the_labels"),
    Mutant("a name may lead out of its folder", Threat.SECRETS, "stores", f"{STORES}:is_safe", returns(True),
           f"{STORES}:test_names_that_lead_elsewhere_are_refused", ("../x.mp4",)),
    Mutant("whatever lies under the name is the output", Threat.KILLED, "archive", "pipeline.archive:sha256",
           returns(ANY), f"{KILLS}:test_something_else_under_the_name_is_not_taken_for_the_output"),
    Mutant("an order is lost with its machine", Threat.KILLED, "crew", "pipeline.crew:LOSSES",
           lambda count: 1,
           "tests.pipeline.test_crew:test_an_order_waits_for_whoever_is_there_when_its_place_is_lost"),
    Mutant("the answer to a job that was given up is the next one's", Threat.KILLED, "crew",
           "pipeline.supervise:Child.perform", _forgiven,
           "tests.pipeline.test_crew:test_no_order_gets_the_answer_of_one_that_was_given_up"),
    Mutant("compiled networks of anybody are opened", Threat.MEDIA, "engines", "trt_engines.seal:Seal.fits",
           returns(True), "tests.trt_engines.test_compiled:test_a_changed_file_is_nothing"),
    Mutant("a veil leaves out faces that were refused", Threat.FAILED, "synthetic",
           "pipeline.synthetic:_put_in",
           lambda put_in: lambda frame, view, drawn, pasted: (
               pasted.append(view.track.box), put_in(frame, view, drawn, [])),
           "tests.pipeline.test_synthetic:test_what_is_left_out_of_veils_are_faces_that_were_put_in"),
    Mutant("a veil leaves out more than a face hides", Threat.FAILED, "synthetic", "pipeline.blend:_inside",
           lambda inside: lambda shape, to_patch, side: inside(shape.scaled(1.5), to_patch, side),
           "tests.pipeline.test_blend:test_a_veil_leaves_out_the_face_that_was_put_in_and_nothing_else"),
    Mutant("veils come before the faces that are compared with the source", Threat.FAILED, "synthetic",
           "pipeline.cover:_in_turn", lambda _: lambda wanted, faces: list(wanted),
           "tests.pipeline.test_cover:test_faces_are_painted_in_the_order_that_is_given"),
    Mutant("sums of eight-bit products are cut off", Threat.MISSED, "engines",
           "trt_engines.convert.eight_bits:_steps",
           lambda steps: lambda weights, unsigned: steps(weights, False),
           "tests.trt_engines.test_eight_bits:test_two_products_of_unsigned_activations_fit_in_16_bits"),
    Mutant("a network in eight bits is its own judge", Threat.MISSED, "engines",
           "trt_engines.canary:REFERENCES", value((F32_PLAIN, ORT)),
           "tests.trt_engines.test_canary:test_eight_bits_do_not_judge_themselves"),
    Mutant("a frame that was overwritten on the device is looked at", Threat.MISSED, "device",
           "pipeline.gpu.shelf:Shelf._check", returns(None),
           "tests.pipeline.test_gpu_shelf:test_a_frame_that_left_the_shelf_is_not_looked_at"),
    Mutant("what leaves is decoded as leniently as a card does", Threat.MEDIA, "device",
           "pipeline.stages:decoded",
           lambda decoded: lambda source, config: decoded(
               source, config.model_copy(update={"damaged": "slate"})),
           "tests.pipeline.test_gpu_frames:test_what_the_card_hides_the_last_pass_refuses"),
    Mutant("a card decides what is damaged", Threat.MEDIA, "device", "pipeline.gpu.card:Card.decoder",
           lambda decoder: lambda card, source, config: decoder(
               card, source, config.model_copy(update={"damaged": "refuse"})),
           "tests.pipeline.test_gpu_frames:test_with_slates_the_card_is_not_asked"),
    Mutant("faces are covered in another picture than theirs", Threat.FAILED, "frames",
           "pipeline.anonymizer:Anonymizer._covered",
           lambda covered: lambda self, index, tracks: covered(self, max(self._waiting), tracks),
           "tests.pipeline.test_anonymizer:test_after_a_failed_look_faces_are_covered_where_they_are"),
    Mutant("another frame's faces are covered", Threat.MISSED, "device", "pipeline.stages:planned",
           lambda planned: lambda plan, frame: plan[min(frame.index, len(plan) - 1)].faces,
           "tests.pipeline.test_gpu_frames:test_a_frame_that_the_card_loses_ends_the_job"),
    Mutant("detections of another recording are believed", Threat.MISSED, "plan", "pipeline.jobs:_hash",
           lambda hash_of: lambda source, on_frame: "0" * 64,
           "tests.pipeline.test_jobs:test_detections_of_another_recording_are_refused"),
    Mutant("a frame leaves whose samples nobody could check", Threat.FAILED, "device", "pipeline.gate:_check",
           returns(None), "tests.pipeline.test_gpu_shelf:test_a_frame_without_samples_here_passes_no_gate"),
    Mutant("a GPU is believed unseen", Threat.MISSED, "engines", "trt_engines.gpu:_compare", returns(None),
           "tests.trt_engines.test_gpu_opening:"
           "test_a_gpu_that_computes_wrongly_is_not_used_and_not_remembered"),
]
# fmt: on


class _Anything:
    """Equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return 0

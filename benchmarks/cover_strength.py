"""How much of a face do mosaic and blur leave to a recogniser?

Covers portraits of held-out people as a video's faces are covered, embeds the result aligned by the
ORIGINAL's landmarks, and asks at FAR 1e-3: does it match the same picture uncovered (at the
recogniser's own threshold, and at one that an attacker sets for covered faces), does it match another
picture of the person covered in the same way, and does a matcher that was refitted on covered faces
(parrot) find it? `none` is the control, `solid` the floor: what hair and outline tell.

    python -m benchmarks.cover_strength FACES [--pictures 600] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from benchmarks import outcome

from veilcast.config import Cover
from veilcast.evaluation.attacks import calibrated_tar, parrot
from veilcast.evaluation.labelled import Portrait, portraits
from veilcast.evaluation.networks import Judges, open_judges
from veilcast.evaluation.reidentification import accept_rate, impostor_scores, pair_scores, threshold_at_far
from veilcast.evaluation.thresholds import FAR, SHIPPED, pairs_of_one
from veilcast.pipeline.cover import cover, regions
from veilcast.pipeline.detect import open_one
from veilcast.trt_engines.models import Models
from veilcast.types import Face, Frame, PixelFormat, Rgb, Track, TrackState

RECOGNISERS = ("mobilefacenet", "faceres", "dlib")
Results = dict[str, dict[str, dict[str, float | None]]]  # cover, recogniser, attack -> share recognised
RGB = PixelFormat("gbrp", "rgb", 8)


def settings() -> dict[str, Cover | None]:
    """What is compared, by name."""
    named: dict[str, Cover | None] = {"none": None, "solid": Cover()}
    for method in ("mosaic", "blur"):
        for cells in (4, 5, 8, 12):
            named[f"{method}, {cells} cells"] = Cover(replacewith=method, cells=cells)
        named[f"{method}, 4 cells, 256 levels"] = Cover(replacewith=method, cells=4, levels=256)
    return named


def covered(rgb: Rgb, face: Face, how: Cover | None) -> Rgb:
    """The picture with its face covered in the way a video's frame is."""
    if how is None:
        return rgb
    planes = tuple(np.ascontiguousarray(rgb[..., n]) for n in range(3))
    frame = Frame(0, 0, Fraction(1), planes, RGB)
    track = Track(1, face.box, None, TrackState.CONFIRMED, 0)
    cover(frame, regions([track], (), frame.displayed_size, how), how)
    return np.stack(planes, axis=-1)


def embedded(pictures: Iterator[tuple[Portrait, Rgb]], judges: Judges) -> dict[str, np.ndarray]:
    """Every picture by every recogniser, aligned by the original's landmarks."""
    rows: dict[str, list[np.ndarray]] = {r.name: [] for r in judges.recognisers}
    while batch := list(islice(pictures, 16)):
        for recogniser in judges.recognisers:
            crops = np.stack([recogniser.crop(rgb, portrait.landmarks) for portrait, rgb in batch])
            rows[recogniser.name].append(recogniser(crops))
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def attacks(name: str, rows: np.ndarray, originals: np.ndarray, who: np.ndarray) -> dict[str, float | None]:
    """Share of faces recognised, by attack."""
    first, second = pairs_of_one(who)
    own = threshold_at_far(impostor_scores(rows, rows, who), FAR)
    return {
        "same picture": accept_rate(pair_scores(rows, originals), SHIPPED[name]),
        "same picture, own threshold": calibrated_tar(rows, originals, who),
        "other picture, covered alike": accept_rate(pair_scores(rows[first], rows[second]), own),
        "parrot": parrot(rows, originals, who),
    }


def chosen(faces: Path, count: int, models: Models) -> list[tuple[Portrait, Face]]:
    """Portraits whose face the product's detector finds, with that face."""
    found: list[tuple[Portrait, Face]] = []
    with open_one("centerface", models) as detector:
        for portrait in portraits(faces, detector.detect):
            seen = [face for face in detector.detect(portrait.rgb) if face.score >= 0.5]
            if seen:
                found.append((portrait, max(seen, key=lambda face: face.box.area)))
            if len(found) == count:
                break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faces", type=Path)
    parser.add_argument("--pictures", type=int, default=600)
    outcome.add_out(parser, "cover_strength")
    options = parser.parse_args()
    models = Models()
    cases = chosen(options.faces, options.pictures, models)
    who = np.unique([portrait.person for portrait, _ in cases], return_inverse=True)[1]
    result: Results = {}
    with open_judges(RECOGNISERS, models, threads=1) as judges:
        originals: dict[str, np.ndarray] = {}
        for label, how in settings().items():
            rows = embedded(((p, covered(p.rgb, face, how)) for p, face in cases), judges)
            originals = originals or rows
            result[label] = {name: attacks(name, rows[name], originals[name], who) for name in rows}
            for name, shares in result[label].items():
                print(
                    f"{label:30} {name:14}",
                    *(f"{key} {show(share)}" for key, share in shares.items()),
                    sep="  ",
                )
    print(table(result))
    facts = {
        "pictures": len(cases),
        "people": int(who.max()) + 1,
        "processor": platform.processor(),
        "far": FAR,
    }
    outcome.leave({"facts": facts, "result": result}, options.out)


def table(result: Results) -> str:
    """The worst recogniser's shares, as the table of docs/privacy-model.md."""
    lines = ["| cover | same picture | covered alike | parrot |", "|---|---|---|---|"]
    for label, by_name in result.items():
        worst = {
            key: max(shares[key] or 0.0 for shares in by_name.values())
            for key in next(iter(by_name.values()))
        }
        same, own, alike, parrots = (f"{100 * share:.1f} %" for share in worst.values())
        lines.append(f"| {label} | {same} / {own} | {alike} | {parrots} |")
    return "\n".join(lines)


def show(share: float | None) -> str:
    return "   -  " if share is None else f"{100 * share:5.1f}%"


if __name__ == "__main__":
    main()

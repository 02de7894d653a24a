"""Does a set of faces still teach a classifier after it was anonymised?

    python -m benchmarks.dataset FACES [--pictures 1200] [--runs 3] [--replacewith synthetic] [--out FILE]

FACES is a pack of portraits (tar shards and index.csv.gz) with a gender for some of them. One half of
those is anonymised by `veilcast run`, each picture its own person; a linear classifier on MobileNetV2's
features learns from the originals, another from the anonymised pictures, and both are tested on the other
half as it is. Each run has a key of its own, and other people with it. Gender is the pack's label. Smiling
is a pseudo-label: what an expression network says of the original. Beside it the margins: 1 - cosine of the
nearest pair of new people, and of the new face that is nearest to its source (MobileFaceNet), and the people
in the smallest group of estimated attribute bands.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks import outcome
from benchmarks.peers import last_line, program
from benchmarks.speed import processor
from PIL import Image

from veilcast.evaluation.dataset import margin, transfer
from veilcast.evaluation.fairness import age_band, ita_degrees, k_anonymity, tone
from veilcast.evaluation.labelled import INDEX, POINTS, Portrait
from veilcast.evaluation.networks import CONTEXT, TIGHT, Judges, aligned, open_judges
from veilcast.evaluation.pairs import read_picture
from veilcast.trt_engines.convert.expression import LABELS
from veilcast.trt_engines.models import Models

SOURCES = ("aaf", "synth")
HAPPY = LABELS.index("happy")
RECOGNISER = "mobilefacenet"
BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faces", type=Path)
    parser.add_argument("--pictures", type=int, default=1200, help="to train on and to test on together")
    parser.add_argument("--replacewith", default="synthetic")
    parser.add_argument("--model", type=Path, help="a generator's folder; none = the built-in one")
    parser.add_argument("--runs", type=int, default=3, help="each with a key of its own")
    outcome.add_out(parser, "dataset")
    options = parser.parse_args()
    portraits = list(islice(with_gender(options.faces), options.pictures))
    learn = [p for p in portraits if zlib.crc32(p.key.encode()) % 2]
    test = [p for p in portraits if not zlib.crc32(p.key.encode()) % 2]
    runs = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(prefix="veilcast-dataset-") as scratch:
            made = anonymised(learn, Path(scratch), options.replacewith, options.model)
        runs.append(measured(learn, made, test))
    facts = {"processor": processor(), "replacewith": options.replacewith, "sources": SOURCES}
    outcome.leave({**facts, "runs": runs}, options.out)
    print(table({"runs": runs}))


def with_gender(faces: Path) -> Iterator[Portrait]:
    """Portraits whose gender the pack knows, the shards in turn; `person` is that gender."""
    with gzip.open(faces / INDEX, "rt", newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["source"] in SOURCES and r["gender"]]
    shards: dict[str, dict[str, dict[str, str]]] = {}
    for row in rows:
        shards.setdefault(row["shard"], {})[row["key"]] = row
    readers = [_shard(faces / shard, wanted) for shard, wanted in shards.items()]
    while readers:
        for reader in list(readers):
            portrait = next(reader, None)
            if portrait is None:
                readers.remove(reader)
            else:
                yield portrait


def _shard(path: Path, wanted: dict[str, dict[str, str]]) -> Iterator[Portrait]:
    with tarfile.open(path) as archive:
        for member in archive:
            data = archive.extractfile(member) if member.name in wanted else None
            if data is not None:
                row = wanted[member.name]
                rgb = np.asarray(Image.open(io.BytesIO(data.read())).convert("RGB"))
                points = [[float(row[f"{p}_x"]), float(row[f"{p}_y"])] for p in POINTS]
                yield Portrait(row["key"], row["gender"], rgb, np.array(points, np.float32))


def anonymised(
    portraits: Sequence[Portrait], folder: Path, replacewith: str, model: Path | None
) -> list[np.ndarray]:
    """The pictures after `veilcast run`, as a set of files."""
    (folder / "in").mkdir()
    names = [f"{Path(p.key).stem}.png" for p in portraits]
    for name, portrait in zip(names, portraits, strict=True):
        Image.fromarray(portrait.rgb).save(folder / "in" / name)
    command = [program(), "run", folder / "in", "-o", folder / "out", "--replacewith", replacewith, "--quiet"]
    command += ["--model", model] if model else []
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"veilcast run failed: {last_line(done.stderr)}")
    return [read_picture(folder / "out" / name) for name in names]


def measured(
    learn: Sequence[Portrait], made: Sequence[np.ndarray], test: Sequence[Portrait]
) -> dict[str, Any]:
    with open_judges([RECOGNISER], Models(fetch=True), threads=2) as judges:
        if judges.features is None or judges.expression is None:
            sys.exit("weights are missing: veilcast models pull mobilenet_v2 expression")
        pictures = {"originals": [p.rgb for p in learn], "made": list(made), "test": [p.rgb for p in test]}
        points = {"originals": learn, "made": learn, "test": test}
        rows = {name: features(judges, pictures[name], points[name]) for name in pictures}
        smiles = {name: smiling(judges, pictures[name], points[name]) for name in ("originals", "test")}
        embedded = [embeddings(judges, pictures[name], learn) for name in ("originals", "made")]
        bands = groups(judges, learn)
    answers = {
        "gender, labelled": [np.array([p.person == "male" for p in some]) for some in (learn, test)],
        "smiling, pseudo-label": [smiles["originals"], smiles["test"]],
    }
    people = list(range(len(learn)))
    return {
        "attributes": {
            name: asdict(transfer(rows["originals"], rows["made"], labels, rows["test"], truth))
            for name, (labels, truth) in answers.items()
        },
        "margin_to_source_cosine": margin(embedded[1], people, embedded[0]),
        "margin_between_people_cosine": margin(embedded[1], people),
        "margin_between_originals_cosine": margin(embedded[0], people),
        "k_anonymity_people": k_anonymity(people, bands),
    }


def features(judges: Judges, pictures: Sequence[np.ndarray], portraits: Sequence[Portrait]) -> np.ndarray:
    """As the classifier sees them: the face with its surroundings."""
    assert judges.features is not None
    return _in_batches(judges.features, pictures, portraits, CONTEXT, 224)


def smiling(judges: Judges, pictures: Sequence[np.ndarray], portraits: Sequence[Portrait]) -> np.ndarray:
    assert judges.expression is not None
    answers = _in_batches(judges.expression, pictures, portraits, TIGHT, 112)
    return np.asarray(answers.argmax(1) == HAPPY)


def embeddings(judges: Judges, pictures: Sequence[np.ndarray], portraits: Sequence[Portrait]) -> np.ndarray:
    (recogniser,) = judges.recognisers
    found = []
    for start in range(0, len(pictures), BATCH):
        some = zip(pictures[start : start + BATCH], portraits[start : start + BATCH], strict=True)
        found.append(recogniser(np.stack([recogniser.crop(rgb, p.landmarks) for rgb, p in some])))
    return np.concatenate(found)


def groups(judges: Judges, portraits: Sequence[Portrait]) -> list[tuple[str, ...]]:
    """What is told of each person where only bands are told: estimates of a network and of colour."""
    if judges.people is None:
        sys.exit("weights are missing: veilcast models pull faceres")
    seen = _in_batches(judges.people, [p.rgb for p in portraits], portraits, CONTEXT, 224)
    return [
        (age_band(float(age)), "male" if male > 0.5 else "female", tone(ita_degrees(p.rgb, p.landmarks)))
        for (age, male), p in zip(seen, portraits, strict=True)
    ]


def _in_batches(
    network: Any, pictures: Sequence[np.ndarray], portraits: Sequence[Portrait], template: Any, side: int
) -> np.ndarray:
    crops = (aligned(rgb, p.landmarks, template, side) for rgb, p in zip(pictures, portraits, strict=True))
    found = []
    while batch := list(islice(crops, BATCH)):
        found.append(network(np.stack(batch)))
    return np.concatenate(found)


def table(result: dict[str, Any]) -> str:
    runs = result["runs"]
    lines = ["| attribute | learned from the originals | from the anonymised | points lost | chance |"]
    lines.append("|---|---|---|---|---|")
    for name, first in runs[0]["attributes"].items():
        own = first["from_originals"]
        others = [run["attributes"][name]["from_anonymised"] for run in runs]
        lost = sorted(100 * (own - other) for other in others)
        mean = f"{np.mean(lost):.1f} ({lost[0]:.1f} to {lost[-1]:.1f})"
        lines.append(f"| {name} | {own:.1%} | {np.mean(others):.1%} | {mean} | {first['chance']:.1%} |")
    between, source = (
        min(run[f"margin_{to}_cosine"] for run in runs) for to in ("between_people", "to_source")
    )
    lines.append(
        f"\n{len(runs)} runs, each with a key of its own: the mean (least to most). Nearest new face"
    )
    lines.append(f"to its source: {source:.2f}; nearest two new people: {between:.2f} (originals:")
    lines.append(f"{runs[0]['margin_between_originals_cosine']:.2f}); smallest group of attribute bands:")
    lines.append(f"{runs[0]['k_anonymity_people']}.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

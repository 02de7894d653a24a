"""Where `pipeline/checks.py` has its cosines from: how alike strangers are to the two recognisers that run.

    python -m benchmarks.identity_thresholds FACES [--people 500] [--out FILE.json]

FACES: a folder in the training format (docs/training.md). Two pictures of each person; cosines of every
picture of one half with every other person's of the other half. dlib is centred with the mean of the
same pictures, as the generator's constants are; FaceRes is taken as it is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from benchmarks import outcome

from veilcast.diffusion.oim import centred, unit
from veilcast.pipeline import checks
from veilcast.pipeline.align import crop, similarity
from veilcast.training.faces import Entry, Shards, decode, read_index
from veilcast.trt_engines.models import Models
from veilcast.trt_engines.open import open_engine

RATES = (1e-2, 1e-3, 1e-4)
BATCH = 16


def pairs(entries: Sequence[Entry], people: int) -> list[tuple[Entry, Entry]]:
    """Two pictures of each of the first `people` who have two."""
    by_person: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.identity:
            by_person.setdefault(entry.identity, []).append(entry)
    known = (pictures for pictures in by_person.values() if len(pictures) > 1)
    return [(pictures[0], pictures[1]) for pictures in islice(known, people)]


def embedded(recogniser: checks.Recogniser, entries: Sequence[Entry], shards: Shards) -> np.ndarray:
    chips = []
    for entry in entries:
        affine = similarity(np.array(entry.points), recogniser.template)
        chips.append(crop(decode(shards.read(entry)), affine, recogniser.side))
    parts = [recogniser.raw(chips[start : start + BATCH]) for start in range(0, len(chips), BATCH)]
    return np.asarray(unit(np.concatenate(parts)))


def summary(a: np.ndarray, b: np.ndarray) -> dict[str, object]:
    """Cosines that strangers reach at each rate, and how many pairs of one person do."""
    cosines = a @ b.T
    genuine = np.diag(cosines)
    strangers = cosines[~np.eye(len(cosines), dtype=bool)]
    limits = {rate: float(np.quantile(strangers, 1 - rate)) for rate in RATES}
    return {
        "people": len(a),
        "strangers_mean": float(strangers.mean()),
        "limits": {str(rate): round(limit, 3) for rate, limit in limits.items()},
        "same_person_above": {
            str(r): round(float((genuine > limit).mean()), 3) for r, limit in limits.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--people", type=int, default=500)
    outcome.add_out(parser, "identity_thresholds")
    options = parser.parse_args()
    models, shards = Models(fetch=True), Shards(options.faces)
    first, second = zip(*pairs(read_index(options.faces), options.people), strict=True)
    results = {}
    with open_engine(models.file("dlib")) as dlib, open_engine(models.file("faceres")) as faceres:
        eyes = {"dlib": checks.dlib(dlib, np.zeros(128)), "faceres": checks.faceres(faceres)}
        for name, recogniser in eyes.items():
            a, b = (embedded(recogniser, half, shards) for half in (first, second))
            if name == "dlib":
                mean = np.concatenate([a, b]).mean(0)
                a, b = centred(a, mean), centred(b, mean)
            results[name] = summary(a, b)
    outcome.leave(results, options.out)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

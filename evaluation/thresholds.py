"""From which cosine on a recogniser says "the same person": set on clean pairs of different pictures at
one false match in a thousand.

`SHIPPED` was made by `veilcast evaluate --calibrate FACES` on the held-out people of a pack of in-the-wild
portraits of 160 to 320 px (884 people, 6,062 genuine and 2,050,166 impostor pairs), where the three accept
.872, .734 and .805 of the genuine pairs; mislabelled pairs cap that at about .9.
A site sets its own on its own labelled pictures and passes the file with `--thresholds`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from veilcast.errors import ConfigError, EvaluationFailed, InputMissing
from veilcast.evaluation.gallery import Gallery
from veilcast.evaluation.labelled import Portrait
from veilcast.evaluation.networks import Judges
from veilcast.evaluation.reidentification import (
    accept_rate,
    impostor_scores,
    pair_scores,
    threshold_at_far,
)

FAR = 1e-3
BATCH = 16

SHIPPED: dict[str, float] = {"mobilefacenet": 0.4675, "faceres": 0.6030, "dlib": 0.9296}


@dataclass(frozen=True, slots=True)
class Calibration:
    """How one recogniser does on clean pictures. `tar`: share of the pairs of one person accepted."""

    recogniser: str
    threshold: float
    far: float
    tar: float
    people: int
    genuine_pairs: int
    impostor_pairs: int


def embed_all(portraits: Iterable[Portrait], judges: Judges) -> Gallery:
    """Every portrait embedded by every recogniser. Raises InputMissing where there is none."""
    rows: dict[str, list[np.ndarray]] = {r.name: [] for r in judges.recognisers}
    people: list[str] = []
    keys: list[str] = []
    batch: list[Portrait] = []

    def flush() -> None:
        for recogniser in judges.recognisers if batch else ():
            crops = np.stack([recogniser.crop(p.rgb, p.landmarks) for p in batch])
            rows[recogniser.name].append(recogniser(crops))
        batch.clear()

    for portrait in portraits:
        batch.append(portrait)
        people.append(portrait.person)
        keys.append(portrait.key)
        if len(batch) == BATCH:
            flush()
    flush()
    if not people:
        raise InputMissing("no pictures of known people there: give a folder with one folder per person")
    return Gallery({name: np.concatenate(parts) for name, parts in rows.items()}, people, keys)


def calibrated(portraits: Iterable[Portrait], judges: Judges) -> list[Calibration]:
    """Thresholds at FAR 1e-3 from labelled pictures. Raises EvaluationFailed where there are too few."""
    gallery = embed_all(portraits, judges)
    who = np.unique(gallery.people, return_inverse=True)[1]
    first, second = pairs_of_one(who)
    out = []
    for name, rows in gallery.vectors.items():
        impostors = impostor_scores(rows, rows, who)
        try:
            threshold = threshold_at_far(impostors, FAR)
        except ValueError as error:
            raise EvaluationFailed(f"too few pictures to set a threshold for {name}: {error}") from None
        genuine = pair_scores(rows[first], rows[second])
        tar = accept_rate(genuine, threshold) or 0.0
        out.append(Calibration(name, threshold, FAR, tar, gallery.size, len(genuine), len(impostors)))
    return out


def pairs_of_one(who: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of all pairs of different pictures of one person."""
    first, second = [], []
    for person in range(int(who.max()) + 1):
        own = np.flatnonzero(who == person)
        i, j = np.triu_indices(len(own), 1)
        first.append(own[i])
        second.append(own[j])
    return np.concatenate(first), np.concatenate(second)


def write(calibrations: Iterable[Calibration], path: Path) -> None:
    """As JSON, with how it was made."""
    path.write_text(json.dumps([asdict(c) for c in calibrations], indent=2) + "\n")


def read(path: Path) -> dict[str, float]:
    """Thresholds by recogniser. Raises InputMissing, ConfigError."""
    try:
        return {str(row["recogniser"]): float(row["threshold"]) for row in json.loads(path.read_text())}
    except OSError as error:
        raise InputMissing(f"cannot read the thresholds {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            f"{path} does not hold thresholds; make it with --calibrate DIR --json FILE"
        ) from None

"""The re-identification rows of a result: what each recogniser, and each attack with it, still finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from veilcast.errors import ConfigError
from veilcast.evaluation import attacks
from veilcast.evaluation.gallery import Gallery
from veilcast.evaluation.measure import Measured
from veilcast.evaluation.reidentification import (
    Embeddings,
    accept_rate,
    clopper_pearson,
    det_curve,
    impostor_scores,
    pair_scores,
    rank_rate,
)
from veilcast.evaluation.samples import FaceSample

Result = dict[str, Any]


def recognisers(samples: Sequence[FaceSample]) -> list[str]:
    return list(samples[0].embeddings) if samples else []


def threshold_of(name: str, thresholds: Mapping[str, float]) -> float:
    try:
        return thresholds[name]
    except KeyError:
        raise ConfigError(
            f"no threshold is known for the recogniser {name}; set it with `veilcast evaluate --calibrate "
            "DIR` on pictures of known people and pass what --json wrote as --thresholds"
        ) from None


def embeddings(samples: Sequence[FaceSample], name: str) -> tuple[Embeddings, Embeddings]:
    """Of the originals and of the outputs."""
    rows = np.stack([s.embeddings[name] for s in samples]).astype(np.float32)
    return rows[:, 0], rows[:, 1]


def people(measured: Measured) -> np.ndarray:
    """A number for the person in each sample: named ones by name, else each track its own."""
    names = [measured.clips[s.clip].person or f"track {s.track}" for s in measured.samples]
    return np.unique(names, return_inverse=True)[1]


def row(name: str, measured: Measured, threshold: float, gallery: Gallery | None) -> Result:
    samples = measured.samples
    originals, outputs = embeddings(samples, name)
    scores = pair_scores(outputs, originals)
    who = people(measured)
    matched = scores >= threshold
    impostors = impostor_scores(outputs, originals, who)
    tracks = {s.track: False for s in samples}
    for sample, hit in zip(samples, matched, strict=True):
        tracks[sample.track] |= bool(hit)
    places = None if gallery is None else gallery.places(name, measured)
    return {
        "recogniser": name,
        "tar": accept_rate(scores, threshold),
        "tar_upper": clopper_pearson(int(matched.sum()), len(matched))[1],
        "rank1": None if places is None else rank_rate(places.outputs, 1),
        "rank5": None if places is None else rank_rate(places.outputs, 5),
        "control": accept_rate(np.array([s.controls[name] for s in samples]), threshold),
        "rank1_control": None if places is None else rank_rate(places.originals, 1),
        "gallery_people": None if gallery is None else gallery.size,
        "threshold_cosine": threshold,
        "mean_cosine": float(scores.mean()),
        "faces": len(samples),
        "tracks": len(tracks),
        "tracks_matched": sum(tracks.values()),
        "margin_to_source_cosine": threshold - float(np.quantile(scores, 0.95)),
        "margin_between_people_cosine": _margin_between(outputs, who, threshold),
        "strangers_far": accept_rate(impostors, threshold),
        "det_curve_far_frr": det_curve(scores, impostors),
        "attacks": {
            "negation_tar": attacks.negation(outputs, originals, who),
            "parrot_tar": attacks.parrot(outputs, originals, who),
            **_linkage(measured, outputs, who, threshold),
        },
    }


def _margin_between(outputs: Embeddings, who: np.ndarray, threshold: float) -> float | None:
    """How far below the threshold 95 % of the pairs of new faces of different people stay."""
    scores = impostor_scores(outputs, outputs, who)
    return threshold - float(np.quantile(scores, 0.95)) if len(scores) else None


def _linkage(
    measured: Measured, outputs: Embeddings, who: np.ndarray, threshold: float
) -> dict[str, float | None]:
    """Linkage of tracks by their mean output embedding."""
    tracks = np.array([s.track for s in measured.samples])
    names, first, number = np.unique(tracks, return_index=True, return_inverse=True)
    means = np.zeros((len(names), outputs.shape[1]))
    np.add.at(means, number, outputs)
    clips = np.array([measured.samples[i].clip for i in first])
    scope_names = [measured.clips[c].scope or f"clip {c}" for c in clips]
    scopes = np.unique(scope_names, return_inverse=True)[1]
    return attacks.linkage(means, who[first], clips, scopes, threshold)

"""Would a face recogniser still know who it is? Scores are cosines of unit embeddings, and every
face is aligned from the ORIGINAL frame, so that a cover which breaks a detector gains nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import beta

from veilcast.arrays import Bool, Float, Int

Embeddings = Float[np.ndarray, "n d"]
Scores = Float[np.ndarray, " n"]


def unit(vectors: Embeddings) -> Embeddings:
    """Rows scaled to length 1; a zero row stays zero and so matches nobody."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Embeddings = vectors / np.where(norms > 0, norms, 1)
    return scaled


def pair_scores(a: Embeddings, b: Embeddings) -> Scores:
    """Cosine of row i of `a` with row i of `b`."""
    scores: Scores = np.einsum("nd,nd->n", unit(a), unit(b))
    return scores


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact two-sided bounds of a binomial share (Clopper and Pearson 1934): quantiles of
    Beta(k, n - k + 1) and Beta(k + 1, n - k). No trials know nothing: (0, 1)."""
    if trials == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1 - tail, successes + 1, trials - successes))
    return low, high


def threshold_at_far(impostors: Scores, far: float = 1e-3) -> float:
    """The lowest threshold at which at most `far` of the impostor scores are accepted (score >=
    threshold); ISO/IEC 19795-1. Raises ValueError where there are fewer than 1 / far scores."""
    if len(impostors) * far < 1:
        raise ValueError(f"FAR {far:g} needs at least {1 / far:.0f} impostor scores, got {len(impostors)}")
    ordered = np.sort(impostors)[::-1]
    allowed = int(len(ordered) * far)  # how many may pass
    return float(np.nextafter(ordered[allowed], np.inf)) if allowed < len(ordered) else float(ordered[-1])


def accept_rate(scores: Scores, threshold: float) -> float | None:
    """Share of scores at or above the threshold: TAR for genuine pairs, FAR for impostors."""
    return float((scores >= threshold).mean()) if len(scores) else None


def impostor_scores(
    a: Embeddings, b: Embeddings, people: Int[np.ndarray, " n"], most: int = 2_000_000
) -> Scores:
    """Cosines of a[i] with b[j] for all pairs of different people; evenly thinned to about `most`."""
    a, b = unit(a), unit(b)
    step = max(1, round(len(a) * len(b) / most))
    scores = [(a[i] @ b.T)[people != people[i]] for i in range(0, len(a), step)]
    return np.concatenate(scores) if scores else np.empty(0)


def det_curve(genuine: Scores, impostors: Scores, points: int = 33) -> list[tuple[float, float]]:
    """Detection error trade-off (Martin et al. 1997): (FAR, FRR) at `points` rates that are even in
    log FAR, from 1 / number of impostors to 1."""
    if not len(genuine) or not len(impostors):
        return []
    ordered = np.sort(impostors)[::-1]
    curve = []
    for far in np.geomspace(1 / len(ordered), 1, points):
        threshold = ordered[min(len(ordered), max(1, round(far * len(ordered)))) - 1]
        curve.append((float((impostors >= threshold).mean()), float((genuine < threshold).mean())))
    return curve


def ranks(
    probes: Embeddings,
    probe_people: Sequence[str],
    gallery: Embeddings,
    gallery_people: Sequence[str],
    own_picture: Bool[np.ndarray, "p g"] | None = None,
) -> Int[np.ndarray, " p"]:
    """Closed-set identification (ISO/IEC 19795-1): the place, from 1, of each probe's own person
    among the gallery's people ordered by their best picture; 0 where the gallery has no (other)
    picture of that person. `own_picture` marks pairs of the same picture, which are left out."""
    scores = unit(probes) @ unit(gallery).T
    if own_picture is not None:
        scores = np.where(own_picture, -np.inf, scores)
    names = sorted(set(gallery_people))
    column = {name: i for i, name in enumerate(names)}
    best = np.full((len(probes), len(names)), -np.inf)
    for picture, person in enumerate(gallery_people):
        np.maximum(best[:, column[person]], scores[:, picture], out=best[:, column[person]])
    places = np.zeros(len(probes), int)
    for i, person in enumerate(probe_people):
        if person in column and best[i, column[person]] > -np.inf:
            # a tie counts as found: doubt is to the attacker's advantage
            places[i] = 1 + int((best[i] > best[i, column[person]]).sum())
    return places


def rank_rate(places: Int[np.ndarray, " p"], rank: int) -> float | None:
    """Share of the probes with a mate in the gallery whose mate is among the first `rank`."""
    known = places[places > 0]
    return float((known <= rank).mean()) if len(known) else None

"""From samples to the result: one plain dictionary, the same for JSON, CSV and the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from veilcast.arrays import Float
from veilcast.errors import EvaluationFailed
from veilcast.evaluation import quality, recognition, temporal
from veilcast.evaluation.coverage import EXPOSED_ABOVE, together
from veilcast.evaluation.fairness import age_band, grouped, k_anonymity, tone
from veilcast.evaluation.gallery import Gallery
from veilcast.evaluation.measure import Measured
from veilcast.evaluation.reidentification import clopper_pearson, pair_scores
from veilcast.evaluation.samples import FaceSample

CONTROL_AT_LEAST = 0.95
FEWEST_FEATURES = 20  # faces below which a distance of distributions says nothing

Result = dict[str, Any]

UTILITY = (
    "pose_error_degrees",
    "gaze_error_eye_widths",
    "blendshape_distance",
    "expression_agreement_share",
    "landmark_error_eye_distances",
    "detected_share",
    "age_error_years",
    "gender_agreement_share",
)


def summary(measured: Measured, thresholds: Mapping[str, float], gallery: Gallery | None = None) -> Result:
    """The whole result. Raises ConfigError for a recogniser without a threshold."""
    samples = measured.samples
    return {
        "coverage": _coverage(measured),
        "reidentification": [
            recognition.row(name, measured, recognition.threshold_of(name, thresholds), gallery)
            for name in recognition.recognisers(samples)
        ],
        "utility": {key: row for key in UTILITY for row in [_against_noise(samples, key)]},
        "quality": _quality(measured),
        "time": _time(samples),
        "fairness": _fairness(measured, thresholds),
    }


def check_control(result: Result) -> None:
    """Raises EvaluationFailed where a recogniser does not even know untouched faces again: then its
    figures about the output mean nothing."""
    for row in result["reidentification"]:
        if row["control"] is not None and row["control"] < CONTROL_AT_LEAST:
            raise EvaluationFailed(
                f"{row['recogniser']} knows only {row['control']:.1%} of the untouched faces again, not "
                f"{CONTROL_AT_LEAST:.0%}: its figures mean nothing here; raise --min-known-px or set its "
                "threshold with --calibrate"
            )


def _coverage(measured: Measured) -> Result:
    total = together(measured.coverage)
    _, upper = clopper_pearson(total.exposed, total.faces)
    return {
        "faces": total.faces,
        "exposed": total.exposed,
        "longest_run": total.longest_run,
        "false_cover": _mean(measured.false_cover),
        "covered_share": total.covered_share,
        "exposed_share_upper": upper,
        "identities": total.identities,
        "identities_exposed": total.identities_exposed,
        "frames": measured.frames,
        "exposed_above_correlation": EXPOSED_ABOVE,
    }


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return float(np.mean(known)) if known else None


def _values(samples: Sequence[FaceSample], key: str) -> list[float]:
    return [s.values[key] for s in samples if key in s.values]


def _against_noise(samples: Sequence[FaceSample], key: str) -> Result:
    """Mean of a measure, and of the same measure between neighbouring frames of the source."""
    return {
        "mean": _mean(_values(samples, key)),
        "source_noise": _mean([s.noise[key] for s in samples if key in s.noise]),
        "faces": sum(key in s.values for s in samples),
    }


def _quality(measured: Measured) -> Result:
    samples = [s for s in measured.samples if s.features is not None]
    result: Result = {
        "sharpness_ratio": _mean(
            [s.values["sharpness_ratio"] for s in measured.samples if "sharpness_ratio" in s.values]
        ),
        "seam_ratio": _mean(_values(measured.samples, "seam_ratio")),
        "outside_difference_levels": _mean(measured.outside),
        "fd_mobilenet_v2": None,
        "detectable_share": None,
        "detectable_with_identity_share": None,
        "faces": len(samples),
    }
    if len(samples) < FEWEST_FEATURES:
        return result
    rows = np.stack([s.features for s in samples if s.features is not None]).astype(np.float32)
    who = recognition.people(measured)[[s.features is not None for s in measured.samples]]
    result["fd_mobilenet_v2"] = quality.frechet_distance(rows[:, 0], rows[:, 1])
    result["detectable_share"] = quality.detectability(rows[:, 0], rows[:, 1], who)
    for name in recognition.recognisers(samples)[:1]:
        originals, outputs = recognition.embeddings(samples, name)
        real, made = (np.concatenate(p, 1) for p in ((rows[:, 0], originals), (rows[:, 1], outputs)))
        result["detectable_with_identity_share"] = quality.detectability(real, made, who)
    return result


def _time(samples: Sequence[FaceSample]) -> Result:
    tracks = list(grouped(samples, lambda s: f"{s.track:08d}").values())
    pairs, light = (_both(samples, key) for key in ("lpips_step", "light_step"))
    result: Result = {"tl_id": {}, "tg_id": {}, "source_adjacent_cosine": {}}
    for name in recognition.recognisers(samples):
        local, overall, noise = [], [], []
        for track in tracks:
            originals, outputs = recognition.embeddings(track, name)
            frames = np.array([s.frame for s in track])
            local.append(temporal.tl_id(outputs, originals, frames))
            overall.append(temporal.tg_id(outputs, originals))
            noise.append(temporal.adjacent_cosine(originals, frames))
        weights = [len(t) for t in tracks]
        result["tl_id"][name] = _weighted(local, weights)
        result["tg_id"][name] = _weighted(overall, weights)
        result["source_adjacent_cosine"][name] = _weighted(noise, weights)
    result["tlpips"] = temporal.tlpips(pairs[:, 0], pairs[:, 1])
    result["lpips_step"] = _mean(pairs[:, 0])
    result["source_lpips_step"] = _mean(pairs[:, 1])
    result["flash_levels"], result["flash_levels_p99"] = temporal.flashes(light[:, 0], light[:, 1])
    result["source_light_step_levels"] = _mean(np.abs(light[:, 1]))
    for key in ("warping_error", "jitter_eye_distances"):
        row = _against_noise(samples, key)
        result[key], result[f"source_{key}"] = row["mean"], row["source_noise"]
    return result


def _both(samples: Sequence[FaceSample], key: str) -> Float[np.ndarray, "n 2"]:
    """What is known of both, of the output and of the source."""
    known = [(s.values[key], s.noise[key]) for s in samples if key in s.values and key in s.noise]
    return np.array(known).reshape(-1, 2)


def _weighted(values: Sequence[float | None], weights: Sequence[int]) -> float | None:
    known = [(v, w) for v, w in zip(values, weights, strict=True) if v is not None]
    return float(np.average([v for v, _ in known], weights=[w for _, w in known])) if known else None


def _fairness(measured: Measured, thresholds: Mapping[str, float]) -> Result:
    """The main rows by group; the groups are estimates of networks and of colour."""
    samples = measured.samples
    ages, genders, tones = (grouped(samples, _band(place)) for place in range(3))
    return {
        "age_band_estimated": {k: _group(v, thresholds) for k, v in ages.items()},
        "gender_expression_estimated": {k: _group(v, thresholds) for k, v in genders.items()},
        "skin_tone_estimated": {k: _group(v, thresholds) for k, v in tones.items()},
        "k_anonymity_people": k_anonymity(list(recognition.people(measured)), [_bands(s) for s in samples]),
    }


def _band(place: int) -> Callable[[FaceSample], str | None]:
    return lambda sample: _bands(sample)[place]


def _bands(sample: FaceSample) -> tuple[str | None, ...]:
    """What is told of a person where only bands are told."""
    age, male, angle = sample.age_years, sample.male, sample.ita_degrees
    return (
        None if age is None else age_band(age),
        None if male is None else "male" if male > 0.5 else "female",
        None if angle is None else tone(angle),
    )


def _group(samples: Sequence[FaceSample], thresholds: Mapping[str, float]) -> Result:
    exposed = sum(s.correlation > EXPOSED_ABOVE for s in samples)
    rows: Result = {
        "faces": len(samples),
        "tracks": len({s.track for s in samples}),
        "exposed": exposed,
        "exposed_share_upper": clopper_pearson(exposed, len(samples))[1],
        "detected_share": _against_noise(samples, "detected_share")["mean"],
        "pose_error_degrees": _against_noise(samples, "pose_error_degrees")["mean"],
        "sharpness_ratio": _against_noise(samples, "sharpness_ratio")["mean"],
    }
    for name in recognition.recognisers(samples):
        originals, outputs = recognition.embeddings(samples, name)
        matched = int((pair_scores(outputs, originals) >= thresholds[name]).sum())
        rows[f"tar_{name}"] = matched / len(samples)
        rows[f"tar_upper_{name}"] = clopper_pearson(matched, len(samples))[1]
    return rows

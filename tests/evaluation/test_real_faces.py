"""The default recognisers on real portraits: what only real faces show."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from veilcast.evaluation import labelled
from veilcast.evaluation.labelled import Portrait
from veilcast.evaluation.looks import coded_anew
from veilcast.evaluation.networks import Judges, open_judges
from veilcast.evaluation.reidentification import accept_rate, pair_scores
from veilcast.evaluation.thresholds import SHIPPED
from veilcast.trt_engines.models import Models
from veilcast.types import Box

pytestmark = [pytest.mark.shared, pytest.mark.slow]


@pytest.fixture(scope="module")
def judges() -> Iterator[Judges]:
    """The defaults of `veilcast evaluate`, where their weights are."""
    models = Models()
    missing = [role.name for role, state in models.status() if state != "ok"]
    if needed := {"mobilefacenet", "faceres", "landmarks478"} & set(missing):
        pytest.skip(f"weights are missing: veilcast models pull {' '.join(sorted(needed))}")
    with open_judges(["mobilefacenet", "faceres"], models) as opened:
        yield opened


@pytest.fixture(scope="module")
def portraits(shared: Path) -> list[Portrait]:
    if not (shared / "faces" / labelled.INDEX).is_file():
        pytest.skip(f"no pack of portraits at {shared / 'faces'}")
    return list(islice(labelled.portraits(shared / "faces", lambda rgb: []), 60))


def test_an_untouched_re_encode_is_recognised(judges: Judges, portraits: list[Portrait]) -> None:
    for recogniser in judges.recognisers:
        clean, coded = [], []
        for p in portraits:
            middle = Box(
                p.rgb.shape[1] * 0.3, p.rgb.shape[0] * 0.3, p.rgb.shape[1] * 0.7, p.rgb.shape[0] * 0.7
            )
            again, corner = coded_anew(p.rgb, middle)
            clean.append(recogniser.crop(p.rgb, p.landmarks))
            coded.append(recogniser.crop(again, p.landmarks - corner))
        scores = pair_scores(recogniser(np.stack(clean)), recogniser(np.stack(coded)))
        assert (accept_rate(scores, SHIPPED[recogniser.name]) or 0) > 0.95


def test_strangers_are_not_taken_for_each_other(judges: Judges, portraits: list[Portrait]) -> None:
    who = np.unique([p.person for p in portraits], return_inverse=True)[1]
    for recogniser in judges.recognisers:
        rows = recogniser(np.stack([recogniser.crop(p.rgb, p.landmarks) for p in portraits]))
        i, j = np.triu_indices(len(rows), 1)
        strangers = pair_scores(rows[i], rows[j])[who[i] != who[j]]
        assert (accept_rate(strangers, SHIPPED[recogniser.name]) or 0) < 0.01

"""What a new face shares with the old one, as people ask for it."""

from __future__ import annotations

import numpy as np
import pytest

from veilcast.errors import ConfigError
from veilcast.pipeline.policy import parse_policy


@pytest.mark.parametrize(
    ("text", "agrees", "differs"),
    [
        ("", [0.42, 0.2, 0.35], [0.42, 0.9, 0.35]),
        ("age=any", [0.9, 0.2, 0.35], [0.9, 0.2, 0.9]),
        ("gender=any,skin=any", [0.42, 0.9, -0.9], [0.9, 0.9, -0.9]),
        ("age=20-30", [0.25, 0.2, 0.35], [0.42, 0.2, 0.35]),
        ("gender=male", [0.42, 0.9, 0.35], [0.42, 0.2, 0.35]),
        ("skin=dark", [0.42, 0.2, -0.5], [0.42, 0.2, 0.35]),
        ("skin=light, age=any", [0.9, 0.2, 0.45], [0.9, 0.2, 0.3]),
    ],
)
def test_a_policy_says_who_fits_a_source(text: str, agrees: list[float], differs: list[float]) -> None:
    misfit = parse_policy(text).misfit(np.array([0.4, 0.3, 0.3]))
    assert misfit(np.array([agrees, differs])) == pytest.approx([0, misfit(np.array([differs]))[0]])
    assert misfit(np.array([differs]))[0] > 0


@pytest.mark.parametrize(
    "text",
    [
        "age=young",
        "age=10-20",
        "age=30-20",
        "age=1-2-3",
        "gender=both",
        "skin=blue",
        "height=keep",
        "age",
        "age=any,age=keep",
    ],
)
def test_policies_that_make_no_sense_are_named(text: str) -> None:
    with pytest.raises(ConfigError, match="--attributes"):
        parse_policy(text)

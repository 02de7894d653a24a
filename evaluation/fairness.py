"""Is it as good for everyone? Groups are estimated from the ORIGINAL faces and named as estimates."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import cv2
import numpy as np

from veilcast.evaluation.quality import inner_mean
from veilcast.types import Box, Points, Rgb

T = TypeVar("T")

AGE_BANDS = ((0, "under 30"), (30, "30 to 44"), (45, "45 to 59"), (60, "60 and over"))
# del Bino and Bernerd 2013, table 1: lower limits of the angle in degrees
TONES = ((55.0, "very light"), (41.0, "light"), (28.0, "intermediate"), (10.0, "tan"), (-30.0, "brown"))


def age_band(years: float) -> str:
    return [name for start, name in AGE_BANDS if years >= start or start == 0][-1]


def ita_degrees(rgb: Rgb, landmarks: Points) -> float:
    """Individual typology angle (Chardon et al. 1991): arctan((L* - 50) / b*) of CIELAB, mean of the two
    cheeks: discs halfway between each eye and the mouth corner below it."""
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    left_eye, right_eye, _, left_mouth, right_mouth = landmarks
    radius = 0.1 * float(np.linalg.norm(right_eye - left_eye))
    colours = []
    for eye, mouth in ((left_eye, left_mouth), (right_eye, right_mouth)):
        x, y = (eye + mouth) / 2
        colours.append(inner_mean(lab, Box(x - radius, y - radius, x + radius, y + radius)))
    lightness, _, b = np.mean(colours, axis=0)
    return math.degrees(math.atan2(lightness - 50, b))


def tone(angle_degrees: float) -> str:
    """Name of the skin tone of an individual typology angle."""
    return next((name for limit, name in TONES if angle_degrees > limit), "dark")


def grouped(items: Sequence[T], name: Callable[[T], str | None]) -> dict[str, list[T]]:
    """Items by group name, in order of the names; those without a name are left out."""
    groups: dict[str, list[T]] = {}
    for item in items:
        if (key := name(item)) is not None:
            groups.setdefault(key, []).append(item)
    return dict(sorted(groups.items()))


def k_anonymity(people: Sequence[Hashable], groups: Sequence[Hashable]) -> int | None:
    """Sweeney 2002: the number of people in the smallest group of people who share all their attribute
    bands; `groups[i]` is what was seen of people[i], and a person belongs to what was seen most often."""
    seen: dict[Hashable, Counter[Hashable]] = {}
    for person, group in zip(people, groups, strict=True):
        seen.setdefault(person, Counter())[group] += 1
    sizes = Counter(counts.most_common(1)[0][0] for counts in seen.values())
    return min(sizes.values(), default=None)

"""What a new face shares with the old one: `--attributes`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from veilcast.arrays import Float
from veilcast.errors import ConfigError

Coarse = Float[np.ndarray, " 3"]  # age / 100 years, gender (0 female, 1 male), ITA / 100 degrees
Misfit = Callable[[Float[np.ndarray, "n 3"]], Float[np.ndarray, " n"]]

# what "the same" means where an attribute is kept: within the error of the estimates
_KEEP_TOLERANCE = np.array([0.10, 0.1, 0.18])  # age / 100 years, gender, ITA / 100 degrees

GENDERS = {"female": (-9.0, 0.5), "male": (0.5, 9.0)}
# bands of the individual typology angle in degrees (Chardon et al. 1991; Del Bino and Bernerd 2013)
SKINS = {
    "very-light": (55.0, 180.0),
    "light": (41.0, 55.0),
    "intermediate": (28.0, 41.0),
    "tan": (10.0, 28.0),
    "brown": (-30.0, 10.0),
    "dark": (-180.0, -30.0),
}


def anybody(coarse: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """What a policy without wishes says of coarse attributes."""
    return np.zeros(len(coarse))


@dataclass(frozen=True, slots=True)
class Policy:
    """What the new face shares with the old: per attribute `keep`, `any`, or a band. Ages as FROM-TO in
    years, genders and skins by the names above. Raises ConfigError for anything else."""

    age: str = "keep"
    gender: str = "keep"
    skin: str = "keep"

    def __post_init__(self) -> None:
        self.misfit(np.zeros(3))(np.zeros((1, 3)))

    def misfit(self, source: Coarse) -> Misfit:
        """How far coarse attributes (n, 3) are from what is wanted for a source of these, 0 = agrees."""
        names = zip((self.age, self.gender, self.skin), source, _KEEP_TOLERANCE, strict=True)
        bands = [self._band(number, *rest) for number, rest in enumerate(names)]
        low, high = np.array(bands).T

        def distance(coarse: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
            outside = np.maximum(low - coarse, 0) + np.maximum(coarse - high, 0)
            result: Float[np.ndarray, " n"] = (outside / _KEEP_TOLERANCE).sum(1)
            return result

        return distance

    def misdrawn(self, source: Coarse) -> Misfit:
        """The same of a rendering, whose age and skin follow the light as well."""
        return replace(self, age="any", skin="any").misfit(source)

    @property
    def own_tone(self) -> bool:
        """Whether the new skin may be of another tone."""
        return self.skin != "keep"

    def _band(self, number: int, wish: str, source: float, tolerance: float) -> tuple[float, float]:
        if wish == "any":
            return (-np.inf, np.inf)
        if wish == "keep" and number == 1:
            return GENDERS["male" if source > 0.5 else "female"]
        if wish == "keep":
            return (source - tolerance, source + tolerance)
        return _named_band(number, wish)


def _named_band(number: int, wish: str) -> tuple[float, float]:
    try:
        if number == 0:
            low, high = (float(years) / 100 for years in wish.split("-"))
            if 0.18 <= low < high <= 1.2:
                return (low, high)
        elif number == 1:
            return GENDERS[wish]
        else:
            low, high = SKINS[wish]
            return (low / 100, high / 100)
    except (KeyError, ValueError):
        pass
    choices = ("FROM-TO in years, from 18", " or ".join(GENDERS), ", ".join(SKINS))[number]
    name = ("age", "gender", "skin")[number]
    raise ConfigError(f"--attributes {name}={wish} is not known; use keep, any, or {choices}")


def parse_policy(text: str) -> Policy:
    """`age=keep,gender=any,skin=light`; what is left out is kept. Raises ConfigError."""
    wishes: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, wish = part.partition("=")
        if name not in ("age", "gender", "skin") or not equals or name in wishes:
            raise ConfigError(f"--attributes {part} is not known; write age=..., gender=..., skin=...")
        wishes[name] = wish
    return Policy(**wishes)

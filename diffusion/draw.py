"""Who the new face is: a keyed pseudo-random draw from the learned space of people.

    seed = HMAC-SHA256(scope key, stream nonce || track || counter)        (FIPS 198-1)

and everything random of a persona is SHAKE-256(label || seed) (FIPS 202): no shared store, any worker
draws the same person, and without the key nobody can. What is seen in the picture never enters a
seed: it enters by rejection (a candidate who does not agree in age, gender or skin tone is passed
over) and by subtraction (`oim`). A guessable seed and the persona together would give the direction of
the source back, so keys, seeds and identities are never logged or stored.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from veilcast.arrays import Float, Float32, Float64
from veilcast.diffusion.oim import basis, centred, orthogonal, unit
from veilcast.types import Identity

KEY_BYTES = 32
_CANDIDATES = 64  # drawn together
_LEAST, _MOST = np.array([0.2, 0.0, -0.9]), np.array([0.9, 1.0, 0.9])  # adults, in the range of the training
_ROUNDS = 8

Coarse = Float[np.ndarray, " 3"]  # age / 100 years, 0 female .. 1 male, ITA of the skin / 100 degrees
Decode = Callable[[Float32[np.ndarray, "n z"], Float32[np.ndarray, "n 3"]], Float[np.ndarray, "n d"]]


class ScopeKey:
    """The secret of one identity scope. It cannot be printed, compared in variable time or pickled."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) < KEY_BYTES:
            raise ValueError(f"an identity key needs at least {KEY_BYTES} bytes, got {len(key)}")
        self._key = bytes(key)

    @classmethod
    def random(cls) -> ScopeKey:
        """For this run only: nobody can draw the same people again."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def unsafe_from_seed(cls, seed: int) -> ScopeKey:
        """For tests only: whoever guesses the number has the key."""
        return cls(hashlib.sha256(b"veilcast test seed %d" % seed).digest())

    def seed(self, nonce: bytes, track: int, counter: int) -> bytes:
        """32 bytes for one draw. The nonce's length is part of the message, so no two inputs collide."""
        message = b"".join(
            (
                len(nonce).to_bytes(8, "big"),
                nonce,
                track.to_bytes(8, "big", signed=True),
                counter.to_bytes(8, "big"),
            )
        )
        return hmac.digest(self._key, message, "sha256")

    def __repr__(self) -> str:
        return "ScopeKey(hidden)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScopeKey) and hmac.compare_digest(self._key, other._key)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("an identity key is not to be stored or sent")


def gaussian(seed: bytes, label: str, *shape: int) -> Float64[np.ndarray, ...]:
    """Standard normal numbers from a seed by SHAKE-256 and Box-Muller: the same on every version of numpy,
    whose own generators promise no such thing. Different labels give independent numbers."""
    count = int(np.prod(shape))
    pairs = -(-count // 2)
    stream = hashlib.shake_256(label.encode() + b"\0" + seed).digest(16 * pairs)
    uniform = ((np.frombuffer(stream, "<u8") >> 11) + 0.5) * 2.0**-53  # in (0, 1)
    radius, angle = np.sqrt(-2 * np.log(uniform[:pairs])), 2 * np.pi * uniform[pairs:]
    values = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
    return values.reshape(shape)


@dataclass(frozen=True, slots=True)
class IdentitySpace:
    """The learned space of people, d dimensions.

    `decode`: the Identity VAE's decoder, (z, coarse) -> centred unit vectors; a Gaussian of people
    (`linear_decode`) serves as well.
    """

    mean: Float[np.ndarray, " d"] = field(repr=False)  # of unit embeddings
    fit: Float[np.ndarray, "3 d"] = field(repr=False)  # coarse = fit @ identity + fit_bias
    fit_bias: Coarse = field(repr=False)
    coarse_mean: Coarse = field(repr=False)  # of the population that personas are drawn from
    coarse_factor: Float[np.ndarray, "3 3"] = field(repr=False)
    decode: Decode = field(repr=False)
    latent_size: int = 64

    def centred(self, embedding: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n d"]:
        return centred(embedding, self.mean)

    def coarse_of(self, identity: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n 3"]:
        """What a centred unit vector says about age, gender and skin."""
        result: Float[np.ndarray, "*n 3"] = identity @ self.fit.T + self.fit_bias
        return result

    def people(self, seeds: list[bytes]) -> tuple[Float64[np.ndarray, "n d"], Float64[np.ndarray, "n 3"]]:
        """One person for each seed, nothing else known, and the coarse attributes that they were drawn with.
        Raises ValueError where the decoder fails."""
        normal = np.stack([gaussian(seed, "coarse", 3) for seed in seeds])
        coarse = np.clip(self.coarse_mean + normal @ self.coarse_factor.T, _LEAST, _MOST)
        coarse[:, 1] = coarse[:, 1] > 0.5
        z = np.stack([gaussian(seed, "z", self.latent_size) for seed in seeds])
        found = unit(self.decode(z.astype(np.float32), coarse.astype(np.float32)))
        if found.shape != (len(seeds), len(self.mean)):
            raise ValueError(f"identities must be {(len(seeds), len(self.mean))}, got {found.shape}")
        return found, coarse


def linear_decode(shift: Float[np.ndarray, "d 3"], factor: Float[np.ndarray, "d z"]) -> Decode:
    """A Gaussian of centred people, conditional on the coarse attributes: shift @ coarse + factor @ z."""

    def decode(z: Float32[np.ndarray, "n z"], coarse: Float32[np.ndarray, "n 3"]) -> Float[np.ndarray, "n d"]:
        return unit(coarse @ shift.T + z @ factor.T)

    return decode


def draw(
    key: ScopeKey,
    nonce: bytes,
    track: int,
    space: IdentitySpace,
    avoid: Float[np.ndarray, "k d"],
    misfit: Callable[[Float[np.ndarray, "n 3"]], Float[np.ndarray, " n"]],
    first: int | None = None,
) -> Iterator[Identity]:
    """The personas of one track, in the order of their counters; the next one is a redraw.

    avoid: centred identities to be orthogonal to, the track's own source first. misfit: how badly coarse
    attributes fit the track, 0 = they agree; whoever does not is passed over. When _ROUNDS rounds
    bring too few, the best fitting of the rest follow, so that the draw ends. first: the number of the
    candidate that this person has elsewhere; it comes first, whether it fits here or not.
    """
    columns = basis(avoid)
    if first is not None:
        seed = key.seed(nonce, track, first)
        yield Identity(seed, orthogonal(space.people([seed])[0], columns)[0].astype(np.float32), first)
    rest: list[tuple[float, int, Identity]] = []
    for start in range(0, _CANDIDATES * _ROUNDS, _CANDIDATES):
        numbers = range(start, start + _CANDIDATES)
        seeds = [key.seed(nonce, track, number) for number in numbers]
        people, coarse = space.people(seeds)
        people = orthogonal(people, columns)
        distances = misfit(coarse) + misfit(_with_gender_of(space.coarse_of(people), coarse))
        for number, seed, person, distance in zip(numbers, seeds, people, distances, strict=True):
            identity = Identity(seed, person.astype(np.float32), number)
            if number == first:
                continue
            if distance <= 0:
                yield identity
            else:
                rest.append((float(distance), number, identity))
    for _, _, identity in sorted(rest, key=lambda candidate: candidate[:2]):
        yield identity


def _with_gender_of(
    fitted: Float[np.ndarray, "n 3"], drawn: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n 3"]:
    """What was drawn, with the gender that the finished vector has: subtraction may turn it, and of the
    three a linear fit is sure of it alone."""
    return np.stack([drawn[:, 0], fitted[:, 1], drawn[:, 2]], 1)

"""Who is who in a stream, and who they become: the sources of the tracks (in memory alone), which tracks
are one person, and the persona of each person.

A persona is issued once and kept. Its draw depends on key, nonce and the person's first track; what
was seen enters by rejection (age, gender, skin) and subtraction (`diffusion.oim`) alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from veilcast.arrays import Float, Float32
from veilcast.diffusion.draw import IdentitySpace, ScopeKey, draw, gaussian
from veilcast.diffusion.oim import unit
from veilcast.pipeline.policy import Misfit, Policy, anybody
from veilcast.types import Identity, Track

Vector = Float[np.ndarray, " d"]

_GOOD = 0.25  # quality of a sighting from which it can tell two people apart
NOBODY_KNOWN: Mapping[int, int] = MappingProxyType({})
SIGHTINGS = 6  # frames of a track that its source is averaged over
TRIES = 8  # candidates of a persona that are drawn again because they do not look as they were drawn


@dataclass(frozen=True, slots=True)
class Sighting:
    """One good look at one track. `embeddings`: one centred unit vector for each recogniser, the one
    that identities are drawn from first. Never stored, never logged."""

    track: int
    quality: float  # weight in the mean
    embeddings: tuple[Vector, ...] = field(repr=False)
    coarse: Vector = field(repr=False)


@dataclass(frozen=True, slots=True)
class Source:
    """What is known of the person behind one track."""

    track: int
    frames: tuple[int, int]  # first and last
    embeddings: tuple[Vector, ...] = field(repr=False)
    coarse: Vector = field(repr=False)


def best_looks(frames: Iterable[tuple[int, Sequence[Track]]]) -> dict[int, list[int]]:
    """For each frame that is worth looking at: the tracks to look at. A track's life is cut into SIGHTINGS
    equal parts, and in each its largest, surest detection is taken."""
    seen: dict[int, list[tuple[int, float]]] = {}
    for index, tracks in frames:
        for track in tracks:
            if track.score is not None and track.landmarks is not None:
                seen.setdefault(track.id, []).append((index, track.score * track.box.height))
    looks: dict[int, list[int]] = {}
    for track_id, candidates in seen.items():
        for part in np.array_split(np.array(candidates), min(SIGHTINGS, len(candidates))):
            looks.setdefault(int(part[part[:, 1].argmax(), 0]), []).append(track_id)
    return looks


def sources(
    sightings: Iterable[Sighting], frames: Mapping[int, tuple[int, int]], strangers: Sequence[float]
) -> list[Source]:
    """Each track's quality-weighted mean, once, in order of the tracks' numbers.

    A track that went from one person to another has no source, and so no persona: two good sightings
    that every recogniser puts below its cosine in `strangers` are not one person.
    """
    by_track: dict[int, list[Sighting]] = {}
    for sighting in sightings:
        by_track.setdefault(sighting.track, []).append(sighting)
    return [
        Source(track, frames[track], *_mean([(seen.quality, seen.embeddings, seen.coarse) for seen in looks]))
        for track, looks in sorted(by_track.items())
        if not _is_mixed(looks, strangers)
    ]


def _is_mixed(looks: Sequence[Sighting], strangers: Sequence[float]) -> bool:
    good = [look.embeddings for look in looks if look.quality >= _GOOD]
    return any(
        all(float(x @ y) < limit for x, y, limit in zip(a, b, strangers, strict=True))
        for number, a in enumerate(good)
        for b in good[:number]
    )


def _mean(
    looks: Sequence[tuple[float, tuple[Vector, ...], Vector]],
) -> tuple[tuple[Vector, ...], Vector]:
    weights = np.array([max(quality, 1e-6) for quality, _, _ in looks])
    weights /= weights.sum()
    embeddings = tuple(
        unit(weights @ np.stack(vectors)) for vectors in zip(*(look[1] for look in looks), strict=True)
    )
    return embeddings, weights @ np.stack([look[2] for look in looks])


def people(found: Sequence[Source], same: Sequence[float]) -> list[list[Source]]:
    """The tracks of each person: complete linkage, so that every track of a group matches every other one.

    same: for each recogniser the cosine from which two tracks may be one person; all must agree. Tracks
    that are seen in one frame are two people, whatever they look like.
    """
    alike = _likeness(found, same)
    groups = {number: [number] for number in range(len(found))}
    while len(groups) > 1:
        a, b = sorted(int(n) for n in np.unravel_index(alike.argmax(), alike.shape))
        if alike[a, b] < 0:
            break
        groups[a] += groups.pop(b)
        alike[a] = alike[:, a] = np.minimum(alike[a], alike[b])
        alike[a, a], alike[b], alike[:, b] = -1, -1, -1
    return [[found[number] for number in sorted(group)] for group in groups.values()]


def _likeness(found: Sequence[Source], same: Sequence[float]) -> Float[np.ndarray, "n n"]:
    """How far above every threshold two tracks are; negative = two people."""
    alike = np.full((len(found), len(found)), np.inf)
    for number, limit in enumerate(same):
        vectors = np.array([source.embeddings[number] for source in found])
        alike = np.minimum(alike, vectors @ vectors.T - limit) if found else alike
    first, last = np.array([source.frames for source in found]).reshape(-1, 2).T
    together = (first[:, None] <= last) & (first <= last[:, None])  # each with itself, too
    return np.where(together, -1.0, alike)


class Persona:
    """The new person of one real one. What it keeps: identity, noise, the counter of its draw, and how it
    came out. Key material: it shows nothing of itself."""

    def __init__(
        self,
        person: Sequence[Source],
        draws: Iterator[Identity],
        latent_shape: Sequence[int],
        known: bool = False,
        misdrawn: Misfit = anybody,
        own_tone: bool = False,
    ) -> None:
        """`known`: it was shown elsewhere, in another picture of a set; `misdrawn`: how far coarse attributes
        of its renderings are from what is wanted; `own_tone`: its skin need not have the source's tone."""
        weighted = _mean([(1.0, source.embeddings, source.coarse) for source in person])
        self.tracks = tuple(source.track for source in person)
        self.source: tuple[Vector, ...] = weighted[0]
        self.known = known
        self.own_tone = own_tone
        self.counter = -1
        self.shown = 0  # renderings that were accepted; from the first on it stays this one
        self.anchor: tuple[Vector, ...] = ()  # its rendered face, as recognisers see it
        self._draws, self._shape, self._misdrawn = draws, tuple(latent_shape), misdrawn
        self.identity: Identity
        self.redraw()

    def __repr__(self) -> str:
        return f"Persona(tracks={self.tracks})"

    def redraw(self) -> None:
        """The next candidate. Raises StopIteration when there is none, ValueError once it was shown."""
        if self.shown:
            raise ValueError("a persona that was shown is not drawn again")
        self.identity = next(self._draws)
        self.counter += 1

    def will_do(self, coarse: Vector, recognised: bool) -> bool:
        """Whether a rendering with these coarse attributes, `recognised` as the person drawn or not, may be
        its first. After TRIES candidates any may: somebody else's face is better than none."""
        fits = recognised and self._misdrawn(coarse[None])[0] <= 0
        return bool(self.known or self.counter >= TRIES or fits)

    def noise(self) -> Float32[np.ndarray, "c h w"]:
        """Fixed for the persona, from its seed."""
        values: Float32[np.ndarray, "c h w"] = gaussian(self.identity.seed, "noise", *self._shape).astype(
            np.float32
        )
        return values

    def accept(self, rendered: Sequence[Vector]) -> None:
        """The rendering was shown: the anchor is a running mean of what recognisers saw in it. The first
        time all of them look, later perhaps only the first ones."""
        if not self.shown:
            self.anchor = tuple(rendered)
        fresh = tuple(unit(0.9 * a + 0.1 * b) for a, b in zip(self.anchor, rendered, strict=False))
        self.anchor = fresh + self.anchor[len(fresh) :]
        self.shown += 1


def cast(
    groups: Sequence[Sequence[Source]],
    space: IdentitySpace,
    key: ScopeKey,
    nonce: bytes,
    policy: Policy,
    latent_shape: Sequence[int],
    known: Mapping[int, int] = NOBODY_KNOWN,
) -> dict[int, Persona]:
    """The persona of each track. Every persona is orthogonal to its own source first, then to the other
    people of the stream and the personas issued before it, in order. `known`: the candidate that a track's
    person has elsewhere under this key and nonce."""
    real = [_mean([(1.0, s.embeddings, s.coarse) for s in group]) for group in groups]
    issued: list[Vector] = []
    personas: dict[int, Persona] = {}
    for number, group in enumerate(groups):
        own, coarse = real[number]
        others = [embeddings[0] for place, (embeddings, _) in enumerate(real) if place != number]
        avoid = np.stack([own[0], *others, *issued])
        draws = draw(
            key, nonce, group[0].track, space, avoid, policy.misfit(coarse), known.get(group[0].track)
        )
        before, misdrawn = group[0].track in known, policy.misdrawn(coarse)
        persona = Persona(group, draws, latent_shape, before, misdrawn, policy.own_tone)
        issued.append(persona.identity.embedding)
        personas.update(dict.fromkeys(persona.tracks, persona))
    return personas

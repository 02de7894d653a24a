"""Who is who, and who they become: one persona for each person, never one for two."""

from __future__ import annotations

import numpy as np
import pytest
from tests.pipeline.synthetic_world import SPACE, D, track

from veilcast.diffusion.draw import ScopeKey
from veilcast.diffusion.oim import unit
from veilcast.pipeline.identity import (
    SIGHTINGS,
    Persona,
    Sighting,
    Source,
    best_looks,
    cast,
    people,
    sources,
)
from veilcast.pipeline.policy import Policy
from veilcast.types import Track

KEY = ScopeKey.unsafe_from_seed(3)
SAME = (0.7, 0.6)
COARSE = np.array([0.4, 0.3, 0.3])


def person(seed: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=D))


def seen(
    number: int, frames: tuple[int, int], who: int, blur: float = 0.2, second: int | None = None
) -> Source:
    """A track of `who`, as both recognisers averaged it; `second`: whom the second one takes it for."""
    noise = np.random.default_rng(number).normal(size=(2, D)) * blur / np.sqrt(D)
    first, other = unit(person(who) + noise[0]), unit(person(who if second is None else second) + noise[1])
    return Source(number, frames, (first, other), COARSE)


def tracks_of(groups: list[list[Source]]) -> list[list[int]]:
    return [[source.track for source in group] for group in groups]


def issued(
    groups: list[list[Source]], policy: Policy | None = None, nonce: bytes = b"n"
) -> dict[int, Persona]:
    return cast(groups, SPACE, KEY, nonce, policy or Policy(), (4, 2, 2))


# who is who


def test_a_person_who_leaves_and_returns_is_one_person() -> None:
    found = [seen(1, (0, 50), 10), seen(2, (0, 90), 20), seen(5, (60, 90), 10), seen(7, (200, 300), 10)]
    assert tracks_of(people(found, SAME)) == [[1, 5, 7], [2]]


def test_two_faces_in_one_frame_are_two_people_however_alike() -> None:
    twins = [seen(1, (0, 50), 10), seen(2, (50, 90), 10)]
    assert tracks_of(people(twins, SAME)) == [[1], [2]]


def test_one_recogniser_alone_links_nobody() -> None:
    assert len(people([seen(1, (0, 5), 10), seen(2, (9, 12), 10, second=11)], SAME)) == 2


def test_links_do_not_chain_two_people_together() -> None:
    """A and B both resemble the blend between them, but not one another."""
    between = unit(person(1) + person(2))
    chain = [seen(1, (0, 5), 1), Source(2, (9, 12), (between, between), COARSE), seen(3, (20, 25), 2)]
    groups = tracks_of(people(chain, (0.6, 0.6)))
    assert [1, 2, 3] not in groups
    assert len(groups) == 2


@pytest.mark.parametrize("seed", range(5))
def test_of_many_people_and_tracks_no_group_mixes_two(seed: int) -> None:
    rng = np.random.default_rng(seed)
    who = rng.integers(0, 6, 24)
    found = [seen(n, (10 * n, 10 * n + 5), 100 + int(w), blur=0.4) for n, w in enumerate(who)]
    for group in tracks_of(people(found, SAME)):
        assert len({int(who[number]) for number in group}) == 1


def test_a_source_is_the_quality_weighted_mean_of_its_sightings() -> None:
    sharp = Sighting(1, 1.0, (person(1),), np.array([0.3, 0.0, 0.5]))
    blurred = Sighting(1, 0.1, (person(2),), np.array([0.8, 1.0, 0.5]))
    (source,) = sources([sharp, blurred], {1: (0, 9)}, [-1.0])
    assert source.embeddings[0] == pytest.approx(unit((person(1) + 0.1 * person(2)) / 1.1))
    assert source.coarse == pytest.approx((sharp.coarse + 0.1 * blurred.coarse) / 1.1)


def looks_at(*who: int, quality: float = 0.8) -> list[Sighting]:
    rng = np.random.default_rng(0)
    return [
        Sighting(1, quality, tuple(unit(person(w) + 0.03 * rng.normal(size=(2, D)))), COARSE) for w in who
    ]


def test_a_track_that_went_from_one_person_to_another_has_no_source() -> None:
    """So a persona never goes to two people: whoever has no source is covered solid."""
    lifetimes, strangers = {1: (0, 9)}, (0.15, 0.4)
    assert len(sources(looks_at(5, 5, 5, 5), lifetimes, strangers)) == 1
    assert sources(looks_at(5, 5, 5, 6), lifetimes, strangers) == []
    assert len(sources(looks_at(5, 6, quality=0.1), lifetimes, strangers)) == 1  # too poor to tell


def test_looks_are_spread_over_a_track_and_take_its_best_frames() -> None:
    def frame_tracks(index: int) -> list[Track]:
        return [track(1, size=2.0 if index % 10 == 7 else 1.0)]

    looks = best_looks((index, frame_tracks(index)) for index in range(60))
    assert sorted(looks) == [7, 17, 27, 37, 47, 57]
    assert len(looks) == SIGHTINGS


def test_predicted_places_are_not_looked_at() -> None:
    from dataclasses import replace

    assert best_looks([(0, [replace(track(1), score=None)]), (1, [replace(track(1), landmarks=None)])]) == {}


# who they become


def test_all_tracks_of_a_person_share_a_persona_and_no_two_people_do() -> None:
    groups = people([seen(1, (0, 50), 10), seen(2, (0, 90), 20), seen(5, (60, 90), 10)], SAME)
    personas = issued(groups)
    assert personas[1] is personas[5]
    assert personas[1] is not personas[2]
    assert abs(personas[1].identity.embedding @ personas[2].identity.embedding) < 1e-6


def test_personas_are_orthogonal_to_everyone_real() -> None:
    groups = [[seen(n, (0, 9), n)] for n in range(1, 6)]
    for persona in issued(groups).values():
        for group in groups:
            assert abs(persona.identity.embedding @ group[0].embeddings[0]) < 1e-6


def test_the_key_decides_not_the_order_in_which_others_appear() -> None:
    alone = issued([[seen(3, (0, 9), 3)]])[3]
    among = issued([[seen(1, (0, 9), 1)], [seen(3, (0, 9), 3)]])[3]
    assert alone.identity.seed == among.identity.seed
    assert np.array_equal(alone.noise(), among.noise())
    assert issued([[seen(3, (0, 9), 3)]], nonce=b"m")[3].identity.seed != alone.identity.seed


def test_a_redraw_is_another_person_until_it_was_shown() -> None:
    persona = issued([[seen(1, (0, 9), 1)]])[1]
    first = persona.identity
    persona.redraw()
    assert persona.counter == 1
    assert abs(first.embedding @ persona.identity.embedding) < 0.5
    persona.accept([person(9)])
    with pytest.raises(ValueError, match="not drawn again"):
        persona.redraw()


def test_the_anchor_follows_slowly_what_was_shown() -> None:
    persona = issued([[seen(1, (0, 9), 1)]])[1]
    persona.accept([person(1), person(2)])
    persona.accept([person(3)])
    assert persona.anchor[0] == pytest.approx(unit(0.9 * person(1) + 0.1 * person(3)))
    assert persona.anchor[1] == pytest.approx(person(2))


def test_a_persona_and_a_source_do_not_show_themselves() -> None:
    groups = [[seen(1, (0, 9), 1)]]
    shown = f"{issued(groups)[1]!r} {groups[0][0]!r} {Sighting(1, 1.0, (person(1),), COARSE)!r}"
    assert "array" not in shown
    assert "seed" not in shown


# attributes

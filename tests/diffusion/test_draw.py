"""Who the new face is depends on key, stream and track; pixels enter by rejection and subtraction alone."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import logging
import pickle
from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilcast.diffusion.draw import IdentitySpace, ScopeKey, draw, gaussian, linear_decode
from veilcast.diffusion.oim import unit
from veilcast.types import Identity

D = 128
SECRET = bytes(range(40, 72))
KEY, OTHER_KEY = ScopeKey(SECRET), ScopeKey(bytes(32))
PINNED = np.array([[-1.4583952555294586, 0.9291262562669445], [1.2336371471920757, 0.4130902187260682]])
NOBODY = np.zeros((0, D))
RNG = np.random.default_rng(11)
FIT = RNG.normal(size=(3, D)) / np.sqrt(D)
SPACE = IdentitySpace(
    mean=np.zeros(D),
    fit=FIT,
    fit_bias=np.array([0.4, 0.5, 0.2]),
    coarse_mean=np.zeros(3),
    coarse_factor=np.diag([0.1, 0.5, 0.2]),
    decode=linear_decode(RNG.normal(size=(D, 3)), RNG.normal(size=(D, 64))),
)


def anyone(coarse: np.ndarray) -> np.ndarray:
    return np.zeros(len(coarse))


def drawn(
    key: ScopeKey = KEY, nonce: bytes = b"clip", track: int = 1, avoid: np.ndarray = NOBODY, count: int = 3
) -> list[Identity]:
    return list(islice(draw(key, nonce, track, SPACE, avoid, anyone), count))


def same(a: Identity, b: Identity) -> bool:
    return a.seed == b.seed and np.array_equal(a.embedding, b.embedding)


def test_key_nonce_and_track_decide_and_each_of_them_matters() -> None:
    first = drawn()
    assert all(same(a, b) for a, b in zip(first, drawn(), strict=True))
    for other in (drawn(key=OTHER_KEY), drawn(nonce=b"clap"), drawn(track=2)):
        assert not any(same(a, b) for a in first for b in other)
        assert max(float(a.embedding @ b.embedding) for a in first for b in other) < 0.5


def test_the_seed_is_the_documented_mac() -> None:
    message = (4).to_bytes(8, "big") + b"clip" + (7).to_bytes(8, "big") + (2).to_bytes(8, "big")
    assert KEY.seed(b"clip", 7, 2) == hmac.new(SECRET, message, hashlib.sha256).digest()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=12), st.integers(-5, 300), st.integers(0, 300)), unique=True))
def test_no_two_inputs_share_a_seed(inputs: list[tuple[bytes, int, int]]) -> None:
    assert len({KEY.seed(*values) for values in inputs}) == len(inputs)


def test_a_redraw_is_another_person() -> None:
    a, b, c = (identity.embedding for identity in drawn())
    assert max(float(a @ b), float(a @ c), float(b @ c)) < 0.5


def test_pixels_enter_by_subtraction() -> None:
    """Metamorphic: for any source, the persona is the one that would have been drawn for nobody, minus
    its part along the source. Nothing of the source is added."""
    free = [identity.embedding.astype(np.float64) for identity in drawn()]
    for seed in range(20):
        source = unit(np.random.default_rng(seed).normal(size=D))
        for plain, mapped in zip(free, drawn(avoid=source[None]), strict=True):
            assert mapped.embedding == pytest.approx(unit(plain - (plain @ source) * source), abs=1e-6)


def test_a_source_and_its_negation_get_the_same_persona() -> None:
    """So scoring -f(output) finds nothing: the sign of the source cannot be read from its persona."""
    source = unit(np.random.default_rng(5).normal(size=D))[None]
    for a, b in zip(drawn(avoid=source), drawn(avoid=-source), strict=True):
        assert a.embedding == pytest.approx(b.embedding, abs=1e-7)


def test_pixels_enter_by_rejection() -> None:
    """Metamorphic: what a policy leaves is a subsequence of what is drawn without one."""

    def woman(coarse: np.ndarray) -> np.ndarray:
        return np.maximum(coarse[:, 1] - 0.5, 0)

    unhindered = {identity.seed: identity.embedding for identity in drawn(count=200)}
    women = list(islice(draw(KEY, b"clip", 1, SPACE, NOBODY, woman), 40))
    assert all(SPACE.coarse_of(w.embedding)[1] <= 0.5 + 1e-6 for w in women)
    order = list(unhindered)
    places = [order.index(w.seed) for w in women if w.seed in unhindered]
    assert len(places) > 20
    assert places == sorted(places)
    assert all(np.array_equal(w.embedding, unhindered[w.seed]) for w in women if w.seed in unhindered)


def test_where_nobody_fits_the_draw_still_ends_with_the_nearest_first() -> None:
    def ancient(coarse: np.ndarray) -> np.ndarray:
        return 9 - coarse[:, 0]

    people = list(draw(KEY, b"clip", 1, SPACE, NOBODY, ancient))
    ages = SPACE.people([p.seed for p in people])[1][:, 0].tolist()
    assert len(ages) == 512
    assert ages == sorted(ages, reverse=True)


@pytest.mark.parametrize(
    "broken", [np.full((64, D), np.nan), np.zeros((64, D)), np.ones((64, D - 1)), np.ones((3, D))]
)
def test_a_broken_identity_network_draws_nobody(broken: np.ndarray) -> None:
    space = IdentitySpace(
        SPACE.mean, FIT, SPACE.fit_bias, SPACE.coarse_mean, SPACE.coarse_factor, lambda z, coarse: broken
    )
    with pytest.raises(ValueError, match="identit"):
        next(draw(KEY, b"clip", 1, space, NOBODY, anyone))


def test_normal_numbers_are_normal_fixed_for_ever_and_independent_by_label() -> None:
    values = gaussian(b"seed", "noise", 100_001)
    assert values.mean() == pytest.approx(0, abs=0.02)
    assert values.std() == pytest.approx(1, abs=0.02)
    assert (np.abs(values) > 3).mean() == pytest.approx(0.0027, abs=0.001)
    assert abs(np.corrcoef(values, gaussian(b"seed", "z", 100_001))[0, 1]) < 0.02
    # the first values under these names: a change here would give every track of a kept key a new face
    assert gaussian(b"seed", "noise", 2, 2) == pytest.approx(PINNED)


def test_keys_cannot_be_printed_stored_or_sent(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("key %s %r", KEY, KEY)
    shown = f"{KEY} {KEY!r} {[KEY]} {caplog.text}"
    assert SECRET.hex() not in shown
    assert repr(SECRET)[2:-1] not in shown
    for store in (pickle.dumps, copy.copy, json.dumps):
        with pytest.raises(TypeError):
            store(KEY)
    with pytest.raises(TypeError):
        vars(KEY)


def test_identities_do_not_show_themselves() -> None:
    assert "0." not in repr(drawn()[0])
    assert "array" not in repr(SPACE)


def test_keys_are_long_random_by_default_and_compared_by_value() -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        ScopeKey(b"short")
    assert ScopeKey.random() != ScopeKey.random()
    assert ScopeKey.unsafe_from_seed(4) == ScopeKey.unsafe_from_seed(4)
    assert ScopeKey.unsafe_from_seed(4) != ScopeKey.unsafe_from_seed(5)


# the draw broken on purpose: each is noticed


MUTANTS: list[tuple[str, Callable[..., object], Callable[[], None]]] = [
    ("orthogonal", lambda people, columns: people, test_pixels_enter_by_subtraction),
    ("gaussian", lambda seed, label, *shape: np.ones(shape), test_a_redraw_is_another_person),
    (
        "gaussian",
        lambda seed, label, *shape: np.random.default_rng().normal(size=shape),
        test_key_nonce_and_track_decide_and_each_of_them_matters,
    ),
]


@pytest.mark.parametrize(("name", "mutant", "test"), MUTANTS)
def test_a_broken_draw_is_noticed(
    name: str, mutant: Callable[..., object], test: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"veilcast.diffusion.draw.{name}", mutant)
    with pytest.raises(AssertionError):
        test()


def test_a_persona_that_leans_on_its_source_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("veilcast.diffusion.draw.basis", lambda directions: directions.T)
    monkeypatch.setattr(
        "veilcast.diffusion.draw.orthogonal", lambda people, columns: unit(people + 0.1 * columns.sum(1))
    )
    with pytest.raises(AssertionError):
        test_a_source_and_its_negation_get_the_same_persona()


@pytest.mark.parametrize("kept", [slice(0, 8), slice(12, 20)])
def test_a_seed_that_forgets_stream_or_track_is_noticed(kept: slice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the nonce's length, or only the track, would reach the key."""

    def forgetful(key: ScopeKey, nonce: bytes, track: int, counter: int) -> bytes:
        message = len(nonce).to_bytes(8, "big") + nonce + track.to_bytes(8, "big", signed=True)
        return hmac.digest(SECRET, message[kept] + counter.to_bytes(8, "big"), "sha256")

    monkeypatch.setattr(ScopeKey, "seed", forgetful)
    with pytest.raises(AssertionError):
        test_key_nonce_and_track_decide_and_each_of_them_matters()


def test_a_candidate_that_a_person_has_elsewhere_comes_first_and_once() -> None:
    usual = drawn(count=8)
    assert [person.number for person in usual] == list(range(8))
    known = list(islice(draw(KEY, b"clip", 1, SPACE, NOBODY, anyone, first=5), 8))
    assert [person.number for person in known] == [5, 0, 1, 2, 3, 4, 6, 7]
    assert same(known[0], usual[5])

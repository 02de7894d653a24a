"""Every mutant is killed by the test that is named for it."""

import importlib
import inspect
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.mutants import MUTANTS, Mutant, Threat

from veilcast.errors import VeilcastError

# what a test says when it notices; anything else is a mutant that is itself broken
NOTICED = (AssertionError, VeilcastError, pytest.fail.Exception)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_mutant_is_noticed(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    test, arguments = called(mutant, monkeypatch, tmp_path)
    owner, name = place(mutant.target)
    monkeypatch.setattr(owner, name, mutant.change(getattr(owner, name)))
    with pytest.raises(NOTICED):
        test(**arguments)


def test_every_threat_has_two_mutants_and_stages_are_many() -> None:
    threats = Counter(mutant.threat for mutant in MUTANTS)
    assert all(threats[threat] >= 2 for threat in Threat), threats
    assert len(MUTANTS) >= 25
    assert len({mutant.stage for mutant in MUTANTS}) >= 5


def test_mutants_have_names_of_their_own() -> None:
    assert max(Counter(mutant.name for mutant in MUTANTS).values()) == 1


def called(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    """The test and its arguments: the fixtures that it asks for, then the mutant's in their order."""
    owner, name = place(mutant.killed_by)
    test = getattr(owner, name)
    fixtures = {"monkeypatch": monkeypatch, "tmp_path": tmp_path}
    names = list(inspect.signature(test).parameters)
    own = dict(zip([n for n in names if n not in fixtures], mutant.arguments, strict=True))
    return test, own | {n: fixtures[n] for n in names if n in fixtures}


def place(target: str) -> tuple[Any, str]:
    """The module or class that holds the target, and its name there."""
    module, _, path = target.partition(":")
    *outer, name = path.split(".")
    owner: Any = importlib.import_module(module if module.startswith("tests.") else f"veilcast.{module}")
    for part in outer:
        owner = getattr(owner, part)
    return owner, name

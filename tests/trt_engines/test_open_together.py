"""Several networks, opened side by side and closed together."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, cast

import pytest

from veilcast.errors import ModelMissing
from veilcast.trt_engines.engine import Engine
from veilcast.trt_engines.open import open_together


class Network:
    def __init__(self, name: str) -> None:
        if name == "missing":
            raise ModelMissing("there is no network called missing")
        self.name, self.open = name, True

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *error: object) -> None:
        self.open = False


def test_networks_come_in_the_order_that_they_were_asked_for_and_close_together() -> None:
    names = [str(number) for number in range(7)]
    with ExitStack() as stack:
        found = cast("list[Any]", open_together(names, lambda name: cast("Engine", Network(name)), stack))
        assert [network.name for network in found] == names
        assert all(network.open for network in found)
    assert not any(network.open for network in found)


def test_where_one_does_not_open_the_others_are_closed_again() -> None:
    made: list[Network] = []

    def opened(name: str) -> Engine:
        made.append(Network(name))
        return cast("Engine", made[-1])

    with pytest.raises(ModelMissing, match="called missing"), ExitStack() as stack:
        open_together(["first", "missing", "last"], opened, stack)
    assert {network.name for network in made} == {"first", "last"}
    assert not any(network.open for network in made)

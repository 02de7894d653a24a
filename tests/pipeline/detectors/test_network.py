"""A detector that opens an engine for each size of picture."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest

from veilcast.errors import EngineError
from veilcast.pipeline.detectors.network import YUNET, NetworkDetector


class Idle:
    """An engine that is never run."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def detector(open_network: Callable[..., Any]) -> NetworkDetector:
    return NetworkDetector(YUNET, b"network", streams=2, open_network=open_network)


def test_each_size_is_opened_once_whoever_asks() -> None:
    shapes = []

    def open_network(data: bytes, **settings: Any) -> Idle:
        shapes.append(settings["shapes"]["bgr"])
        return Idle()

    with detector(open_network) as network:
        network.ready(640, 360)
        network.ready(640, 361)  # the same in whole steps of the network
        network.ready(320, 180)
    assert shapes == [(1, 3, 384, 640), (1, 3, 192, 320)]


def test_two_sizes_open_side_by_side() -> None:
    both = threading.Barrier(2, timeout=10)  # breaks where one waits for the other

    def open_network(data: bytes, **settings: Any) -> Idle:
        both.wait()
        return Idle()

    with detector(open_network) as network:
        threads = [threading.Thread(target=network.ready, args=(side, side)) for side in (64, 128)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not both.broken


def test_an_opening_that_failed_is_tried_again() -> None:
    attempts = []

    def open_network(data: bytes, **settings: Any) -> Idle:
        attempts.append(settings)
        if len(attempts) == 1:
            raise EngineError("no memory")
        return Idle()

    with detector(open_network) as network:
        with pytest.raises(EngineError, match="no memory"):
            network.candidates(np.zeros((64, 64, 3), np.uint8), 0.5)
        network.ready(64, 64)
    assert len(attempts) == 2

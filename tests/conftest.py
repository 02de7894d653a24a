"""Fixtures that all tests share, and the options of the longer runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from veilcast.pipeline.priority import give_back_real_time

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runslow", action="store_true", help="also run tests that take minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--runslow"):
        return
    skip = pytest.mark.skip(reason="takes minutes: --runslow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _ordinary_priority() -> Iterator[None]:
    """A test that encodes AV1 by itself must not make the next ones starve the machine."""
    yield
    give_back_real_time()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of evaluation clips beside the checkout (VEILCAST_SHARED names another)."""
    folder = Path(os.environ.get("VEILCAST_SHARED", ROOT.parent / "shared"))
    if not (folder / "videos").is_dir():
        pytest.skip(f"no evaluation clips at {folder}; set VEILCAST_SHARED to test on real footage")
    return folder

"""Hubs with a console: one that tests share, and others for one test alone, on both stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.world import FT6, RW, World


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The checklist's fixtures; RW holds FT6 and nothing else. Nobody changes it."""
    made = World(tmp_path_factory.mktemp("console"))
    assert made.post(FT6, into=RW).json["failure_count"] == 0
    yield made
    made.close()


@pytest.fixture
def make_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Makes hubs for this test alone; arguments as World takes them."""
    with ExitStack() as stack:

        def make(**more: Any) -> World:
            made = World(tmp_path_factory.mktemp("own"), **more)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture(params=["sqlite", "mongodb"])
def own_hub(request: pytest.FixtureRequest, make_hub: Any) -> World:
    """A hub for this test alone, on each of the stores."""
    if request.param == "sqlite":
        return make_hub()
    return make_hub(store=request.getfixturevalue("mongo_database_url"))

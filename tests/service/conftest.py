"""Fixtures: every test of this folder that asks for `site` or `store_url` runs on both stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.site import Site


@pytest.fixture(params=["sqlite", "mongodb"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that does not exist yet."""
    if request.param == "sqlite":
        return str(tmp_path / "hub.db")
    return str(request.getfixturevalue("mongo_database_url"))


@pytest.fixture
def site(store_url: str) -> Iterator[Site]:
    """A hub whose policy lets everybody read everything, on a database of this test alone."""
    made = Site(store_url)
    yield made
    made.close()

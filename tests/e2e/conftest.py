"""A running server for each store, shared by the tests, and a collection for each test alone."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient

from tests.e2e.server import LANES, Server, lane, running
from tests.mongo import with_database

#: So much of the end of a server's log is shown with a test that failed.
_LOG_CHARS = 20_000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a failure, what its servers wrote to their logs: an answer of 500 says no more than an error_id."""
    report = yield
    if report.failed:
        for name, used in getattr(item, "funcargs", {}).items():
            if isinstance(used, Server):
                report.sections.append((f"log of `{name}`", used.stderr()[-_LOG_CHARS:]))
    return report


@pytest.fixture(scope="session", params=["sqlite", "mongodb"])
def store_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """A store of each kind for `server`; None is an SQLite file in the server's own folder."""
    yield from _new_store(request)


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def module_store_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """A new, empty store of each kind for the tests of a module."""
    yield from _new_store(request)


@pytest.fixture(params=["sqlite", "mongodb"])
def own_store_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """A new, empty store of each kind for one test."""
    yield from _new_store(request)


def _new_store(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "sqlite":
        yield None
        return
    uri = request.getfixturevalue("mongo_uri")
    name = f"taxii_e2e_{uuid.uuid4().hex[:16]}"
    yield with_database(uri, name)
    with MongoClient[dict[str, object]](uri) as client:
        client.drop_database(name)


@pytest.fixture
def own_server(own_store_url: str | None, tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, not started; ended at the end."""
    made = Server(tmp_path, own_store_url)
    try:
        yield made
    finally:
        made.kill()


@pytest.fixture(scope="session")
def server(store_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two workers. Tests that stop it, or change its files, use one of their own."""
    with running(tmp_path_factory.mktemp("server"), store_url) as made:
        yield made


@pytest.fixture(scope="session")
def lane_numbers(server: Server) -> Iterator[int]:
    return iter(range(LANES))


@pytest.fixture
def lane_id(lane_numbers: Iterator[int]) -> str:
    """A collection that no other test uses, under /api2/."""
    return lane(next(lane_numbers))

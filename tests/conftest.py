"""Fixtures for every folder of the tests."""

from __future__ import annotations

import logging
import signal
import uuid
from collections.abc import Iterator
from types import FrameType

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from pymongo import MongoClient

from taxii_server.storage import mongo_whole
from tests.mongo import mongo_server, with_database
from tests.patching import refuse_what_is_everybodys

refuse_what_is_everybodys()

# The suites of the storage contract explain their assertions like a test file. Here, because tests of other folders
# use their samples: a module has to be named before anyone imports it.
for module in (
    "contract",
    "events_contract",
    "terms_contract",
    "ledger_contract",
    "quarantine_contract",
    "whole_contract",
    "chores_contract",
    "health_contract",
    "samples",
):
    pytest.register_assert_rewrite(f"tests.storage.{module}")

# What hypothesis draws is the same in every run, and no example is too slow for a machine that is shared: a failure is
# the work of whoever changed something. `--hypothesis-profile default` looks further, with other examples each time.
settings.register_profile(
    "suite", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")
# Among what it draws are constants of the source files that are loaded in that moment: each edit of one, and each other
# order of the tests, would be another throw of the dice.
providers._get_local_constants = lambda: providers._local_constants

TEST_TIMEOUT_S = 180


class TookTooLong(BaseException):
    """No Exception, least of all a TimeoutError: the driver of MongoDB would take that for its own, and read on."""


@pytest.fixture(autouse=True)
def no_test_hangs() -> Iterator[None]:
    """Ends a test that waits for ever. Generous: nothing here measures time."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise TookTooLong(f"the test took more than {TEST_TIMEOUT_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(TEST_TIMEOUT_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def logs_are_left_as_they_were() -> Iterator[None]:
    """Puts the package's logger back: a command that runs in this process sets it up for its own lines, and each line
    of a later test would be made and kept, which the tests that count calls and memory count, too."""
    logger = logging.getLogger("taxii_server")
    before = logger.level, logger.propagate, logger.handlers[:]
    yield
    logger.setLevel(before[0])
    logger.propagate, logger.handlers[:] = before[1:]


@pytest.fixture(autouse=True)
def nobody_reads_when_a_restore_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a restore into MongoDB need not wait for who does."""
    monkeypatch.setattr(mongo_whole, "QUIET_S", 0.0)


@pytest.fixture(scope="session")
def mongo_uri() -> Iterator[str]:
    """The URI of a running replica set, without a database. Started once, when the first test asks for it."""
    with mongo_server() as uri:
        yield uri


@pytest.fixture(scope="session")
def mongo_client(mongo_uri: str) -> Iterator[MongoClient[dict[str, object]]]:
    """A client of its own, to look behind a store and to drop databases."""
    with MongoClient[dict[str, object]](mongo_uri) as client:
        yield client


@pytest.fixture
def mongo_database_url(mongo_uri: str, mongo_client: MongoClient[dict[str, object]]) -> Iterator[str]:
    """The URL of a database that does not exist yet; dropped after the test."""
    name = f"taxii_test_{uuid.uuid4().hex[:16]}"
    yield with_database(mongo_uri, name)
    mongo_client.drop_database(name)

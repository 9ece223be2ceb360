"""Fixtures of the leak hunts."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from pymongo import MongoClient

from tests.mongo import with_database


@pytest.fixture
def mongo_database_urls(mongo_uri: str, mongo_client: MongoClient[dict[str, object]]) -> Iterator[tuple[str, str]]:
    """The URLs of two databases that do not exist yet; dropped after the test."""
    names = [f"taxii_leaks_{uuid.uuid4().hex[:16]}" for _ in range(2)]
    yield with_database(mongo_uri, names[0]), with_database(mongo_uri, names[1])
    for name in names:
        mongo_client.drop_database(name)

"""The store on MongoDB: the contract, and what is true of this store alone."""

from __future__ import annotations

import pytest
from collections.abc import Callable, Iterator

from taxii_server.storage.base import Store
from taxii_server.storage.mongo import MongoStore
from taxii_server.storage.mongo_connection import Connection
from taxii_server.times import now_position
from tests.storage.contract import StoreContract, StoreFactory

NOBODY_LISTENS = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50"


@pytest.fixture
def store_factory(mongo_database_url: str) -> Iterator[StoreFactory]:
    """Opens prepared stores on the database of the test."""
    opened: list[MongoStore] = []

    def open_store(now: Callable[[], int] = now_position) -> Store:
        store = MongoStore(mongo_database_url, now=now)
        opened.append(store)
        store.prepare()
        return store

    yield open_store
    for store in opened:
        store.close()


class TestMongo(StoreContract):
    @pytest.fixture
    def store_factory(self, store_factory: StoreFactory) -> StoreFactory:
        return store_factory

    @pytest.fixture
    def break_driver(self) -> Callable[[Store], None]:
        def break_it(store: Store) -> None:
            assert isinstance(store, MongoStore)
            store.close()
            store._connection = Connection(NOBODY_LISTENS, timeout_s=5, write_timeout_s=5, event_listeners=())

        return break_it

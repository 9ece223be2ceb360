"""The SQLite store: the contract, and what is its own business."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taxii_server.storage.base import Store
from taxii_server.storage.sqlite import SQLiteStore
from taxii_server.times import now_position
from tests.storage.contract import StoreContract, StoreFactory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


@pytest.fixture
def store_factory(path: Path) -> Iterator[Callable[..., SQLiteStore]]:
    opened: list[SQLiteStore] = []

    def open_one(now: Callable[[], int] = now_position, **options: object) -> SQLiteStore:
        store = SQLiteStore(path, now=now, **options)  # type: ignore[arg-type]
        opened.append(store)
        store.prepare()
        return store

    yield open_one
    for store in opened:
        store.close()


class TestSQLite(StoreContract):
    @pytest.fixture
    def store_factory(self, store_factory: StoreFactory) -> StoreFactory:
        return store_factory

    @pytest.fixture
    def break_driver(self) -> Callable[[Store], None]:
        def break_it(store: Store) -> None:
            assert isinstance(store, SQLiteStore)
            for connection in store._database._idle:
                connection.db.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)

        return break_it

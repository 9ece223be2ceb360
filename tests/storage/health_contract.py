"""What every store says about its health. Part of the contract suite."""

from __future__ import annotations

from typing import Protocol

import pytest

from taxii_server.storage.base import Store


class StoreFactory(Protocol):
    """As in contract.py."""

    def __call__(self, now: object = ...) -> Store: ...


class HealthContract:
    """Inherited by the contract of each store."""

    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        raise NotImplementedError

    def test_a_prepared_store_is_well_and_says_how_it_is(self, store_factory: StoreFactory) -> None:
        health = store_factory().health
        health.check(5.0)
        vitals = health.vitals(5.0)
        assert bool(vitals.file_bytes) != bool(vitals.replica_set), "one of the two kinds"

    def test_looking_changes_nothing(self, store_factory: StoreFactory) -> None:
        store = store_factory()
        before = store.state(), store.clock(), store.count_by_label()
        store.health.check(5.0)
        store.health.vitals(5.0)
        assert (store.state(), store.clock(), store.count_by_label()) == before

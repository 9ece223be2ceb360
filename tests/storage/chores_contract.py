"""What every store does about leases and what is cleared away. Part of the contract suite."""

from __future__ import annotations

from functools import partial
from typing import Protocol

import pytest

from taxii_server.model import StoredStatus
from taxii_server.storage.base import Store
from tests.storage.ledger_contract import entry
from tests.storage.samples import Clock, at_once


class StoreFactory(Protocol):
    """As in contract.py."""

    def __call__(self, now: object = ...) -> Store: ...


class ChoresContract:
    """Inherited by the contract of each store."""

    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        raise NotImplementedError

    def test_a_lease_is_one_holders_until_it_runs_out_or_is_given_back(self, store_factory: StoreFactory) -> None:
        clock = Clock()
        chores = store_factory(clock).chores
        other = store_factory(clock).chores
        assert chores.take("a", "me", 100)
        assert other.take("b", "you", 100)
        clock.us += 99
        assert not other.take("a", "you", 100)
        assert not chores.take("a", "me", 100), "it was taken already"
        assert chores.take("a", "me", 100, renew=True)
        clock.us += 99
        assert not other.take("a", "you", 100, renew=True)
        clock.us += 1
        assert other.take("a", "you", 100)
        chores.give_back("a", "me")  # not its own any more
        assert not chores.take("a", "me", 100)
        other.give_back("a", "you")
        assert chores.take("a", "me", 100)

    def test_of_many_that_ask_at_once_one_gets_the_lease(self, store_factory: StoreFactory) -> None:
        stores = [store_factory() for _ in range(4)]
        for name in ("a", "b", "c"):
            calls = [partial(store.chores.take, name, str(n), 10**9) for n, store in enumerate(stores)]
            assert sorted(at_once(*calls)) == [False, False, False, True]

    def test_a_note_is_kept_until_another_one_takes_its_place(self, store_factory: StoreFactory) -> None:
        chores = store_factory().chores
        assert chores.notes() == {}
        for name, text in (("b:2", "old"), ("b:1", "{}"), ("a%", "é"), ("b:2", "new"), ("b.", "x")):
            chores.note(name, text)
        other = store_factory().chores
        assert list(other.notes().items()) == [("a%", "é"), ("b.", "x"), ("b:1", "{}"), ("b:2", "new")]
        assert list(other.notes("b:")) == ["b:1", "b:2"]
        assert other.notes("a%") == {"a%": "é"}
        other.note("b:1", "")
        other.note("b:1", "")
        assert list(chores.notes("b:")) == ["b:2"]

    def test_expired_statuses_are_forgotten(self, store_factory: StoreFactory) -> None:
        clock = Clock()
        store = store_factory(clock)
        for number in range(3):
            store.save_status(StoredStatus(f"s{number}", "api", "cert", b"{}", clock.us + 10 * number + 5))
        clock.us += 15
        assert store.chores.forget_statuses() == 2
        assert store.chores.forget_statuses() == 0
        assert store.status("s2", 0) is not None

    def test_replaced_catalogs_are_forgotten_but_not_the_last_two(self, store_factory: StoreFactory) -> None:
        clock = Clock()
        store = store_factory(clock)
        assert store.chores.forget_catalogs(clock.us) == 0
        for number in range(5):
            store.apply_catalog({"a": str(number)}, str(number), "test")
            clock.us += 10
        with store.whole.snapshot() as snapshot:
            assert [row[0] for row in snapshot.rows("catalogs")] == [1, 2, 3, 4, 5]
        # The third was in force until 20 µs ago.
        assert store.chores.forget_catalogs(clock.us - 25) == 2
        assert store.chores.forget_catalogs(clock.us + 1) == 1
        assert store.chores.forget_catalogs(clock.us + 1) == 0
        with store.whole.snapshot() as snapshot:
            assert [row[0] for row in snapshot.rows("catalogs")] == [4, 5]
        assert store.state().catalog_epoch == 5

    def test_the_beginning_of_a_strand_is_dropped_and_nothing_else(self, store_factory: StoreFactory) -> None:
        store = store_factory()
        store.ledger.append([entry("a", 1), entry("a", 2), entry("a", 3), entry("b", 1)])
        assert store.ledger.drop("a", 2) == 2
        assert [(each.strand, each.number) for each in store.ledger.walk()] == [("a", 3), ("b", 1)]
        assert store.ledger.drop("a", 2) == 0
        assert store.ledger.drop("b", 9) == 1
        assert [head.strand for head in store.ledger.heads()] == ["a"]

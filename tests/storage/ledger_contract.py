"""What every store does with the entries of the disclosure ledger. Part of the contract suite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import pytest

from taxii_server.errors import StorageError
from taxii_server.storage.base import Plan, Store
from taxii_server.storage.ledger import NAMING, Entry, Head, LedgerQuery, PlaceTaken
from taxii_server.times import now_position
from tests.storage.samples import at_once, object_id


class StoreFactory(Protocol):
    """As in contract.py."""

    def __call__(self, now: Callable[[], int] = now_position) -> Store: ...


def entry(strand: str = "a", number: int = 1, time: int = 1, **more: object) -> Entry:
    """An entry; the store does not look at what it says."""
    some = Entry(strand, number, time, "delivered", "carol", "", 0, 0, "{}", b"", b"p", f"{strand}{number}".encode())
    return replace(some, **more)  # type: ignore[arg-type]


class LedgerContract:
    """Inherited by StoreContract."""

    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        raise NotImplementedError

    @pytest.fixture
    def store(self, store_factory: StoreFactory) -> Store:
        return store_factory()

    def test_a_new_ledger_is_empty(self, store: Store) -> None:
        assert store.ledger.heads() == []
        assert list(store.ledger.walk()) == list(store.ledger.find(LedgerQuery())) == []
        assert store.ledger.count() == 0

    def test_the_last_entries_of_a_partner_come_newest_first(self, store: Store) -> None:
        store.ledger.append([entry("a", number, number * 10) for number in (1, 2, 3)])
        store.ledger.append([entry("b", 1, 25), entry("b", 2, 99, partner="dave")])
        assert [each.time for each in store.ledger.latest("carol", 3)] == [30, 25, 20]
        assert [each.time for each in store.ledger.latest("dave", 3)] == [99]
        assert store.ledger.latest("nobody", 3) == []

    @pytest.mark.parametrize("firm", [False, True])
    def test_an_entry_comes_back_as_it_was(self, store_factory: StoreFactory, firm: bool) -> None:
        full = entry(
            "s",
            2**40,
            2**53 + 1,
            kind="deleted",
            object="indicator--é",
            first=2**53 + 3,
            last=2**62,
            facts='{"a":"\U0001f6a8"}',
            items=bytes(range(256)),
            previous=b"\0" * 32,
            hash=b"\xff" * 32,
        )
        store_factory().ledger.append([full, entry("s", 2**40 + 1)], firm=firm)
        other = store_factory().ledger
        assert list(other.walk()) == [full, entry("s", 2**40 + 1)]
        assert list(other.find(LedgerQuery())) == [entry("s", 2**40 + 1), full]
        assert other.count() == 2

    def test_walking_goes_by_strand_and_number_through_any_number_of_entries(self, store: Store) -> None:
        entries = [entry(strand, number) for strand in ("a", "b", "c") for number in range(1, 701)]
        store.ledger.append(entries[700:])
        store.ledger.append(entries[:700])
        assert list(store.ledger.walk()) == entries

    def test_entries_that_go_while_they_are_read_are_left_out(self, store: Store) -> None:
        """Old ones are removed beside whoever reads: another worker that begins a strand, an operator who asks."""
        store.ledger.append([entry("a", number, number) for number in range(1, 1004)])
        found = store.ledger.find(LedgerQuery())
        assert next(found).number == 1
        store.ledger.drop("a", 1001)
        assert [each.number for each in found][-2:] == [1002, 1003]

    def test_the_heads_are_the_last_of_each_strand(self, store: Store) -> None:
        store.ledger.append([entry("b", 1), entry("a", 1), entry("b", 2), entry("b", 10), entry("b", 9)])
        assert store.ledger.heads() == [Head("a", 1, b"a1"), Head("b", 10, b"b10")]

    def test_nothing_is_written_over(self, store: Store) -> None:
        store.ledger.append([entry(time=1)])
        with pytest.raises(StorageError):
            store.ledger.append([entry(time=2)])
        assert list(store.ledger.walk()) == [entry(time=1)]

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            (LedgerQuery(), "abcdef"),
            (LedgerQuery(kinds=("delivered",)), "bcf"),
            (LedgerQuery(kinds=("refused", "deleted")), "de"),
            (LedgerQuery(kinds=NAMING), "a"),
            (LedgerQuery(kinds=()), ""),
            (LedgerQuery(partner="bob"), "cf"),
            (LedgerQuery(object="x--1"), "de"),
            (LedgerQuery(object="x--1", kinds=("deleted",)), "e"),
            (LedgerQuery(object="x--2"), ""),
            (LedgerQuery(position=10), "be"),
            (LedgerQuery(position=15), "bce"),
            (LedgerQuery(position=20), "bce"),
            (LedgerQuery(position=21), "c"),
            (LedgerQuery(position=31), ""),
            (LedgerQuery(position=15, partner="bob"), "c"),
            (LedgerQuery(since=3, until=5), "cde"),
        ],
    )
    def test_entries_are_found_by_what_they_are_about(self, store: Store, query: LedgerQuery, found: str) -> None:
        entries = [
            entry("a", 1, 1, kind="opened", partner=""),
            entry("b", 1, 2, first=10, last=20),
            entry("c", 1, 3, first=15, last=30, partner="bob"),
            entry("d", 1, 4, kind="refused", object="x--1"),
            entry("e", 1, 5, kind="deleted", object="x--1", first=10, last=20),
            entry("f", 1, 6, partner="bob"),
        ]
        for each in reversed(entries):
            store.ledger.append([each])
        assert "".join(each.strand for each in store.ledger.find(query)) == found

    def test_finding_goes_by_time_through_any_number_of_entries(self, store: Store) -> None:
        store.ledger.append([entry("a", number, 5000 - number) for number in range(1, 1201)])
        assert [each.time for each in store.ledger.find(LedgerQuery())] == list(range(3800, 5000))

    def test_a_caller_may_think_between_two_entries(self, store: Store) -> None:
        store.ledger.append([entry("a", number, number) for number in range(1, 4)])
        for found in (store.ledger.find(LedgerQuery()), store.ledger.walk()):
            assert next(found).number == 1
            store.ledger.append([entry(new_strand := object_id(store.ledger.count()), 1, 9)])
            assert store.ledger.heads()[-1].strand >= new_strand
            assert [each.number for each in found][:2] == [2, 3]

    def test_several_writers_at_once(self, store_factory: StoreFactory) -> None:
        stores = [store_factory() for _ in range(4)]

        def write(strand: int) -> None:
            for number in range(1, 26):
                stores[strand].ledger.append([entry(str(strand), number)])

        at_once(*(lambda strand=strand: write(strand) for strand in range(4)))  # type: ignore[misc]
        assert [head.number for head in stores[0].ledger.heads()] == [25] * 4

    def test_an_entry_can_be_added_in_the_middle_of_a_write_of_records(self, store: Store) -> None:
        def plan(_: object, __: int) -> Plan:
            store.ledger.append([entry()], firm=True)
            return Plan()

        store.write([], plan)
        assert store.ledger.count() == 1

    def test_what_is_there_already_may_be_adopted_again(self, store: Store) -> None:
        store.ledger.append([entry("a", 1), entry("a", 3)])
        store.ledger.adopt([entry("a", number) for number in range(1, 5)])
        store.ledger.adopt([entry("a", number) for number in range(1, 5)])
        assert list(store.ledger.walk()) == [entry("a", number) for number in range(1, 5)]

    def test_another_entry_at_its_place_is_not_adopted(self, store: Store) -> None:
        store.ledger.append([entry("a", 2)])
        store.ledger.settle()
        with pytest.raises(PlaceTaken, match="entry 2 of strand a"):
            store.ledger.adopt([entry("b", 1), entry("a", 2, hash=b"other")])
        assert entry("a", 2) in list(store.ledger.walk())

    def test_entries_adopted_by_many_at_once_are_there_once(self, store_factory: StoreFactory) -> None:
        stores = [store_factory() for _ in range(4)]
        entries = [entry("a", number) for number in range(1, 101)]
        at_once(*(lambda store=store: store.ledger.adopt(entries) for store in stores))  # type: ignore[misc]
        assert list(stores[0].ledger.walk()) == entries

    def test_the_ledger_of_a_store_is_one_object(self, store: Store) -> None:
        """What is put in the place of a method stays there, as that which measures its time."""
        assert store.ledger is store.ledger

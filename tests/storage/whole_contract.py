"""What every store does when it is read as a whole, and made anew. Part of the contract suite."""

from __future__ import annotations

from typing import Protocol

import pytest

from taxii_server.errors import StorageError
from taxii_server.model import Credential, EventPlan, StoredStatus
from taxii_server.storage.base import Plan, Store
from taxii_server.storage.whole import PARTS, Facts, Row
from taxii_server.times import now_position
from tests.storage.ledger_contract import entry as ledger_entry
from tests.storage.quarantine_contract import entry as held
from tests.storage.samples import draft, insert, new_labels, object_id, planning


class StoreFactory(Protocol):
    """As in contract.py."""

    def __call__(self, now: object = now_position) -> Store: ...


def fill(store: Store) -> None:
    """Something in every part."""
    label = new_labels(store, 2)[0]
    ids = [object_id(number) for number in range(3)]
    many = tuple(object_id(number) for number in range(500, 650))
    insert(store, label, draft(ids[0], content=b'{"n":"\xc3\xa9"}'), draft(ids[1], hard_refs=(ids[0],), soft_refs=many))
    (position,) = insert(store, label, draft(ids[2], content=b"\xff\x00 no text"))
    event = EventPlan([(0, position)], lambda base, end, positions: f'{{"base":{base},"end":{end}}}')
    store.write([], planning(Plan(event=lambda inside: event)))
    store.save_aliases({"indicator--copy": ids[0]})
    store.save_status(StoredStatus("s1", "api", "cert", b'{"a":1}', now_position() + 10**9))
    store.save_credential(Credential("c1", "cert", "token", "hash", "2026-01-01T00:00:00Z", "mine", revoked=True))
    store.apply_catalog({"config/a.b.toml": "x = 1\n"}, "d1", "test", moment=5)
    store.apply_catalog({"config/a.b.toml": "x = 2\n"}, "d2", "test", moment=7)
    store.quarantine.hold([held()])
    store.ledger.append([ledger_entry("a", 1), ledger_entry("b", 1, object=ids[0], first=3, last=9, items=b"\x00\xfe")])


def rows_of(store: Store) -> tuple[Facts, dict[str, list[Row]]]:
    with store.whole.snapshot() as snapshot:
        return snapshot.facts(), {part: list(snapshot.rows(part)) for part in PARTS}


class WholeContract:
    """Inherited by the contract of each store."""

    #: whether servers refuse the database after a restore that broke off, because the old one is gone
    fenced_by_a_broken_replacement = False

    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        raise NotImplementedError

    @pytest.fixture
    def store(self, store_factory: StoreFactory) -> Store:
        return store_factory()

    def test_a_new_database_is_empty_until_something_is_in_it(self, store: Store) -> None:
        assert store.whole.is_empty()
        new_labels(store)
        assert not store.whole.is_empty()

    def test_every_part_has_its_rows(self, store: Store) -> None:
        fill(store)
        facts, rows = rows_of(store)
        assert all(rows.values()), [part for part, found in rows.items() if not found]
        assert {part: {len(row) for row in found} for part, found in rows.items()} == {
            part: {len(columns)} for part, columns in PARTS.items()
        }
        assert facts == Facts(store.secret(), store.clock(), 1)
        assert [row[0] for row in rows["log"]] == [1, 2, 3]
        assert [row[0] for row in rows["records"]] == sorted(row[0] for row in rows["records"])
        with store.whole.snapshot() as snapshot:
            assert snapshot.count("records") in (3, 4)  # MongoDB counts its marker

    def test_a_snapshot_does_not_see_what_is_written_meanwhile(self, store: Store) -> None:
        fill(store)
        before = rows_of(store)
        with store.whole.snapshot() as snapshot:
            facts = snapshot.facts()
            insert(store, 1, draft(object_id(99)))
            new_labels(store, 1, "late")
            assert facts == before[0]
            seen = {part: list(snapshot.rows(part)) for part in PARTS if part != "ledger"}
        assert seen == {part: rows for part, rows in before[1].items() if part != "ledger"}
        assert len(rows_of(store)[1]["records"]) == 4

    def test_what_is_put_in_comes_out_and_the_store_works_on(self, store: Store, store_factory: StoreFactory) -> None:
        fill(store)
        facts, rows = rows_of(store)
        later = Facts(facts.secret, facts.clock + 1600, facts.credentials_epoch + 1)
        with store.whole.replace() as loading:
            for part, some in rows.items():
                loading.put(part, some)
            loading.finish(later)
        again = store_factory()
        assert rows_of(again) == (later, rows)
        state = again.state()
        assert (state.catalog_epoch, state.credentials_epoch, state.log_length) == (2, 2, 3)
        assert [each.id for each in again.referrers([object_id(0), object_id(501)])] == [object_id(1)]
        (position,) = insert(again, 1, draft(object_id(7)))
        assert position > later.clock
        assert again.append_log([("label", '"label 1"'), ("label", '"fresh"')])[1].number == 4
        assert len(again.lookup([object_id(0)])[object_id(0)]) == 1

    def test_a_broken_off_replacement_leaves_the_old_database_or_none(
        self, store: Store, store_factory: StoreFactory
    ) -> None:
        fill(store)
        before = rows_of(store)
        clock = store.clock()
        _break_off(store, before[1]["log"])
        assert store.whole.last_position() == clock
        if not self.fenced_by_a_broken_replacement:
            assert rows_of(store_factory()) == before
            return
        with pytest.raises(StorageError, match="run `taxii-server restore` again"):
            store_factory()
        with pytest.raises(StorageError):
            store.state()
        assert store.whole.is_empty()
        with store.whole.replace() as loading:
            loading.finish(before[0])
        assert store_factory().state().log_length == 0


def _break_off(store: Store, rows: list[Row]) -> None:
    def begin() -> None:
        with store.whole.replace() as loading:
            loading.put("log", rows)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        begin()

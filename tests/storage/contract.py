"""What every store does. Each store's tests inherit `StoreContract` and say how to open one.

    class TestSqlite(StoreContract):
        @pytest.fixture
        def store_factory(self, tmp_path): ...   # opens one more Store on the database of this test, prepared
        @pytest.fixture
        def break_driver(self): ...              # makes every later command of that Store fail in the driver

The sentences are about the contract in taxii_server/storage/base.py; how a store keeps them is its own business.
Nothing here measures time. Waiting is always limited.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Protocol

import pytest

from taxii_server.errors import CatalogMoved, StorageUnavailable
from taxii_server.model import (
    POSITION_MAX,
    POSITION_UNIT,
    AppliedCatalog,
    Credential,
    Draft,
    EventPlan,
    LogEntry,
    Page,
    Record,
    StoredStatus,
    StoreState,
)
from taxii_server.storage.base import Plan, Store
from taxii_server.storage.ledger import LedgerQuery
from taxii_server.times import format_position, instant_key, now_position
from tests.storage.events_contract import EventsContract
from tests.storage.ledger_contract import LedgerContract, entry
from tests.storage.samples import (
    Background,
    Clock,
    Follower,
    Pause,
    Present,
    at_once,
    draft,
    insert,
    insert_each,
    new_labels,
    object_id,
    planning,
    positions,
    present_positions,
    query,
    read,
)
from tests.storage.terms_contract import TermsContract


class StoreFactory(Protocol):
    """Opens one more store on the database of this test. What it opened is closed at the end of the test."""

    def __call__(self, now: Callable[[], int] = now_position) -> Store: ...


CONTENTS = {
    "plain": b'{"type":"indicator"}',
    "order and space of the poster": b'{ "b" : 1,\n\t"a":2.50 }',
    "four-byte unicode": '{"name":"\U0001f6a8 \U00020000 é"}'.encode(),
    "an escaped NUL": b'{"name":"a\\u0000b"}',
    "escaped lone surrogates": b'{"name":"\\ud83d"}',
    "bytes that are no text": bytes(range(256)),
    "empty": b"",
    "5 MB": b'{"payload_bin":"' + b"QUJD" * 1_310_720 + b'"}',
}

#: The filters of a query, and what each of them looks at.
FILTERS = {"ids": "id", "types": "type", "spec_versions": "spec_version", "version_keys": "version_key"}

EVERY_METHOD: dict[str, Callable[[Store], object]] = {
    "prepare": lambda store: store.prepare(),
    "state": lambda store: store.state(),
    "secret": lambda store: store.secret(),
    "log_after": lambda store: store.log_after(0),
    "append_log": lambda store: store.append_log([("label", '"new"')]),
    "write": lambda store: insert(store, 1, draft()),
    "page": lambda store: store.page(query(1)),
    "lookup": lambda store: store.lookup([object_id(1)]),
    "count_by_label": lambda store: store.count_by_label(),
    "save_status": lambda store: store.save_status(StoredStatus("s", "hub", "p", b"{}", POSITION_MAX)),
    "status": lambda store: store.status("s", 0),
    "save_credential": lambda store: store.save_credential(Credential("c", "p", "token", "00", "2020")),
    "revoke_credential": lambda store: store.revoke_credential("c"),
    "credentials": lambda store: store.credentials(),
    "apply_catalog": lambda store: store.apply_catalog({"a.toml": ""}, "d", "root"),
    "catalog": lambda store: store.catalog(),
    "records_at": lambda store: store.records_at([1]),
    "referrers": lambda store: store.referrers([object_id(1)]),
    "band": lambda store: store.band(1, [0], 0, 1),
    "places": lambda store: store.places(1, [0], [1]),
    "unfilled": lambda store: store.unfilled(1),
    "fill": lambda store: store.fill({1: (100,)}),
    "clock": lambda store: store.clock(),
    "tick": lambda store: store.tick(),
    "save_aliases": lambda store: store.save_aliases({"a": "b"}),
    "aliases": lambda store: store.aliases(["a"]),
    "ledger.append": lambda store: store.ledger.append([entry()]),
    "ledger.heads": lambda store: store.ledger.heads(),
    "ledger.count": lambda store: store.ledger.count(),
    "ledger.walk": lambda store: list(store.ledger.walk()),
    "ledger.find": lambda store: list(store.ledger.find(LedgerQuery())),
}


def kept_status(id_: str, body: bytes = b"{}") -> StoredStatus:
    """A status that does not expire."""
    return StoredStatus(id_, "hub", "cert-north", body, POSITION_MAX)


class StoreContract(TermsContract, EventsContract, LedgerContract):
    """Inherit, override `store_factory` and `break_driver`."""

    @pytest.fixture
    def store_factory(self) -> StoreFactory:
        raise NotImplementedError

    @pytest.fixture
    def break_driver(self) -> Callable[[Store], None]:
        raise NotImplementedError

    @pytest.fixture
    def store(self, store_factory: StoreFactory) -> Store:
        return store_factory()

    @pytest.fixture
    def label(self, store: Store) -> int:
        return new_labels(store, 1)[0]

    # ---- life

    def test_a_new_database_is_empty(self, store: Store) -> None:
        assert store.state() == StoreState(catalog_epoch=0, credentials_epoch=0, log_length=0, clock=0)
        assert store.log_after(0) == []
        assert store.page(query(1)) == Page((), 0)
        assert store.lookup([object_id(1)]) == {}
        assert store.count_by_label() == {}
        assert store.credentials() == []
        assert store.catalog() is None
        assert store.status("unknown", 0) is None

    def test_preparing_again_keeps_everything(self, store: Store, label: int) -> None:
        (position,) = insert(store, label, draft())
        secret = store.secret()
        store.prepare()
        assert read(store, query(label)) == (position,)
        assert store.secret() == secret
        assert store.state().log_length == 1

    def test_the_secret_is_32_bytes_and_stays_the_same(self, store_factory: StoreFactory) -> None:
        first, second = store_factory(), store_factory()
        assert len(first.secret()) == 32
        assert first.secret() == first.secret() == second.secret()
        first.close()
        assert store_factory().secret() == second.secret()

    def test_reopening_keeps_everything(self, store_factory: StoreFactory) -> None:
        before = store_factory()
        labels = new_labels(before, 2)
        insert_each(before, [(draft(), labels[0]), (draft(version=None), labels[1])])
        before.save_credential(Credential("c", "p", "token", "00", "2020-01-01T00:00:00Z"))
        before.apply_catalog({"a.toml": "x = 1"}, "digest", "root")
        before.save_status(StoredStatus("s", "hub", "p", b"{}", POSITION_MAX))

        def everything(store: Store) -> list[object]:
            return [
                store.state(),
                store.secret(),
                store.log_after(0),
                store.page(query(*labels)),
                store.count_by_label(),
                store.credentials(),
                store.catalog(),
                store.status("s", 0),
            ]

        expected = everything(before)
        before.close()
        assert everything(store_factory()) == expected

    def test_a_closed_store_is_not_opened_again_by_who_still_asks(self, store: Store) -> None:
        store.close()
        for call in EVERY_METHOD.values():
            with pytest.raises(StorageUnavailable, match="the store is closed"):
                call(store)

    def test_two_stores_on_one_database_see_each_other_at_once(self, store_factory: StoreFactory) -> None:
        here, there = store_factory(), store_factory()
        labels = new_labels(here, 1)
        assert there.log_after(0) == here.log_after(0)
        for writer, reader in [(here, there), (there, here)] * 3:
            (position,) = insert(writer, labels[0], draft())
            assert read(reader, query(*labels))[-1] == position
            writer.save_credential(Credential(f"c{position}", "p", "token", "00", "2020"))
            assert reader.state() == writer.state()
            writer.apply_catalog({"a": "b"}, f"{position}", "root")
            assert reader.catalog() == writer.catalog()
            writer.write([], planning(Plan(deletes=[position])))
            assert position not in read(reader, query(*labels))

    @pytest.mark.parametrize("method", EVERY_METHOD)
    def test_a_broken_driver_shows_as_our_error(
        self, method: str, store: Store, label: int, break_driver: Callable[[Store], None]
    ) -> None:
        insert(store, label, draft())
        break_driver(store)
        with pytest.raises(StorageUnavailable) as caught:
            EVERY_METHOD[method](store)
        assert caught.value.__cause__ is not None

    # ---- positions

    def test_positions_increase_in_the_order_of_the_plan(self, store: Store, label: int) -> None:
        drafts = [draft() for _ in range(50)]
        given = insert(store, label, *drafts)
        assert list(given) == sorted(set(given))
        assert [record.id for record in store.page(query(label)).records] == [one.id for one in drafts]
        assert read(store, query(label)) == given

    def test_positions_increase_from_write_to_write(self, store_factory: StoreFactory) -> None:
        stores = [store_factory(), store_factory()]
        (label,) = new_labels(stores[0])
        given = [position for n in range(20) for position in insert(stores[n % 2], label, draft(), draft())]
        assert given == sorted(set(given))

    def test_a_position_is_the_time_of_the_write_in_microseconds(self, store_factory: StoreFactory) -> None:
        store = store_factory()
        (label,) = new_labels(store)
        before = now_position()
        (position,) = insert(store, label, draft())
        assert before < position < now_position() + 1_000_000

    def test_steps_between_positions_are_uneven(self, store_factory: StoreFactory) -> None:
        store = store_factory(now=Clock())
        (label,) = new_labels(store)
        inside = insert(store, label, *(draft() for _ in range(100)))
        assert len({b - a for a, b in pairwise(inside)}) > 1
        between = [insert(store, label, draft())[0] for _ in range(40)]
        assert len({b - a for a, b in pairwise(between)}) > 1

    def test_a_clock_that_steps_back_does_not_take_positions_back(self, store_factory: StoreFactory) -> None:
        clock = Clock()
        store = store_factory(now=clock)
        (label,) = new_labels(store)
        (first,) = insert(store, label, draft())
        assert first > clock.us
        clock.us -= 3_600_000_000
        second = insert(store, label, draft(), draft())
        clock.us += 7_200_000_000
        (third,) = insert(store, label, draft())
        assert first < second[0] < second[1] < clock.us < third
        assert second[1] - first < 1_000, "the position follows the last one, not the clock"
        assert insert(store_factory(now=Clock(1)), label, draft())[0] > third, "the last position is in the database"

    def test_deleting_the_newest_record_does_not_free_its_position(self, store_factory: StoreFactory) -> None:
        store = store_factory(now=Clock())
        (label,) = new_labels(store)
        (first,) = insert(store, label, draft())
        store.write([], planning(Plan(deletes=[first])))
        assert insert(store, label, draft())[0] > first

    def test_a_draft_of_another_server_stands_where_it_stood(self, store: Store, label: int) -> None:
        wanted = [1_600_000_000_000_000, 1_600_000_000_000_016, 1_650_000_000_000_000]
        given = insert(store, label, *(replace(draft(), at=at) for at in wanted))
        assert list(given) == wanted
        assert read(store, query(label)) == given
        assert store.clock() == wanted[-1]

    def test_a_draft_of_another_server_never_stands_before_what_was_given_out(self, store: Store, label: int) -> None:
        (first,) = insert(store, label, draft())
        given = insert(store, label, *(replace(draft(), at=at) for at in (1_600_000_000_000_000, first, first + 4001)))
        assert first < given[0] < given[1] < given[2]
        assert given[2] >= first + 4001
        assert not [position for position in given if position % POSITION_UNIT]
        (after,) = insert(store, label, draft())
        assert after > given[2]

    def test_a_draft_without_version_takes_that_of_the_place_where_it_stands(self, store: Store, label: int) -> None:
        (position,) = insert(store, label, replace(draft(version=None), at=1_600_000_000_000_000))
        assert store.page(query(label)).records[0].version == format_position(position) == "2020-09-13T12:26:40.000000Z"

    def test_events_leave_room_for_what_is_moved_in(self, store: Store, label: int) -> None:
        """While nothing is stored, and behind drafts of another server."""
        event = EventPlan((), lambda base, end, positions: json.dumps([base, end]))
        store.apply_catalog({"a.toml": ""}, "d", "root", event=lambda inside: event)
        store.apply_catalog({"a.toml": "x"}, "e", "root", event=lambda inside: event)
        moved = [(replace(draft(), at=1_600_000_000_000_000), label)]
        store.write([], lambda present, length: Plan(moved, event=lambda inside: event))
        (second,) = insert(store, label, replace(draft(), at=1_650_000_000_000_000))
        assert read(store, query(label)) == (1_600_000_000_000_000, second) == (1_600_000_000_000_000, store.clock())
        bases = [json.loads(entry.payload)[0] for entry in store.log_after(1) if entry.kind == "event"]
        assert bases[0] < bases[1] < 1_600_000_000_000_000 < bases[2] < second == 1_650_000_000_000_000
        store.apply_catalog({"a.toml": "y"}, "f", "root", event=lambda inside: event)
        assert store.clock() >= now_position() - 3_600_000_000

    # ---- writing

    def test_the_planner_gets_the_present_records_of_its_ids(self, store: Store, label: int) -> None:
        mine, other = object_id(1), object_id(2)
        first = insert(store, label, draft(mine, hard_refs=("a--1",), soft_refs=("b--2", "c--3")), draft(other))
        second = insert(store, label, draft(mine, version="2021-01-01T00:00:00Z", collection="south", submitter="x"))
        given: list[Present] = []

        def planner(present: Present, log_length: int) -> Plan:
            given.append(present)
            return Plan()

        assert store.write([mine, object_id("unknown")], planner) == ()
        (present,) = given
        assert set(present) == {mine}
        assert positions(present[mine]) == (first[0], second[0])
        one = draft(mine, hard_refs=("a--1",), soft_refs=("b--2", "c--3"))
        assert present[mine][0] == Record(
            position=first[0],
            collection="north",
            submitter="cert-north",
            id=mine,
            type="indicator",
            spec_version="2.1",
            version=one.version or "",
            version_key=one.version_key or "",
            label=label,
            digest=one.digest,
            hard_refs=("a--1",),
            soft_refs=("b--2", "c--3"),
            content=b"",
        )
        assert (present[mine][1].collection, present[mine][1].submitter) == ("south", "x")

    def test_the_planner_gets_the_length_of_the_log(self, store_factory: StoreFactory) -> None:
        store, other = store_factory(), store_factory()
        given: list[int] = []

        def planner(present: Present, log_length: int) -> Plan:
            given.append(log_length)
            return Plan()

        for count in (0, 1, 4):
            new_labels(other, count)
            store.write([object_id(1)], planner)
        assert given == [0, 1, 4]

    def test_what_the_planner_raises_ends_the_write_with_nothing_written(self, store: Store, label: int) -> None:
        class PlannerError(Exception):
            pass

        def planner(present: Present, log_length: int) -> Plan:
            raise PlannerError

        with pytest.raises(PlannerError):
            store.write([object_id(1)], planner)
        assert read(store, query(label)) == ()
        assert len(insert(store, label, draft())) == 1, "the store goes on"

    def test_an_empty_plan_writes_nothing_and_keeps_the_clock(self, store_factory: StoreFactory) -> None:
        clock = Clock(1_000_000)
        store = store_factory(now=clock)
        (label,) = new_labels(store)
        (first,) = insert(store, label, draft())
        before = (store.state(), store.page(query(label)))
        clock.us = 9_000_000
        assert store.write([object_id(1)], planning(Plan())) == ()
        assert (store.state(), store.page(query(label))) == before
        clock.us = 2_000_000
        (second,) = insert(store, label, draft())
        assert first < second < 9_000_000

    def test_a_write_is_all_or_nothing(self, store_factory: StoreFactory) -> None:
        store = store_factory()
        one, two = new_labels(store, 2)
        kept, removed = draft(), draft()
        insert(store, one, kept, removed)
        before = (store.page(query(one, two)), store.count_by_label(), store.state())

        def fail() -> None:
            raise RuntimeError("the power goes off here")

        store.before_commit = fail
        records = before[0].records
        plan = Plan(
            inserts=[(draft(), one), (draft(), two)],
            relabels={records[0].position: two},
            deletes=[records[1].position],
        )
        with pytest.raises(RuntimeError, match="the power goes off"):
            store.write([kept.id], planning(plan))
        for reader in (store, store_factory()):
            assert (reader.page(query(one, two)), reader.count_by_label(), reader.state()) == before
        store.before_commit = lambda: None
        assert len(store.write([kept.id], planning(plan))) == 2
        assert store.count_by_label() == {one: 1, two: 2}

    def test_one_plan_may_delete_relabel_and_insert(self, store: Store) -> None:
        one, two = new_labels(store, 2)
        id_ = object_id(1)
        old, middle, newest = (insert(store, one, draft(id_, version=f"202{n}-01-01T00:00:00Z"))[0] for n in range(3))

        def planner(present: Present, log_length: int) -> Plan:
            assert positions(present[id_]) == (old, middle, newest)
            latest = draft(id_, version="2025-01-01T00:00:00Z")
            return Plan(inserts=[(latest, two)], relabels={middle: two, newest: two}, deletes={old})

        (added,) = store.write([id_], planner)
        assert read(store, query(one)) == ()
        assert read(store, query(two)) == (middle, newest, added)

    def test_a_relabelled_record_moves_between_label_sets_and_keeps_its_position(self, store: Store) -> None:
        one, two = new_labels(store, 2)
        first, second = insert(store, one, draft(), draft())
        store.write([], planning(Plan(relabels={first: two})))
        assert read(store, query(one)) == (second,)
        assert read(store, query(two)) == (first,)
        moved = store.page(query(one, two)).records
        assert positions(moved) == (first, second)
        assert [record.label for record in moved] == [two, one]
        assert store.count_by_label() == {one: 1, two: 1}

    def test_a_deleted_record_is_gone_everywhere(self, store: Store, label: int) -> None:
        gone, kept = draft(), draft()
        first, second = insert(store, label, gone, kept)
        assert store.write([gone.id], planning(Plan(deletes=[first]))) == ()
        assert read(store, query(label)) == (second,)
        assert read(store, query(label, ids=(gone.id,))) == ()
        assert set(store.lookup([gone.id, kept.id])) == {kept.id}
        assert store.count_by_label() == {label: 1}

    def test_a_draft_without_version_gets_its_position_as_version(self, store: Store, label: int) -> None:
        id_ = object_id(1, "ipv4-addr")
        for position in insert(store, label, draft(id_, version=None), draft(version=None)):
            (record,) = store.page(query(label, after=position - 1, limit=1)).records
            assert record.position == position
            assert record.version == format_position(position)
            assert record.version_key == instant_key(format_position(position))
        (found,) = store.page(query(label, version_keys=(store.lookup([id_])[id_][0].version_key,))).records
        assert found.id == id_

    def test_a_version_text_is_kept_as_posted(self, store: Store, label: int) -> None:
        texts = ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00.100Z", "2020-01-01T00:00:00.123456789Z"]
        insert(store, label, *(draft(version=text) for text in texts))
        assert [record.version for record in store.page(query(label)).records] == texts

    @pytest.mark.parametrize("name", CONTENTS)
    def test_content_comes_back_byte_for_byte(self, name: str, store: Store, label: int) -> None:
        insert(store, label, draft(content=CONTENTS[name]))
        (record,) = store.page(query(label)).records
        assert record.content == CONTENTS[name]

    def test_a_record_comes_back_with_everything_of_its_draft(self, store: Store, label: int) -> None:
        refs = tuple(object_id(n, "malware") for n in range(500))
        one = draft(spec_version="2.0", hard_refs=refs[:1], soft_refs=refs)
        (position,) = insert(store, label, one)
        assert store.page(query(label)).records == (
            Record(
                position=position,
                collection=one.collection,
                submitter=one.submitter,
                id=one.id,
                type=one.type,
                spec_version="2.0",
                version=one.version or "",
                version_key=one.version_key or "",
                label=label,
                digest=one.digest,
                hard_refs=refs[:1],
                soft_refs=refs,
                content=one.content,
            ),
        )

    def test_one_write_takes_thousands_of_records(self, store: Store, label: int) -> None:
        drafts = [draft() for _ in range(3_000)]
        given = insert(store, label, *drafts)
        assert read(store, query(label, content=False)) == given

    # ---- order of visibility

    @pytest.mark.parametrize("shared", [True, False], ids=["one store object", "two store objects"])
    def test_a_paused_writer_loses_nothing(self, shared: bool, store_factory: StoreFactory) -> None:
        """A takes its position and stops; B writes or waits; a reader polls all the time; A lands."""
        a = store_factory()
        b = a if shared else store_factory()
        (label,) = new_labels(a)
        follower = Follower(store_factory())
        earlier = insert(a, label, draft())
        a.before_commit = pause = Pause()
        first = Background(lambda: insert(a, label, draft()))
        assert pause.reached.wait(30)
        follower.poll()
        assert positions(follower.seen) == earlier, "what is not committed is not seen"
        second = Background(lambda: insert(b, label, draft(), draft()))
        second.ends_within(0.5)
        follower.poll()
        pause.released.set()
        given = sorted([*first.result(), *second.result()])
        while follower.poll():
            pass
        assert positions(follower.seen) == (*earlier, *given)

    def test_a_paused_writer_does_not_stop_readers(self, store_factory: StoreFactory) -> None:
        store = store_factory()
        (label,) = new_labels(store)
        one = draft()
        earlier = insert(store, label, one)
        store.before_commit = pause = Pause()
        writer = Background(lambda: insert(store, label, draft()))
        assert pause.reached.wait(30)
        for reader in (store, store_factory()):
            assert read(reader, query(label)) == earlier
            assert present_positions(reader, one.id) == list(earlier)
            assert reader.state().log_length == 1
        pause.released.set()
        writer.result()

    @pytest.mark.parametrize("stores", [1, 4])
    def test_a_follower_of_eight_writers_sees_everything_once_and_in_order(
        self, stores: int, store_factory: StoreFactory
    ) -> None:
        opened = [store_factory() for _ in range(stores)]
        follower = Follower(store_factory())
        done = threading.Event()

        def write(number: int) -> list[int]:
            store = opened[number % stores]
            given: list[int] = []
            for n in range(10):
                # New labels appear while the follower reads: it must notice each of them.
                (label,) = new_labels(store, 1, prefix=f"writer {number}, {n // 3}")
                given += insert(store, label, *(draft() for _ in range(1 + n % 3)))
            return given

        reader = Background(lambda: follower.follow(done))
        acknowledged = at_once(*(lambda number=number: write(number) for number in range(8)))
        done.set()
        seen = positions(reader.result())
        assert seen == tuple(sorted(position for given in acknowledged for position in given))
        assert len(seen) == len(set(seen)) == 8 * sum(1 + n % 3 for n in range(10))
        for given in acknowledged:
            assert given == sorted(given)

    def test_transactions_are_serial(self, store_factory: StoreFactory) -> None:
        """Eight writers add a version after the last one they see; none is lost, none is taken twice."""
        opened = [store_factory(), store_factory()]
        (label,) = new_labels(opened[0])
        id_ = object_id(1)

        def add_the_next(present: Present, log_length: int) -> Plan:
            years = [int(record.version[:4]) for record in present.get(id_, ())]
            return Plan(inserts=[(draft(id_, version=f"{max(years, default=1999) + 1}-01-01T00:00:00Z"), label)])

        def write(number: int) -> None:
            for _ in range(5):
                opened[number % 2].write([id_], add_the_next)

        at_once(*(lambda number=number: write(number) for number in range(8)))
        versions = [int(record.version[:4]) for record in opened[0].lookup([id_])[id_]]
        assert versions == list(range(2000, 2040))

    def test_a_reader_never_sees_half_of_a_write(self, store_factory: StoreFactory) -> None:
        """One record replaces the other in each write: every page and every lookup has exactly one of the two."""
        store, reader = store_factory(), store_factory()
        one, two = new_labels(store, 2)
        ids = [object_id("left"), *(object_id(n) for n in range(3_000)), object_id("right")]
        insert(store, one, draft(ids[0]))
        stop = threading.Event()

        def swap(present: Present, log_length: int) -> Plan:
            here, there, label = (ids[0], ids[-1], two) if ids[0] in present else (ids[-1], ids[0], one)
            return Plan(inserts=[(draft(there), label)], deletes=positions(present[here]))

        def write() -> int:
            count = 0
            while not stop.is_set():
                store.write([ids[0], ids[-1]], swap)
                count += 1
            return count

        writer = Background(write)
        try:
            for _ in range(40):
                assert len(reader.lookup(ids)) == 1
                assert len(reader.page(query(one, two)).records) == 1
        finally:
            stop.set()
        assert writer.result() > 0

    # ---- pages

    def test_without_labels_a_page_is_empty(self, store: Store, label: int) -> None:
        one = draft()
        insert(store, label, one)
        assert store.page(query()).records == ()
        assert store.page(query(ids=(one.id,))).records == ()
        assert store.page(query(types=(one.type,))).records == ()

    def test_only_the_labels_decide_what_is_read(self, store: Store) -> None:
        labels = new_labels(store, 3)
        one = draft(object_id(1))
        insert_each(store, [(one, labels[0]), (draft(one.id, submitter="x"), labels[1]), (draft(), labels[2])])
        for wanted in (labels[:1], labels[1:2], labels[::2], labels):
            for name, value in [("ids", one.id), ("types", one.type), ("spec_versions", "2.1"), ("limit", None)]:
                conditions: dict[str, Any] = {name: (value,)} if value else {}
                page = store.page(query(*wanted, **conditions))
                assert {record.label for record in page.records} <= set(wanted)
        assert store.page(query(labels[-1] + 1)).records == ()
        # A collection that is named does not open the labels in it.
        assert len(store.page(query(labels[0], collections=("north", "south"))).records) == 1

    def test_labels_of_several_collections_are_merged_by_position(self, store: Store) -> None:
        labels = new_labels(store, 3)
        places = ["north", "south", "east"]
        given = [insert(store, labels[n % 3], draft(collection=places[n % 3]))[0] for n in range(9)]
        assert read(store, query(*labels, collections=tuple(places))) == tuple(given)
        assert read(store, query(*reversed(labels), collections=tuple(places), limit=4)) == tuple(given[:4])
        assert read(store, query(labels[0], labels[2], collections=("north", "east"))) == tuple(
            position for n, position in enumerate(given) if n % 3 != 1
        )

    def test_after_is_exclusive_and_limit_ends_the_page(self, store: Store, label: int) -> None:
        given = insert(store, label, *(draft() for _ in range(10)))
        assert read(store, query(label, limit=3)) == given[:3]
        assert read(store, query(label, after=given[2], limit=3)) == given[3:6]
        assert read(store, query(label, after=given[2] - 1, limit=3)) == given[2:5]
        assert read(store, query(label, after=given[7], limit=3)) == given[8:]
        assert read(store, query(label, after=given[9], limit=3)) == ()
        assert read(store, query(label, after=POSITION_MAX)) == ()
        assert read(store, query(label, after=-(2**62), limit=1)) == given[:1]

    @pytest.mark.parametrize("label_count", [1, 700], ids=["one label", "many labels"])
    def test_a_page_ends_behind_the_record_that_passes_the_byte_limit(self, label_count: int, store: Store) -> None:
        labels = new_labels(store, label_count)
        given = insert_each(
            store, ((draft(f"indicator--{n}", content=b"x" * 100), labels[n % min(3, label_count)]) for n in range(9))
        )
        asked = replace(query(*labels), limit_bytes=250)
        page = store.page(asked)
        assert (positions(page.records), page.cut) == (given[:3], True)
        rest = store.page(replace(asked, after=given[6]))
        assert (positions(rest.records), rest.cut) == (given[7:], False)
        full = store.page(replace(asked, limit=3))
        assert (positions(full.records), full.cut) == (given[:3], False)
        light = store.page(replace(asked, content=False))
        assert (positions(light.records), light.cut) == (given, False)
        assert store.page(replace(asked, limit_bytes=50)).records == page.records[:1]

    def test_more_than_a_database_gives_at_once_is_read_whole(self, store: Store, label: int) -> None:
        given = insert_each(store, ((draft(content=b"x" * 6_000_000), label) for _ in range(4)))
        page = store.page(query(label))
        assert (positions(page.records), page.cut) == (given, False)
        seen: list[int] = []
        while len(seen) < len(given):
            page = store.page(replace(query(label), after=seen[-1] if seen else 0, limit_bytes=16_000_000))
            seen += positions(page.records)
            assert page.cut == (len(seen) < len(given))
        assert tuple(seen) == given

    def test_a_page_of_texts_alone_has_what_tells_whether_they_may_be_read(self, store: Store, label: int) -> None:
        insert(
            store,
            label,
            draft(hard_refs=(object_id(),)),
            draft(soft_refs=(object_id(), object_id())),
            draft(version=None),
            draft(hard_refs=tuple(object_id() for _ in range(200))),
        )
        whole, texts = (store.page(replace(query(label), only_texts=flag)).records for flag in (False, True))

        def told(record: Record) -> tuple[object, ...]:
            refs = record.hard_refs, record.soft_refs
            return record.position, record.id, record.label, record.version_key, refs, record.content

        assert list(map(told, whole)) == list(map(told, texts))
        assert store.page(replace(query(label), only_texts=True, content=False)).records == tuple(
            record._replace(content=b"") for record in whole
        )

    def test_content_is_left_out_when_it_is_not_asked_for(self, store: Store, label: int) -> None:
        one = draft()
        insert(store, label, one)
        with_content, without = (store.page(query(label, content=flag)).records[0] for flag in (True, False))
        assert (with_content.content, without.content) == (one.content, b"")
        assert without.digest == with_content.digest == one.digest

    @pytest.mark.parametrize("label_count", [2, 700], ids=["few labels", "many labels"])
    def test_filters_narrow_a_page_alone_and_together(self, label_count: int, store: Store) -> None:
        labels = new_labels(store, label_count)
        shown, other = labels[0], labels[1]
        hidden = new_labels(store, 1, prefix="hidden")[0]
        days = [f"2020-01-0{n}T00:00:00Z" for n in range(1, 4)]
        drafts = [
            draft(object_id(number, type_), version=day, spec_version=spec, submitter=f"{label}")
            for number in range(3)
            for type_ in ("indicator", "malware", "tool")
            for day in days
            for spec, label in (("2.0", shown), ("2.1", other), ("2.1", hidden))
        ]
        insert_each(store, [(one, int(one.submitter)) for one in drafts])
        stored = store.page(query(shown, other, hidden)).records
        assert len(stored) == len(drafts)
        conditions = {
            "ids": (object_id(0, "indicator"), object_id(1, "malware"), object_id(99, "tool")),
            "types": ("indicator", "tool", "x-unknown"),
            "spec_versions": ("2.1", "9.9"),
            "version_keys": (instant_key(days[0]), instant_key(days[2]), instant_key("1999-01-01T00:00:00Z")),
        }
        names = list(conditions)
        for chosen in range(16):
            used: dict[str, Any] = {name: conditions[name] for bit, name in enumerate(names) if chosen >> bit & 1}
            expected = [
                record
                for record in stored
                if record.label != hidden and all(getattr(record, FILTERS[n]) in used[n] for n in used)
            ]
            assert expected, "the test has something to find"
            asked = query(*labels, **used)
            assert list(store.page(asked).records) == expected, used
            middle = expected[len(expected) // 2].position
            rest = [record for record in expected if record.position > middle]
            assert list(store.page(query(*labels, after=middle, limit=2, **used)).records) == rest[:2], used
            single: dict[str, Any] = {name: values[:1] for name, values in used.items()}
            assert list(store.page(query(*labels, **single)).records) == [
                record for record in expected if all(getattr(record, FILTERS[n]) in single[n] for n in single)
            ]

    def test_an_empty_filter_matches_nothing(self, store: Store, label: int) -> None:
        insert(store, label, draft())
        for name in FILTERS:
            nothing: dict[str, Any] = {name: ()}
            assert store.page(query(label, **nothing)).records == ()

    def test_what_is_named_twice_is_delivered_once(self, store: Store) -> None:
        labels = new_labels(store, 2)
        one = draft()
        given = insert(store, labels[0], one)
        for conditions in [{}, *({name: FILTERS[name]} for name in FILTERS), FILTERS]:
            values: dict[str, Any] = {name: (getattr(one, attribute),) * 2 for name, attribute in conditions.items()}
            assert read(store, query(labels[0], labels[1], labels[0], **values)) == given
        assert read(store, query(*labels, collections=("north", "north"))) == given

    def test_filters_compare_exactly(self, store: Store, label: int) -> None:
        one = draft("x-a--00000000-0000-4000-8000-000000000001")
        insert(store, label, one)
        for name, value in [("ids", one.id.upper()), ("types", "X-A"), ("types", "x-a%"), ("types", ""), ("ids", "'")]:
            other: dict[str, Any] = {name: (value,)}
            assert store.page(query(label, **other)).records == ()

    @pytest.mark.parametrize("count", [201, 401, 2_100])
    def test_a_page_takes_any_number_of_labels(self, count: int, store: Store) -> None:
        labels = new_labels(store, count)
        (hidden,) = new_labels(store, 1, prefix="hidden")
        shown = [labels[n * (count - 1) // 19] for n in range(20)]
        inserts = [(draft(), label) for label in reversed(shown) for _ in range(2)]
        given = insert_each(store, [pair for one in inserts for pair in (one, (draft(), hidden))])[::2]
        assert read(store, query(*labels)) == given
        assert read(store, query(*labels, limit=11)) == given[:11]
        assert read(store, query(*labels, after=given[10], limit=11)) == given[11:22]
        assert read(store, query(*labels, after=given[-1])) == ()
        assert read(store, query(*labels, types=("indicator",), limit=11)) == given[:11]
        assert read(store, query(*labels, ids=tuple(one.id for one, _ in inserts[:5]))) == given[:5]
        # The next query of the same connection has other labels.
        assert read(store, query(*labels[:-1])) == given[2:]
        assert read(store, query(*labels)) == given

    @pytest.mark.parametrize("count", [3, 600])
    def test_a_page_takes_many_collections(self, count: int, store: Store) -> None:
        labels = new_labels(store, 450)
        places = tuple(f"place {n}" for n in range(count))
        given = insert_each(store, [(draft(collection=places[n]), labels[n]) for n in range(3)])
        assert read(store, query(*labels, collections=places)) == given
        assert read(store, query(*labels, collections=places, after=given[0], limit=1)) == given[1:2]
        assert read(store, query(*labels[:3], collections=places)) == given

    def test_a_page_takes_a_thousand_ids(self, store: Store, label: int) -> None:
        ids = tuple(object_id(n) for n in range(1_000))
        given = insert(store, label, *(draft(id_) for id_ in ids[::100]))
        assert read(store, query(label, ids=ids)) == given
        assert read(store, query(label, ids=ids, after=given[3], limit=2)) == given[4:6]

    # ---- horizon: a reader notices that it does not know a label

    def test_the_horizon_is_never_beyond_the_log(self, store: Store) -> None:
        labels = new_labels(store, 2)
        assert store.page(query(*labels)).horizon <= 2
        insert_each(store, [(draft(), labels[0]), (draft(), labels[1])])
        for limit in (1, 2, 3):
            assert store.page(query(*labels, limit=limit)).horizon <= 2
        store.append_log([("marking", '"x"')])
        assert store.page(query(*labels)).horizon <= 3

    @pytest.mark.parametrize("many", [False, True], ids=["few labels", "many labels"])
    def test_a_new_label_is_noticed_on_a_full_page(self, many: bool, store: Store) -> None:
        known = new_labels(store, 500 if many else 1)
        (new,) = new_labels(store, 1, prefix="new")
        _, seen = insert_each(store, [(draft(), new), (draft(), known[0])])
        page = store.page(query(*known, limit=1))
        assert positions(page.records) == (seen,)
        assert page.horizon >= new

    @pytest.mark.parametrize("many", [False, True], ids=["few labels", "many labels"])
    def test_a_new_label_is_noticed_on_a_short_page(self, many: bool, store: Store) -> None:
        known = new_labels(store, 500 if many else 1)
        (new,) = new_labels(store, 1, prefix="new")
        seen, _ = insert_each(store, [(draft(), known[0]), (draft(), new)])
        page = store.page(query(*known, limit=2))
        assert positions(page.records) == (seen,)
        assert page.horizon >= new

    @pytest.mark.parametrize("conditions", [{}, {"types": ("x-none",)}, {"ids": ("x-none--1",)}], ids=str)
    def test_a_new_label_is_noticed_on_an_empty_page(self, conditions: dict[str, Any], store: Store) -> None:
        (known,) = new_labels(store, 1)
        (new,) = new_labels(store, 1, prefix="new")
        (position,) = insert(store, new, draft())
        assert store.page(query(known, **conditions)).horizon >= new
        assert store.page(query(known, after=position, **conditions)).horizon >= new
        assert store.page(query(**conditions)).horizon >= new

    def test_a_new_label_is_noticed_when_an_old_record_gets_it(self, store: Store) -> None:
        (known,) = new_labels(store, 1)
        first, second = insert(store, known, draft(), draft())
        (new,) = new_labels(store, 1, prefix="new")
        store.write([], planning(Plan(relabels={first: new})))
        for limit in (1, 2):
            page = store.page(query(known, limit=limit))
            assert positions(page.records) == (second,)
            assert page.horizon >= new

    def test_a_new_label_is_noticed_after_its_newest_record_is_deleted(self, store: Store) -> None:
        (known,) = new_labels(store, 1)
        (new,) = new_labels(store, 1, prefix="new")
        first, last, _ = insert_each(store, [(draft(), new), (draft(), new), (draft(), known)])
        store.write([], planning(Plan(deletes=[last])))
        assert store.page(query(known, limit=1)).horizon >= new
        assert read(store, query(new)) == (first,)

    # ---- lookup and counts

    def test_lookup_gives_all_records_of_the_ids_in_the_whole_store(self, store: Store) -> None:
        labels = new_labels(store, 2)
        one, two, three = (object_id(n) for n in range(3))
        a = insert(store, labels[0], draft(one), draft(two))
        b = insert(store, labels[1], draft(one, collection="south", submitter="x", hard_refs=("r--1",)), draft(three))
        found = store.lookup([one, two, object_id("unknown")])
        assert {id_: positions(records) for id_, records in found.items()} == {one: (a[0], b[0]), two: (a[1],)}
        assert [record.label for record in found[one]] == labels
        assert found[one][1].hard_refs == ("r--1",)
        assert all(record.content == b"" for records in found.values() for record in records)

    def test_lookup_of_nothing_finds_nothing(self, store: Store) -> None:
        assert store.lookup([]) == {}
        assert store.lookup(["", "no id at all", "x" * 10_000, "'"]) == {}

    def test_lookup_takes_a_set_with_repeats_left_out(self, store: Store, label: int) -> None:
        one = draft()
        (position,) = insert(store, label, one)
        assert positions(store.lookup([one.id, one.id])[one.id]) == (position,)
        assert positions(store.lookup({one.id})[one.id]) == (position,)

    def test_lookup_takes_twenty_thousand_ids(self, store: Store, label: int) -> None:
        ids = [object_id(n) for n in range(20_000)]
        stored = [draft(id_) for id_ in ids[::100]]
        given = insert(store, label, *stored)
        found = store.lookup(ids)
        assert {id_: positions(records) for id_, records in found.items()} == {
            one.id: (position,) for one, position in zip(stored, given, strict=True)
        }

    def test_a_write_takes_twenty_thousand_ids(self, store: Store, label: int) -> None:
        ids = [object_id(n) for n in range(20_000)]
        insert(store, label, draft(ids[5]), draft(ids[19_999]))
        given: list[set[str]] = []

        def planner(present: Present, log_length: int) -> Plan:
            given.append(set(present))
            return Plan()

        store.write(ids, planner)
        assert given == [{ids[5], ids[19_999]}]

    def test_count_by_label_counts_records(self, store: Store) -> None:
        one, two, _ = new_labels(store, 3)
        insert_each(store, [(draft(), one), (draft(), two), (draft(), two)])
        assert store.count_by_label() == {one: 1, two: 2}

    # ---- the log

    def test_log_entries_are_numbered_from_one_without_a_gap(self, store: Store) -> None:
        first = store.append_log([("label", '{"a":1}'), ("marking", '{"a":1}')])
        second = store.append_log([("vocabulary", "[]")])
        assert [*first, *second] == [
            LogEntry(1, "label", '{"a":1}'),
            LogEntry(2, "marking", '{"a":1}'),
            LogEntry(3, "vocabulary", "[]"),
        ]
        assert store.log_after(0) == [*first, *second]
        assert store.log_after(2) == second
        assert store.log_after(3) == []
        assert store.state().log_length == 3

    def test_appending_what_is_there_gives_its_number(self, store: Store) -> None:
        pairs = [("label", f'"{n}"') for n in range(5)]
        first = store.append_log(pairs)
        again = store.append_log([pairs[3], ("label", '"new"'), pairs[0], ("label", '"new"')])
        assert [entry.number for entry in again] == [first[3].number, 6, first[0].number, 6]
        assert [(entry.kind, entry.payload) for entry in again] == [
            pairs[3], ("label", '"new"'), pairs[0], ("label", '"new"')
        ]  # fmt: skip
        assert store.append_log(pairs) == first
        assert store.append_log([]) == []
        assert store.state().log_length == 6

    def test_payloads_are_compared_exactly_and_may_be_large(self, store: Store) -> None:
        large = json.dumps("x" * 300_000)
        payloads = ['"a"', '"A"', '"a "', '"\U0001f6a8"', '"\\u0000"', large, large[:-2] + 'y"']
        entries = store.append_log([("label", payload) for payload in payloads])
        assert [entry.number for entry in entries] == list(range(1, len(payloads) + 1))
        assert [entry.payload for entry in store.log_after(0)] == payloads
        assert store.append_log([("label", large)]) == [entries[5]]

    @pytest.mark.parametrize("stores", [1, 4])
    def test_concurrent_appends_stay_dense_and_give_one_number_to_a_pair(
        self, stores: int, store_factory: StoreFactory
    ) -> None:
        opened = [store_factory() for _ in range(stores)]

        def append(number: int) -> list[LogEntry]:
            entries: list[LogEntry] = []
            for n in range(8):
                pairs = [("label", f'"shared {n}"'), ("label", f'"of {number}, {n}"'), ("label", f'"shared {n + 1}"')]
                got = opened[number % stores].append_log(pairs)
                assert [(entry.kind, entry.payload) for entry in got] == pairs
                entries += got
            return entries

        answers = at_once(*(lambda number=number: append(number) for number in range(8)))
        log = opened[0].log_after(0)
        assert [entry.number for entry in log] == list(range(1, len(log) + 1))
        assert len(log) == len({entry.payload for entry in log}) == 9 + 64
        assert opened[-1].state().log_length == len(log)
        assert {entry for answer in answers for entry in answer} == set(log)

    # ---- statuses

    def test_a_status_comes_back_until_it_expires(self, store_factory: StoreFactory) -> None:
        clock = Clock(1_000)
        store = store_factory(now=clock)
        one = StoredStatus("s1", "hub", "cert-north", b'{"id":"s1","x":"\xc3\xa9"}', 5_000)
        store.save_status(one)
        assert store.status("s1", 1_000) == store.status("s1", 4_999) == one
        assert store.status("s1", 5_001) is None
        assert store.status("s2", 1_000) is None
        clock.us = 6_000
        later = StoredStatus("s2", "hub", "cert-north", b"{}", 9_000)
        store.save_status(later)
        assert store.status("s2", 6_000) == later
        assert store.status("s1", 6_000) is None

    def test_the_newest_statuses_come_first_with_the_head_of_their_body(self, store_factory: StoreFactory) -> None:
        store = store_factory(now=Clock(1_000))
        for number in (2, 3, 1):
            store.save_status(StoredStatus(f"s{number}", "hub", "cert-north", b"0123456789", 5_000 + number))
        assert [(each.id, each.body) for each in store.recent_statuses(2, 4)] == [("s3", b"0123"), ("s2", b"0123")]
        assert [each.expires for each in store.recent_statuses(9, 99)] == [5_003, 5_002, 5_001]

    def test_a_status_is_kept_with_the_write_that_it_tells_of(self, store_factory: StoreFactory, label: int) -> None:
        store = store_factory()
        given: list[tuple[int, ...]] = []

        def status(positions: Sequence[int]) -> StoredStatus:
            given.append(tuple(positions))
            return kept_status("s1", body=repr(positions[0]).encode())

        plan = Plan(inserts=[(draft(version=None), label), (draft(), label)], status=status)
        stored = store.write([], planning(plan))
        assert given == [stored]
        for reader in (store, store_factory()):
            assert reader.status("s1", 0) == kept_status("s1", body=str(stored[0]).encode())
        (recent,) = store.recent_statuses(9, 99)
        assert recent.id == "s1"

    @pytest.mark.parametrize("what", ["deletes", "relabels", "event"])
    def test_a_status_is_kept_with_a_write_without_insertions(self, store: Store, what: str) -> None:
        one, two = new_labels(store, 2)
        (position,) = insert(store, one, draft())
        event = EventPlan([], lambda base, end, positions: json.dumps([base, end]))
        changes: dict[str, Any] = {
            "deletes": {"deletes": [position]},
            "relabels": {"relabels": {position: two}},
            "event": {"event": lambda inside: event},
        }
        plan = Plan(**changes[what], status=lambda positions: kept_status("s1", body=repr(tuple(positions)).encode()))
        assert store.write([], planning(plan)) == ()
        assert store.status("s1", 0) == kept_status("s1", body=b"()")

    def test_where_nothing_is_written_no_status_is(self, store: Store) -> None:
        asked: list[object] = []

        def status(positions: Sequence[int]) -> StoredStatus:
            asked.append(positions)
            return kept_status("s1")

        assert store.write([object_id(1)], planning(Plan(status=status))) == ()
        assert (store.status("s1", 0), asked) == (None, [])

    def test_the_status_of_a_write_that_fails_is_not_there(self, store_factory: StoreFactory, label: int) -> None:
        store = store_factory()

        def fail() -> None:
            raise RuntimeError("the power goes off here")

        def plan(status: Callable[[Sequence[int]], StoredStatus]) -> Plan:
            return Plan(inserts=[(draft(), label)], status=status)

        store.before_commit = fail
        with pytest.raises(RuntimeError, match="the power goes off"):
            store.write([], planning(plan(lambda positions: kept_status("s1"))))
        store.before_commit = lambda: None

        def broken(positions: Sequence[int]) -> StoredStatus:
            raise LookupError("no status")

        with pytest.raises(LookupError, match="no status"):
            store.write([], planning(plan(broken)))
        for reader in (store, store_factory()):
            assert (reader.status("s1", 0), reader.recent_statuses(9, 9), read(reader, query(label))) == (None, [], ())

    def test_each_of_many_writers_finds_the_status_of_its_write(self, store_factory: StoreFactory, label: int) -> None:
        opened = [store_factory(), store_factory()]

        def post(number: int) -> None:
            store = opened[number % 2]
            for turn in range(5):
                name = f"{number}-{turn}"
                drafts = [draft(object_id(f"{name}-{n}")) for n in range(1 + turn % 3)]
                plan = Plan(
                    inserts=[(one, label) for one in drafts],
                    status=lambda positions, name=name: kept_status(name, body=repr(tuple(positions)).encode()),
                )
                given = store.write([one.id for one in drafts], planning(plan))
                assert store.status(name, 0) == kept_status(name, body=repr(given).encode())

        for writer in [Background(lambda number=number: post(number)) for number in range(8)]:
            writer.result()
        assert len(opened[0].recent_statuses(99, 9)) == 40

    # ---- credentials

    def test_credentials_come_back_by_partner_and_id(self, store: Store) -> None:
        given = [
            Credential(id_, partner, "token", f"hash {id_}", "2020-01-01T00:00:00Z", comment)
            for id_, partner, comment in [
                ("k3", "b", ""),
                ("k1", "b", "the \U0001f6a8 one"),
                ("k2", "a", ""),
                ("K0", "b", ""),
            ]
        ]
        for credential in given:
            store.save_credential(credential)
        assert store.credentials() == sorted(given, key=lambda one: (one.partner, one.id))

    def test_saving_a_credential_again_replaces_it(self, store: Store) -> None:
        store.save_credential(Credential("k", "a", "token", "old", "2020"))
        replaced = Credential("k", "b", "password", "new", "2021", "comment", revoked=True)
        store.save_credential(replaced)
        assert store.credentials() == [replaced]

    def test_a_revoked_credential_is_still_listed(self, store: Store) -> None:
        store.save_credential(Credential("k", "a", "token", "hash", "2020"))
        store.save_credential(Credential("l", "a", "token", "hash2", "2020"))
        assert store.revoke_credential("k") is True
        assert [(one.id, one.revoked) for one in store.credentials()] == [("k", True), ("l", False)]
        assert store.revoke_credential("unknown") is False

    def test_every_change_of_credentials_changes_their_epoch(self, store_factory: StoreFactory) -> None:
        store, other = store_factory(), store_factory()
        epochs = [store.state().credentials_epoch]
        credential = Credential("k", "a", "token", "hash", "2020")
        for change in (
            lambda: store.save_credential(credential),
            lambda: other.save_credential(credential),
            lambda: store.revoke_credential("k"),
            lambda: other.save_credential(credential),
        ):
            change()
            epochs.append(store.state().credentials_epoch)
            assert other.state() == store.state()
        assert epochs == sorted(set(epochs))

    def test_concurrent_changes_of_credentials_are_all_counted(self, store_factory: StoreFactory) -> None:
        opened = [store_factory(), store_factory()]

        def save(number: int) -> None:
            for n in range(5):
                opened[number % 2].save_credential(Credential(f"{number} {n}", "a", "token", f"{number} {n}", "2020"))

        at_once(*(lambda number=number: save(number) for number in range(4)))
        assert len(opened[0].credentials()) == 20
        assert opened[0].state().credentials_epoch == 20

    # ---- the catalog

    def test_the_newest_catalog_is_in_force(self, store_factory: StoreFactory) -> None:
        clock = Clock(1_000)
        store = store_factory(now=clock)
        first = store.apply_catalog({"policy.toml": "a = 1", "ä/b.toml": "\U0001f6a8"}, "digest 1", "root")
        assert first == AppliedCatalog(1, "digest 1", 1_000, "root", {"policy.toml": "a = 1", "ä/b.toml": "\U0001f6a8"})
        assert store.catalog() == first
        clock.us = 2_000
        second = store.apply_catalog({}, "digest 2", "anna")
        assert second == AppliedCatalog(2, "digest 2", 2_000, "anna", {})
        assert store_factory().catalog() == second
        assert store.state().catalog_epoch == 2

    def test_applying_the_same_catalog_again_does_nothing(self, store_factory: StoreFactory) -> None:
        clock = Clock(1_000)
        store = store_factory(now=clock)
        first = store.apply_catalog({"a": "1"}, "digest 1", "root")
        clock.us = 2_000
        assert store.apply_catalog({"a": "1"}, "digest 1", "anna") == first
        assert store.state().catalog_epoch == 1

    def test_going_back_to_an_older_catalog_is_a_change(self, store: Store) -> None:
        epochs = [store.apply_catalog({"a": text}, f"digest {text}", "root").epoch for text in ("1", "2", "1", "1")]
        assert epochs == [1, 2, 3, 3]
        catalog = store.catalog()
        assert catalog is not None
        assert catalog.files == {"a": "1"}

    def test_applying_at_the_same_time_counts_each_change_once(self, store_factory: StoreFactory) -> None:
        opened = [store_factory() for _ in range(3)]
        applied = at_once(*(lambda store=store: store.apply_catalog({"a": "1"}, "same", "root") for store in opened))
        assert [one.epoch for one in applied] == [1, 1, 1]
        applied = at_once(
            *(
                lambda n=n, store=store: store.apply_catalog({"a": f"{n}"}, f"{n}", "x")
                for n, store in enumerate(opened)
            )
        )
        assert sorted(one.epoch for one in applied) == [2, 3, 4]

    def test_a_catalog_that_expects_another_one_changes_nothing(self, store: Store) -> None:
        with pytest.raises(CatalogMoved):
            store.apply_catalog({"a": "1"}, "digest 1", "root", expected_epoch=1)
        assert store.catalog() is None
        first = store.apply_catalog({"a": "1"}, "digest 1", "root", expected_epoch=0)
        assert first.epoch == 1
        for digest in ("digest 1", "digest 2"):
            with pytest.raises(CatalogMoved):
                store.apply_catalog({"a": "2"}, digest, "root", expected_epoch=0)
        assert store.catalog() == first
        assert store.apply_catalog({"a": "1"}, "digest 1", "root", expected_epoch=1) == first
        assert store.apply_catalog({"a": "2"}, "digest 2", "root", expected_epoch=1).epoch == 2

    def test_of_changes_to_the_same_catalog_at_the_same_time_one_is_applied(self, store_factory: StoreFactory) -> None:
        opened = [store_factory() for _ in range(4)]
        opened[0].apply_catalog({"a": "0"}, "0", "root")

        def change(number: int) -> int:
            try:
                return opened[number].apply_catalog({"a": f"{number}"}, f"{number}", "x", expected_epoch=1).epoch
            except CatalogMoved:
                return 0

        applied = at_once(*(lambda n=n: change(n) for n in range(1, 4)))
        assert sorted(applied) == [0, 0, 2]
        catalog = opened[0].catalog()
        assert catalog is not None
        assert catalog.files == {"a": catalog.digest}

    # ---- several threads on one store

    def test_one_store_serves_several_threads(self, store: Store) -> None:
        labels = new_labels(store, 500)
        drafts: list[Draft] = [draft() for _ in range(30)]
        given = insert_each(store, [(one, labels[n]) for n, one in enumerate(drafts)])

        def use(number: int) -> None:
            for n in range(15):
                mine = labels[n : n + 1 + number * 60]
                expected = tuple(p for p, label in zip(given, labels, strict=False) if label in mine)
                assert read(store, query(*mine)) == expected
                assert positions(store.lookup([drafts[n].id])[drafts[n].id]) == (given[n],)
                store.append_log([("marking", f"{number}, {n}")])

        at_once(*(lambda number=number: use(number) for number in range(8)))
        assert store.state().log_length == 500 + 8 * 15

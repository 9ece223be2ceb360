"""The store on MongoDB: the contract, and what is true of this store alone."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID, uuid4

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, OperationFailure
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from taxii_server.errors import ConfigError, SchemaTooNew, StorageError, StorageUnavailable
from taxii_server.model import PageQuery, Record, StoredStatus
from taxii_server.stix.validate import OBJECT_MAX_BYTES
from taxii_server.storage import mongo_connection, mongo_schema, mongo_whole
from taxii_server.storage.base import Plan, Store
from taxii_server.storage.ledger import Entry, LedgerQuery
from taxii_server.storage.mongo import MongoStore
from taxii_server.storage.mongo_connection import Connection
from taxii_server.storage.mongo_health import replica_set_of
from taxii_server.storage.mongo_ledger import MongoLedger
from taxii_server.storage.quarantine import EntryQuery
from taxii_server.times import now_position
from tests.mongo import Node, make_primary, running_mongod, with_database
from tests.patching import but_for
from tests.storage.chores_contract import ChoresContract
from tests.storage.contract import StoreContract, StoreFactory
from tests.storage.health_contract import HealthContract
from tests.storage.quarantine_contract import QuarantineContract, entry
from tests.storage.samples import (
    Background,
    Follower,
    Pause,
    at_once,
    draft,
    insert,
    insert_each,
    new_labels,
    object_id,
    positions,
    query,
    read,
)
from tests.storage.whole_contract import WholeContract, rows_of

Client = MongoClient[dict[str, Any]]

NOBODY_LISTENS = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50"
ROOT = Path(__file__).parents[2]
PROCESS_S = 120


class Commands(CommandListener):
    """The names of the commands that went over the wire."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...

    def during(self, call: Callable[[], object]) -> list[str]:
        self.names.clear()
        call()
        return list(self.names)


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
def store_factory(mongo_database_url: str, commands: Commands) -> Iterator[StoreFactory]:
    """Opens prepared stores on the database of the test."""
    opened: list[MongoStore] = []

    def open_store(now: Callable[[], int] = now_position) -> Store:
        store = MongoStore(mongo_database_url, now=now, event_listeners=[commands])
        opened.append(store)
        store.prepare()
        return store

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def store(store_factory: StoreFactory) -> Store:
    return store_factory()


@pytest.fixture
def label(store: Store) -> int:
    return new_labels(store, 1)[0]


class TestContract(HealthContract, ChoresContract, WholeContract, QuarantineContract, StoreContract):
    fenced_by_a_broken_replacement = True

    @pytest.fixture
    def store_factory(self, store_factory: StoreFactory) -> StoreFactory:
        return store_factory

    @pytest.fixture
    def break_driver(self) -> Callable[[Store], None]:
        def break_it(store: Store) -> None:
            assert isinstance(store, MongoStore)
            store.close()
            store._connection = Connection(NOBODY_LISTENS, timeout_s=5, write_timeout_s=5, event_listeners=())
            store._ledger = MongoLedger(store._connection)

        return break_it


# ---- another database in the place of the one that a process began with


def _replace(store: Store) -> None:
    """Restore what the store holds, but for the meaning of its labels."""
    facts, rows = rows_of(store)
    with store.whole.replace() as loading:
        for part, some in rows.items():
            loading.put(part, [(number, kind, '"another"') for number, kind, _ in some] if part == "log" else some)
        loading.finish(facts)


MANY_TERMS = tuple(range(2, mongo_schema.MAX_RANGES + 3))
LOOKS: dict[str, Callable[[Store, int], object]] = {
    "page": lambda store, label: store.page(query(label)),
    "page in parts": lambda store, label: store.page(replace(query(label), terms={label: MANY_TERMS})),
    "write": lambda store, label: insert(store, label, draft()),
    "state": lambda store, label: store.state(),
}


def test_who_has_read_a_page_still_finds_what_it_refers_to_when_a_restore_begins(
    store: Store, label: int, store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(store, label, draft(object_id(0)))
    server, restoring = store_factory(), store_factory()
    server.page(query(label))
    waited: list[float] = []

    def wait(seconds: float) -> None:
        assert server.lookup([object_id(0)])[object_id(0)]
        with pytest.raises(StorageUnavailable, match="restart the server"):
            server.page(query(label))
        waited.append(seconds)

    monkeypatch.setattr(mongo_whole, "time", but_for(time, sleep=wait))
    _replace(restoring)
    assert waited == [mongo_whole.QUIET_S]


@pytest.mark.parametrize("has_eras", [True, False], ids=["", "made before there were eras"])
@pytest.mark.parametrize("name", LOOKS)
def test_a_process_answers_nothing_from_another_database_than_it_began_with(
    name: str, has_eras: bool, store: Store, label: int, store_factory: StoreFactory, mongo_database_url: str
) -> None:
    insert(store, label, draft())
    if not has_eras:
        with MongoClient[dict[str, Any]](mongo_database_url) as client:
            for collection, key in (("meta", "clock"), ("records", -1)):
                client.get_default_database()[collection].update_one({"_id": key}, {"$unset": {"era": 1}})
    server, restoring = store_factory(), store_factory()
    for look in LOOKS.values():
        look(server, label)
    _replace(restoring)
    with pytest.raises(StorageUnavailable, match="restart the server"):
        LOOKS[name](server, label)
    with pytest.raises(StorageUnavailable, match="restart the server"):
        server.lookup([object_id(0)])
    for look in LOOKS.values():
        look(restoring, label)
        look(store_factory(), label)


# ---- commands


def test_a_page_of_a_thousand_records_is_one_find(store: Store, label: int, commands: Commands) -> None:
    insert(store, label, *(draft(content=b"x" * 1_000) for _ in range(1_001)))
    many = tuple(range(label, label + 300))
    for asked in (
        query(label, limit=1_000),
        query(*many, limit=1_000),
        query(label, limit=1_001, types=("indicator",)),
        query(label, limit=5_000, content=False),
        query(),
    ):
        assert commands.during(partial(store.page, asked)) == ["find"]


def test_a_reply_that_is_full_ends_the_page_and_leaves_no_cursor(
    store: Store, label: int, commands: Commands, mongo_client: Client, mongo_database_url: str
) -> None:
    insert_each(store, ((draft(content=b"x" * 6_000_000), label) for _ in range(3)))
    asked = replace(query(label), limit_bytes=16_000_000)
    assert commands.during(lambda: store.page(asked)) == ["find", "killCursors"]
    records = f"{mongo_database_url.rpartition('/')[2].partition('?')[0]}.records"  # others may have cursors meanwhile
    looks: list[dict[str, Any]] = [{"$currentOp": {"idleCursors": True}}, {"$match": {"ns": records}}]
    assert list(mongo_client.admin.aggregate(looks)) == []


def test_a_lookup_of_thousands_is_one_find(store: Store, label: int, commands: Commands) -> None:
    ids = [object_id(n) for n in range(3_000)]
    insert(store, label, *(draft(id_) for id_ in ids))
    assert commands.during(lambda: store.lookup(ids)) == ["find"]


def test_the_state_is_one_find(store: Store, commands: Commands) -> None:
    assert commands.during(store.state) == ["find"]


def test_asking_for_known_log_entries_is_one_find(store: Store, label: int, commands: Commands) -> None:
    assert commands.during(lambda: new_labels(store, 1)) == ["find"]


def test_a_write_is_five_commands_whatever_its_size(store: Store, label: int, commands: Commands) -> None:
    wanted = ["findAndModify", "find", "insert", "update", "commitTransaction"]
    for size in (1, 1_000):
        drafts = [draft() for _ in range(size)]
        assert commands.during(partial(insert, store, label, *drafts)) == wanted


def test_the_statuses_of_a_transaction_are_one_command(store: Store, label: int, commands: Commands) -> None:
    def post() -> None:
        status = StoredStatus(str(uuid4()), "api", "rw", b"{}", now_position() + 10**9)
        plan = Plan([(draft(), label)], status=lambda positions: status)
        store.write([], lambda present, length: plan)

    wanted = ["findAndModify", "insert", "update", "insert", "commitTransaction"]
    assert commands.during(post) == [*wanted, "delete"], "the first one removes what has expired, outside"
    assert commands.during(post) == wanted
    pause = Pause()
    store.before_commit = pause
    first = Background(post)
    assert pause.reached.wait(60)
    line = store._writes._lines[os.getpid()]  # type: ignore[attr-defined]
    others = [Background(post) for _ in range(3)]
    while len(line.waiting) < 3:
        time.sleep(0.001)
    store.before_commit = lambda: None
    commands.names.clear()
    pause.released.set()
    for each in (first, *others):
        each.result()
    assert commands.names == ["commitTransaction", *wanted], "the statuses of three posts, too"
    assert len(store.recent_statuses(9, 9)) == 6


def test_what_was_written_stays_written_when_expired_statuses_cannot_be_removed(
    store: Store, label: int, failing: Failing
) -> None:
    status = StoredStatus(str(uuid4()), "api", "rw", b"{}", now_position() + 10**9)
    plan = Plan([(draft(), label)], status=lambda positions: status)
    with failing(1_000, "delete", errorCode=8):
        given = store.write([], lambda present, length: plan)
    assert read(store, query(label)) == given
    assert store.status(status.id, 0) == status


# ---- plans


def explained(client: Client, url: str, asked: PageQuery) -> tuple[set[str], dict[str, int]]:
    """The stages of the plan that won, and what executing it took."""
    condition, hint = mongo_schema.page_filter(asked)
    database = client[url.rpartition("/")[2].partition("?")[0]]
    find = {"find": "records", "filter": condition, "sort": {"_id": 1}, "limit": asked.limit + 1, "hint": hint}
    answer = database.command({"explain": find, "verbosity": "executionStats"})
    stages: set[str] = set()

    def walk(stage: Mapping[str, Any]) -> None:
        stages.add(stage["stage"])
        for inner in [*stage.get("inputStages", ()), *filter(None, [stage.get("inputStage")])]:
            walk(inner)

    walk(answer["executionStats"]["executionStages"])
    return stages, {
        name: answer["executionStats"][name] for name in ("nReturned", "totalDocsExamined", "totalKeysExamined")
    }


@pytest.fixture
def mixed(store: Store) -> Sequence[Record]:
    """600 labels; of 3,000 records most are hidden: label 600. The others are spread over the first 599."""
    labels = new_labels(store, 600)
    types = ("indicator", "malware", "tool")
    drafts = [draft(object_id(n, types[n % 3])) for n in range(3_000)]
    insert_each(store, [(one, labels[n % 599] if n % 5 == 0 else labels[599]) for n, one in enumerate(drafts)])
    return store.page(query(*labels)).records


SHAPES: dict[str, dict[str, Any]] = {
    "one label": {"labels": 1},
    "199 labels": {"labels": 199},
    "199 labels, in the middle": {"labels": 199, "middle": True},
    "200 labels": {"labels": 200},
    "599 labels": {"labels": 599},
    "599 labels, in the middle": {"labels": 599, "middle": True},
    "99 labels, two types": {"labels": 99, "types": ("malware", "tool")},
    "100 labels, two types": {"labels": 100, "types": ("malware", "tool")},
    "599 labels, one type": {"labels": 599, "types": ("tool",)},
    "three ids": {"labels": 599, "ids": tuple(object_id(n, "indicator") for n in (0, 3, 15))},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_no_hidden_document_is_fetched_and_nothing_is_sorted(
    shape: str, store: Store, mixed: Sequence[Record], mongo_client: Client, mongo_database_url: str
) -> None:
    wanted = dict(SHAPES[shape])
    after = mixed[len(mixed) // 2].position if wanted.pop("middle", False) else 0
    asked = query(*range(1, wanted.pop("labels") + 1), after=after, limit=100, **wanted)
    found = store.page(asked).records
    assert found
    stages, cost = explained(mongo_client, mongo_database_url, asked)
    assert cost["nReturned"] == cost["totalDocsExamined"] == len(found) + 1, "the marker is the one more"
    assert "SORT" not in stages


@pytest.mark.parametrize("types", [None, ("indicator", "malware")])
def test_hidden_records_cost_nothing_with_few_labels(
    types: tuple[str, ...] | None, store: Store, mixed: Sequence[Record], mongo_client: Client, mongo_database_url: str
) -> None:
    asked = query(*range(1, 51), limit=20, types=types)
    before = explained(mongo_client, mongo_database_url, asked)
    insert(store, 600, *(draft() for _ in range(2_000)))
    assert explained(mongo_client, mongo_database_url, asked) == before
    assert before[1]["totalKeysExamined"] <= 20 + 1 + 50 * len(types or "1")


# ---- preparing


def test_a_database_of_a_newer_release_is_refused(store: Store, mongo_client: Client, mongo_database_url: str) -> None:
    database = mongo_client.get_database(mongo_database_url.rpartition("/")[2].partition("?")[0])
    assert database["meta"].find_one({"_id": "schema"}) == {"_id": "schema", "version": mongo_schema.SCHEMA_VERSION}
    database["meta"].update_one({"_id": "schema"}, {"$inc": {"version": 1}})
    with pytest.raises(SchemaTooNew, match="start the newer release"):
        store.prepare()


def test_an_older_database_is_migrated_step_by_step(
    store: Store, label: int, monkeypatch: pytest.MonkeyPatch, mongo_client: Client
) -> None:
    steps: list[str] = []
    newest = mongo_schema.SCHEMA_VERSION + 2
    later = {newest - 2: lambda _: steps.append("one"), newest - 1: lambda _: steps.append("two")}
    monkeypatch.setattr(mongo_schema, "MIGRATIONS", {**mongo_schema.MIGRATIONS, **later})
    monkeypatch.setattr(mongo_schema, "SCHEMA_VERSION", newest)
    store.prepare()
    store.prepare()
    assert steps == ["one", "two"]
    assert store.state().log_length == 1


def test_a_database_without_a_quarantine_gets_one_with_its_indexes(
    store: Store, mongo_client: Client, mongo_database_url: str
) -> None:
    database = mongo_client.get_database(mongo_database_url.rpartition("/")[2].partition("?")[0])
    database["quarantine"].drop()
    store.prepare()
    (kept,) = store.quarantine.hold([entry(1)])
    assert store.quarantine.page(EntryQuery(9)) == [kept]
    assert database["quarantine"].index_information()["object"]["unique"]


def test_stores_may_prepare_at_the_same_time(mongo_database_url: str) -> None:
    stores = [MongoStore(mongo_database_url) for _ in range(4)]
    at_once(*(store.prepare for store in stores))
    assert len({store.secret() for store in stores}) == 1
    (label,) = new_labels(stores[0])
    insert(stores[1], label, draft())
    assert len(read(stores[2], query(label))) == 1
    for store in stores:
        store.close()


def test_a_database_that_was_not_prepared_says_so(mongo_database_url: str) -> None:
    store = MongoStore(mongo_database_url)
    for call in (store.state, store.secret, lambda: store.page(query(1)), lambda: insert(store, 1, draft())):
        with pytest.raises(StorageError, match="not prepared"):
            call()
    store.close()


@pytest.mark.parametrize("options", ["", "&directConnection=true", "&replicaSet=hub"])
def test_a_standalone_server_is_refused_with_the_remedy(standalone: str, options: str) -> None:
    store = MongoStore(f"mongodb://{standalone}/?serverSelectionTimeoutMS=500{options}")
    with pytest.raises(StorageUnavailable, match=r"rs\.initiate\(\)"):
        store.prepare()
    store.close()


@pytest.fixture(scope="module")
def standalone() -> Iterator[str]:
    with running_mongod(replica_set=None) as address:
        yield address


@pytest.mark.parametrize("options", ["", "&directConnection=true"])
def test_a_replica_set_that_was_not_initiated_is_refused_with_the_remedy(options: str) -> None:
    with running_mongod(initiate=False) as address:
        store = MongoStore(f"mongodb://{address}/?serverSelectionTimeoutMS=500{options}")
        with pytest.raises(StorageUnavailable, match=r"rs\.initiate\(\)"):
            store.prepare()
        store.close()


# ---- the URL


def test_a_url_without_a_database_means_taxii_server() -> None:
    connection = Connection(NOBODY_LISTENS, timeout_s=1, write_timeout_s=1, event_listeners=())
    assert connection.database().name == "taxii_server"
    connection.close()


@pytest.mark.parametrize("url", ["mongodb://hub:s3cr/et@host/", "mongodb://hub:s3cret@host:port/", "s3cret", ""])
def test_a_bad_url_is_an_error_without_the_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MongoStore(url)
    assert "s3cr" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_the_errors_name_the_host_and_not_the_password() -> None:
    store = MongoStore("mongodb://hub:s3cret@127.0.0.1:1/x?serverSelectionTimeoutMS=50")
    with pytest.raises(StorageUnavailable, match=r"127\.0\.0\.1:1 does not answer") as caught:
        store.state()
    assert "s3cret" not in str(caught.value)
    store.close()


# ---- failures


class Failing(Protocol):
    def __call__(self, times: int, *commands: str, **how: object) -> AbstractContextManager[None]: ...


@pytest.fixture
def failing(mongo_client: Client, mongo_database_url: str) -> Failing:
    """The next commands of these names fail for the stores of the test (needs a server with enableTestCommands)."""
    connection = Connection(mongo_database_url, timeout_s=1, write_timeout_s=1, event_listeners=())

    @contextmanager
    def fail(times: int, *commands: str, **how: object) -> Iterator[None]:
        data = {"failCommands": commands, "appName": connection.app_name, **how}
        mongo_client.admin.command("configureFailPoint", "failCommand", mode={"times": times}, data=data)
        try:
            yield
        finally:
            mongo_client.admin.command("configureFailPoint", "failCommand", mode="off")

    return fail


def test_a_command_that_the_driver_gave_up_is_told_as_a_database_that_does_not_answer() -> None:
    given_up = AutoReconnect("operation cancelled")
    connection = Connection(NOBODY_LISTENS, timeout_s=5, write_timeout_s=5, event_listeners=())
    with pytest.raises(StorageUnavailable, match=": it does not answer"), connection._translated():
        raise given_up


@pytest.mark.parametrize("how", [{"closeConnection": True}, {"errorCode": 10107}], ids=["cut", "NotWritablePrimary"])
def test_a_page_is_asked_for_once_more_when_the_connection_breaks(
    store: Store, label: int, how: dict[str, Any], failing: Failing
) -> None:
    given = insert(store, label, draft())
    with failing(1, "find", **how):
        assert read(store, query(label)) == given
    with failing(2, "find", closeConnection=True), pytest.raises(StorageUnavailable):
        read(store, query(label))


def test_a_cursor_that_cannot_be_ended_is_no_error_of_the_page(store: Store, label: int, failing: Failing) -> None:
    given = insert_each(store, ((draft(content=b"x" * 6_000_000), label) for _ in range(3)))
    with failing(1, "killCursors", errorCode=91):
        assert read(store, replace(query(label), limit_bytes=16_000_000)) == given[:2]


def test_a_write_that_finds_nothing_to_do_waits_for_the_majority_too(store: Store, commands: Commands) -> None:
    """What it found may be of a moment ago: who is told "already present" must be able to rely on it."""
    assert commands.during(lambda: store.write([], lambda present, length: Plan())) == [
        "findAndModify",
        "commitTransaction",
    ]


@pytest.mark.parametrize("code", [239, 246], ids=["SnapshotTooOld", "SnapshotUnavailable"])
def test_a_snapshot_that_is_gone_is_taken_again(store: Store, label: int, code: int, failing: Failing) -> None:
    one = draft()
    given = insert(store, label, one)
    with failing(2, "find", errorCode=code):
        assert read(store, query(label)) == given
    with failing(2, "find", errorCode=code):
        assert set(store.lookup([one.id])) == {one.id}


@pytest.mark.parametrize(
    "how",
    [
        {"closeConnection": True},
        {"errorCode": 112, "errorLabels": ["TransientTransactionError"]},
        {"errorCode": 388, "errorLabels": []},
    ],
    ids=["connection lost", "write conflict", "no room in the cache"],
)
@pytest.mark.parametrize("command", ["findAndModify", "find", "insert", "update", "commitTransaction"])
def test_a_write_that_fails_on_its_way_happens_once(
    command: str, how: dict[str, Any], store: Store, label: int, failing: Failing
) -> None:
    one = draft()
    calls: list[int] = []

    def planner(present: Mapping[str, Sequence[Record]], log_length: int) -> Plan:
        calls.append(len(present))
        return Plan(inserts=[(one, label)])

    with failing(1, command, **how):
        given = store.write([one.id], planner)
    assert set(calls) == {0}
    assert positions(store.lookup([one.id])[one.id]) == given
    assert read(store, query(label)) == given


def test_a_commit_of_unknown_outcome_is_asked_for_again(store: Store, label: int, failing: Failing) -> None:
    concern = {"code": 64, "errmsg": "waiting for replication timed out", "errInfo": {"wtimeout": True}}
    with failing(3, "commitTransaction", writeConcernError=concern):  # it commits, and says it is not sure
        given = insert(store, label, draft())
    assert read(store, query(label)) == given


def test_a_write_that_cannot_commit_ends_in_our_error(mongo_database_url: str, failing: Failing) -> None:
    store = MongoStore(mongo_database_url, write_timeout_s=1.0)
    store.prepare()
    (label,) = new_labels(store)
    with (
        failing(1_000_000, "insert", errorCode=112, errorLabels=["TransientTransactionError"]),
        pytest.raises(StorageUnavailable),
    ):
        insert(store, label, draft())
    assert len(insert(store, label, draft())) == 1, "nothing of the failed write is in the way"
    store.close()


def test_a_writer_that_gets_no_turn_ends_in_our_error(store: Store, label: int, mongo_database_url: str) -> None:
    """Within one process and between processes; the one that has the turn is not disturbed."""
    others = [MongoStore(mongo_database_url, write_timeout_s=0.5) for _ in range(2)]
    reached, released = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        assert released.wait(60)

    store.before_commit = others[0].before_commit = hold
    first = Background(lambda: insert(store, label, draft()))
    assert reached.wait(30)
    with pytest.raises(StorageUnavailable):
        insert(others[1], label, draft())
    released.set()
    assert read(others[0], query(label)) == first.result()
    for other in others:
        other.close()


@pytest.mark.parametrize("code", [11602, 91, 64])
def test_a_primary_that_steps_down_before_the_majority_has_it_is_unavailable_not_broken(
    store: Store, mongo_database_url: str, failing: Failing, code: int
) -> None:
    """A deletion of several documents is not repeated by the driver, and a bulk write hides the code in its details."""
    other = MongoStore(mongo_database_url)  # the first status that a store saves comes with a deletion of old ones
    status = StoredStatus(str(uuid4()), "api", "rw", b"{}", now_position() + 10**9)
    entries = [Entry("s", 1, 1, "opened", "", "", 0, 0, "{}", b"", b"", b"")]
    said = {"code": code, "errmsg": "operation was interrupted"}
    for command, call in (
        ("delete", lambda: other.save_status(status)),
        ("insert", lambda: store.ledger.append(entries)),
    ):
        # Without an end: within its time the driver repeats an insertion as often as it likes.
        with failing(1_000_000, command, writeConcernError=said), pytest.raises(StorageUnavailable):
            call()
    other.save_status(status)
    assert store.status(status.id, 0) == status
    other.close()


def test_whoever_waits_for_an_answer_waits_for_the_ledger_no_longer_than_it_may(store: Store, failing: Failing) -> None:
    """Operators wait for a minute; a page that begins a strand does not."""
    store.ledger.append([Entry("s", 1, 1, "opened", "", "", 0, 0, "{}", b"", b"", b"h")])
    for command, call in (
        ("aggregate", lambda: store.ledger.heads(limit_s=0.3)),
        ("find", lambda: list(store.ledger.find(LedgerQuery(), limit_s=0.3))),
    ):
        with failing(1, command, blockConnection=True, blockTimeMS=6_000), pytest.raises(StorageUnavailable):
            call()
    with failing(1, "aggregate", blockConnection=True, blockTimeMS=6_000):
        assert len(store.ledger.heads()) == 1
    assert len(list(store.ledger.find(LedgerQuery(), limit_s=5.0))) == 1


def test_a_document_that_is_too_large_is_our_error(store: Store, label: int) -> None:
    with pytest.raises(StorageError):
        insert(store, label, draft(content=b"x" * (17 * 1024 * 1024)))
    assert read(store, query(label)) == ()
    assert len(insert(store, label, draft())) == 1


def test_the_largest_object_that_is_accepted_fits_however_many_references_it_has(store: Store, label: int) -> None:
    count = OBJECT_MAX_BYTES // len(f'"x--{UUID(int=0)}",')
    shortest = tuple(f"x--{UUID(int=number)}" for number in range(count))
    assert len(insert(store, label, draft(content=b"x" * OBJECT_MAX_BYTES, soft_refs=shortest))) == 1


def test_a_request_that_the_server_refuses_is_our_error(store: Store, failing: Failing) -> None:
    with failing(1, "find", errorCode=13), pytest.raises(StorageError) as caught:  # Unauthorized
        store.page(query(1))
    assert isinstance(caught.value.__cause__, OperationFailure)
    assert not isinstance(caught.value, StorageUnavailable)


def is_connected(store: MongoStore) -> bool:
    try:
        store.state()
    except StorageUnavailable:
        return False
    return True


def test_a_server_that_goes_away_is_our_error_within_the_time_limit() -> None:
    with running_mongod() as address:
        url = f"mongodb://{address}/hub?replicaSet=tests"
        patient = MongoStore(url)  # a server that has just started takes its time
        patient.prepare()
        (label,) = new_labels(patient)
        insert(patient, label, draft())
        patient.close()
        store = MongoStore(f"{url}&serverSelectionTimeoutMS=300", timeout_s=1.0, write_timeout_s=1.0)
        while not is_connected(store):
            time.sleep(0.01)
    for call in (lambda: store.page(query(label)), lambda: insert(store, label, draft()), store.state):
        with pytest.raises(StorageUnavailable):
            call()
    store.close()


def test_a_look_of_the_driver_takes_less_than_a_read_may_unless_the_url_says_otherwise() -> None:
    """Or a server that stood still is refused work long after it goes on: the driver adds the time of its looks."""
    found = []
    for options in ("", "?connectTimeoutMS=9000&heartbeatFrequencyMS=7000&serverSelectionTimeoutMS=5000"):
        connection = Connection(f"mongodb://127.0.0.1:1/{options}", timeout_s=1, write_timeout_s=1, event_listeners=())
        told = connection.database().client.options
        found.append((told.pool_options.connect_timeout, told.heartbeat_frequency, told.server_selection_timeout))
        connection.close()
    assert found == [(3.0, 5.0, 3.0), (9.0, 7.0, 5.0)]
    assert found[0][0] < inspect.signature(MongoStore).parameters["timeout_s"].default


def test_a_write_to_a_server_that_stands_still_ends_when_the_driver_notices(tmp_path: Path) -> None:
    """Not only when its time is over; and the next ones are done as soon as the server goes on."""
    node = Node(tmp_path)
    try:
        make_primary(node.address, node.replica_set)
        store = MongoStore(f"{with_database(node.uri, 'hub')}&heartbeatFrequencyMS=500&connectTimeoutMS=500")
        store.prepare()
        (label,) = new_labels(store)
        insert(store, label, draft())
        node.pause()
        stuck = Background(lambda: insert(store, label, draft()))
        assert stuck.ends_within(20)
        with pytest.raises(StorageUnavailable):
            stuck.result()
        node.resume()
        for last in (False, False, True):
            try:
                given = insert(store, label, draft())
            except StorageUnavailable:
                assert not last
        assert read(store, query(label))[-1:] == given
        store.close()
    finally:
        node.kill()


# ---- several processes


def test_two_processes_write_and_a_follower_misses_nothing(store: Store, mongo_database_url: str) -> None:
    follower = Follower(store, limit=5)
    done = threading.Event()
    reader = Background(lambda: follower.follow(done))
    command = [sys.executable, "-m", "tests.storage.mongo_writer", mongo_database_url]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    writers = [subprocess.Popen([*command, name, "40"], cwd=ROOT, **pipes) for name in ("north", "south")]
    assert [writer.stdout.readline() for writer in writers] == [b"begun\n"] * 2
    for writer in writers:
        writer.stdin.write(b"\n")
        writer.stdin.flush()
    given = [json.loads(writer.communicate(timeout=PROCESS_S)[0]) for writer in writers]
    done.set()
    seen = positions(reader.result())
    assert all(writer.returncode == 0 for writer in writers)
    assert seen == tuple(sorted([*given[0], *given[1]]))
    assert len(seen) == 2 * sum(1 + n % 4 for n in range(40))
    assert given[0][0] < given[1][-1], "they wrote at the same time"
    assert given[1][0] < given[0][-1], "they wrote at the same time"


KILLED = """
import sys, time
from taxii_server.storage.ledger import Entry
from taxii_server.storage.mongo import MongoStore
from tests.storage.samples import draft, insert
store = MongoStore(sys.argv[1])
store.before_commit = lambda: (print("inside", flush=True), time.sleep(600))
insert(store, int(sys.argv[2]), draft())
"""


def test_a_process_that_is_killed_while_it_writes_does_not_stop_the_others(
    store: Store, label: int, mongo_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_connection, "ABANDONED_S", 0.5)
    command = [sys.executable, "-c", KILLED, mongo_database_url, str(label)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"inside\n"
        writer.kill()
    # The server itself would give the transaction up after 60 s; a write takes half of that at most.
    given = insert(store, label, draft())
    assert read(store, query(label)) == given


def test_a_writer_whose_transaction_was_ended_by_another_starts_again(
    store: Store, label: int, store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_connection, "ABANDONED_S", 0.5)
    other = store_factory()
    store.before_commit = pause = Pause()
    slow = Background(lambda: insert(store, label, draft()))
    assert pause.reached.wait(30)
    given = insert(other, label, draft())
    pause.released.set()
    later = slow.result()
    assert read(other, query(label)) == (*given, *later)


FORK = """
import os, sys
from taxii_server.storage.ledger import Entry
from taxii_server.storage.mongo import MongoStore
from tests.storage.samples import draft, insert, new_labels, query, read
store = MongoStore(sys.argv[1])
store.prepare()
(label,) = new_labels(store)
insert(store, label, draft())
children = []
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        try:
            insert(store, label, draft())
            assert len(read(store, query(label))) >= 2
            store.close()
            os._exit(0)
        except BaseException:
            import traceback; traceback.print_exc()
            os._exit(1)
    children.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
assert len(read(store, query(label))) == 4
store.close()
"""


def test_a_store_that_was_used_before_a_fork_works_in_every_child(mongo_database_url: str) -> None:
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", FORK, mongo_database_url]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PROCESS_S, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_nothing_is_connected_before_the_first_use() -> None:
    before = set(threading.enumerate())  # one of an earlier test may end meanwhile
    store = MongoStore("mongodb://127.0.0.1:1/")
    assert set(threading.enumerate()) <= before
    store.close()


# ---- health


def test_the_primary_tells_how_the_replica_set_is(store: Store) -> None:
    found = store.health.vitals(5.0).replica_set
    assert found is not None
    assert found.members["PRIMARY"] == 1
    assert found.oplog_s is not None


def test_a_secondary_is_as_far_behind_as_its_last_operation() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    members = [
        {"name": "a", "stateStr": "PRIMARY", "optimeDate": at},
        {"name": "b", "stateStr": "SECONDARY", "optimeDate": at - timedelta(seconds=7)},
        {"name": "c", "stateStr": "SECONDARY", "optimeDate": at + timedelta(seconds=1)},
        {"name": "d", "stateStr": "(not reachable/healthy)"},
    ]
    found = replica_set_of(members, None)
    assert found.lag_s == {"b": 7.0, "c": 0.0}
    assert found.members == {"PRIMARY": 1, "SECONDARY": 2, "(not reachable/healthy)": 1}
    assert replica_set_of(members[1:], None).lag_s == {}, "nobody is behind a primary that is not there"


def test_a_schema_of_another_release_is_not_well(
    store: Store, mongo_database_url: str, mongo_client: MongoClient[dict[str, Any]]
) -> None:
    meta = mongo_client[mongo_database_url.rpartition("/")[2].partition("?")[0]]["meta"]
    meta.update_one({"_id": "schema"}, {"$inc": {"version": 1}})
    with pytest.raises(SchemaTooNew):
        store.health.check(5.0)
    meta.update_one({"_id": "schema"}, {"$inc": {"version": -2}})
    with pytest.raises(StorageError, match="older than this release"):
        store.health.check(5.0)


def test_without_a_primary_it_is_not_well() -> None:
    store = MongoStore(NOBODY_LISTENS, timeout_s=1)
    with pytest.raises(StorageUnavailable):
        store.health.check(1.0)
    store.close()

"""What a request costs, counted and not timed: the guard against a server that gets slower little by little.

Counted are the commands that go to the store, the keys, documents and steps that it examines for them, the calls of
functions that a page makes for each of its objects, and the most memory that it holds for each of their bytes. The
bounds are what the code does today, with hardly any room: who makes one larger should know why, and say so here. How
long it takes measures `make bench`.
"""

from __future__ import annotations

import gc
import threading
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask.testing import FlaskClient
from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from taxii_server.app import create_app
from taxii_server.storage import sqlite_connection
from taxii_server.storage.base import Store
from taxii_server.storage.mongo import MongoStore
from taxii_server.storage.sqlite import SQLiteStore
from tests.mongo import with_database
from tests.web.counting import calls
from tests.world import MT, RW, World, stop_threads

OBJECTS = f"/api1/collections/{RW}/objects/"
COUNT = 1000
#: After the newest record.
NOTHING_NEW = "?added_after=2100-01-01T00:00:00Z"


class Commands(CommandListener):
    """The commands and statements of all threads but those that follow the store and keep it in order."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.is_on = False

    def add(self, name: str) -> None:
        if threading.current_thread().name not in ("arrivals", "refresher", "upkeep"):
            self.names.append(name)

    def started(self, event: Any) -> None:
        self.add(event.command_name)

    def succeeded(self, event: Any) -> None:
        """Not counted."""

    def failed(self, event: Any) -> None:
        """Not counted."""

    def of(self, work: Callable[[], object]) -> list[str]:
        """What goes to the store during this."""
        self.names.clear()
        self.is_on = True
        work()
        self.is_on = False
        return list(self.names)


class Cost:
    """A hub with 1,000 objects whose commands are counted."""

    def __init__(self, world: World, store: Store, commands: Commands) -> None:
        self.commands = commands
        self.store = store
        self._reader = {"Accept": MT, "Authorization": world.basic("partner_b")}
        self._writer = {"Accept": MT, "Content-Type": MT, "Authorization": world.basic("rw")}
        self.app = create_app(world.settings, store)
        # They begin when it suits them, which may be in the middle of a count.
        for name in ("arrivals", "upkeep"):
            self.app.extensions[f"taxii_server.{name}"].stop()
        self.client: FlaskClient = self.app.test_client()

    def get(self, path: str) -> bytes:
        answer = self.client.get(path, headers=self._reader)
        assert answer.status_code == 200, answer.text
        return answer.data

    def post(self, *objects: dict[str, Any]) -> None:
        answer = self.client.post(OBJECTS, headers=self._writer, json={"objects": list(objects)})
        assert answer.json is not None
        assert answer.json["failure_count"] == 0, answer.text

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this lasts, whoever follows the store waits: it uses the same connections, and memory."""
        with self.app.extensions["taxii_server.refresher"]._lock:
            yield

    def close(self) -> None:
        stop_threads(self.app)
        self.store.close()


def indicator(name: object = "") -> dict[str, Any]:
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--{uuid.uuid4()}",
        "created": "2020-01-01T00:00:00.000Z",
        "modified": "2020-01-01T00:00:00.000Z",
        "description": "x" * 500,
        "pattern": f"[domain-name:value = 'a{name}.example']",
        "pattern_type": "stix",
        "valid_from": "2020-01-01T00:00:00Z",
    }


def relationship(source: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "relationship",
        "spec_version": "2.1",
        "id": f"relationship--{uuid.uuid4()}",
        "created": "2020-01-01T00:00:00.000Z",
        "modified": "2020-01-01T00:00:00.000Z",
        "relationship_type": "related-to",
        "source_ref": source["id"],
        "target_ref": target["id"],
    }


@pytest.fixture(scope="module", params=["mongodb", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def url(kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if kind == "sqlite":
        yield str(tmp_path_factory.mktemp("cost") / "hub.db")
        return
    name = f"taxii_cost_{uuid.uuid4().hex[:16]}"
    client = request.getfixturevalue("mongo_client")
    yield with_database(request.getfixturevalue("mongo_uri"), name)
    client.drop_database(name)


@pytest.fixture(scope="module")
def cost(url: str, kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cost]:
    commands = Commands()
    world = World(tmp_path_factory.mktemp("world"), url)
    with pytest.MonkeyPatch.context() as patch:
        if kind == "sqlite":
            patch.setattr(sqlite_connection, "Connection", _traced(commands))
            store: Store = SQLiteStore(url)
        else:
            store = MongoStore(url, event_listeners=[commands])
        made = Cost(world, store, commands)
        objects = [indicator(n) for n in range(COUNT - 100)]
        objects += [relationship(objects[n], objects[n + 1]) for n in range(800, 900 - 1)] + [indicator("last")]
        for start in range(0, COUNT, 500):
            made.post(*objects[start : start + 500])
        made.get(OBJECTS)
        yield made
        made.close()
    world.close()


def _traced(commands: Commands) -> type[sqlite_connection.Connection]:
    class Traced(sqlite_connection.Connection):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.db.set_trace_callback(lambda sql: commands.is_on and commands.add(sql.split()[0]))

    return Traced


CALLS_OF_AN_OBJECT = {"mongodb": 25, "sqlite": 18}
CALLS_OF_A_POLL = {"mongodb": 2100, "sqlite": 1550}
#: The most memory of a page of 1,000 for each byte of it.
MEMORY = {"mongodb": 4.2, "sqlite": 3.6}
STEPS, STEPS_OF_NOTHING = 23, 45

LEDGER = {"mongodb": ["insert"], "sqlite": ["PRAGMA", "BEGIN", "INSERT", "COMMIT", "PRAGMA"]}
PAGE = {"mongodb": ["find"], "sqlite": ["BEGIN", "SELECT", "SELECT", "COMMIT"]}
LOOKUP = {"mongodb": ["find"], "sqlite": ["SELECT"]}


def _words(names: list[str]) -> list[str]:
    """Without the pragmas that say how long to wait, and repeats of one insertion."""
    kept = [name for name in names if name != "PRAGMA"]
    return [name for number, name in enumerate(kept) if number == 0 or name != "INSERT" or kept[number - 1] != name]


def test_a_poll_that_finds_nothing_is_one_command(cost, kind):
    cost.get(OBJECTS + NOTHING_NEW)
    assert cost.commands.of(lambda: cost.get(OBJECTS + NOTHING_NEW)) == PAGE[kind]


def test_a_page_is_one_command_and_an_entry_of_the_ledger(cost, kind):
    for limit in (1, 100, 1000):
        names = cost.commands.of(lambda limit=limit: cost.get(f"{OBJECTS}?limit={limit}"))
        assert _words(names) == PAGE[kind] + _words(LEDGER[kind]), limit


def test_references_that_a_page_does_not_answer_are_one_command_more(cost, kind):
    names = cost.commands.of(lambda: cost.get(f"{OBJECTS}?match[type]=relationship"))
    assert _words(names) == PAGE[kind] + LOOKUP[kind] + _words(LEDGER[kind])


def test_a_look_up_of_an_object_is_one_command_and_an_entry_of_the_ledger(cost, kind):
    one = indicator()
    cost.post(one)
    names = cost.commands.of(lambda: cost.get(f"{OBJECTS}{one['id']}/"))
    assert _words(names) == PAGE[kind] + _words(LEDGER[kind])


POST = {
    # clock, ids, records, clock, status, commit
    "mongodb": ["findAndModify", "find", "insert", "update", "insert", "commitTransaction"],
    # log, ids, clock, clock, records, old statuses, status
    "sqlite": ["BEGIN", "SELECT", "SELECT", "SELECT", "UPDATE", "INSERT", "DELETE", "INSERT", "COMMIT"],
}


@pytest.mark.parametrize("count", [1, 200])
def test_a_post_is_six_commands_however_many_objects_it_has(count, cost, kind):
    cost.post(indicator())
    names = cost.commands.of(lambda: cost.post(*(indicator(n) for n in range(count))))
    assert sorted(_words(names)) == sorted(POST[kind])


def test_calls_for_each_object_of_a_page(cost, kind):
    """Of functions, Python's and C's: a page of 300 and one of 800 differ by what 500 objects cost."""
    few, many = (calls(lambda limit=limit: cost.get(f"{OBJECTS}?limit={limit}")) for limit in (300, 800))
    assert (many - few) / 500 <= CALLS_OF_AN_OBJECT[kind]


def test_calls_of_a_poll_that_finds_nothing(cost, kind):
    assert calls(lambda: cost.get(OBJECTS + NOTHING_NEW)) <= CALLS_OF_A_POLL[kind]


def test_memory_of_a_page_for_each_of_its_bytes(cost, kind):
    """Each text is held once as it was read, once in the answer, and the driver's reply is one copy more."""
    size = len(cost.get(OBJECTS))
    gc.collect()
    with cost.alone():
        tracemalloc.start()
        try:
            cost.get(OBJECTS)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak / size <= MEMORY[kind]


# ---- what the databases look at


@contextmanager
def _profiled(client: MongoClient[dict[str, Any]], name: str) -> Iterator[dict[str, int]]:
    database = client[name]
    database.command("profile", 2)
    found: dict[str, int] = {}
    try:
        yield found
    finally:
        database.command("profile", 0)
        rows = list(database["system.profile"].find({"ns": f"{name}.records"}))
        found["keys"] = sum(row.get("keysExamined", 0) for row in rows)
        found["documents"] = sum(row.get("docsExamined", 0) for row in rows)
        database["system.profile"].drop()


def test_the_database_examines_what_it_gives_and_no_more(cost, kind, url, request):
    if kind == "sqlite":
        few, many = (_steps(cost, f"?limit={limit}") for limit in (400, 900))
        assert (many - few) / 500 <= STEPS
        assert _steps(cost, NOTHING_NEW) <= STEPS_OF_NOTHING
        return
    name = url.rpartition("/")[2].partition("?")[0]
    labels = len([entry for entry in cost.store.log_after(0) if entry.kind == "label"])
    for query, given in ((NOTHING_NEW, 0), ("?limit=99", 100), ("?limit=799", 800)):
        with _profiled(request.getfixturevalue("mongo_client"), name) as found:
            cost.get(OBJECTS + query)
        # One document is the marker; each range of the index begins with one key, and ends with one at most.
        assert found["documents"] == given + 1, query
        assert found["keys"] <= given + 1 + 2 * labels, query


def _steps(cost: Cost, query: str) -> int:
    """Steps of SQLite's virtual machine."""
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    cost.get(OBJECTS + query)
    connections = cost.store._database._idle
    with cost.alone():
        for connection in connections:
            connection.db.set_progress_handler(step, 1)
        cost.get(OBJECTS + query)
        for connection in connections:
            connection.db.set_progress_handler(None, 1)
    return steps

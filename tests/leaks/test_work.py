"""Work counted, not timed: what a request costs must not tell how much lies hidden.

Counted on MongoDB: commands per request, and keys and documents that the server examined for them. Where the cost
does depend on hidden records, a test says so and says how far it goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from taxii_server.service.arrivals import Arrivals
from taxii_server.storage.mongo import MongoStore
from tests.leaks import scene
from tests.leaks.hub import LeakHub, Texts
from tests.leaks.scene import CLEAR, POOL, RED, id_of, indicator, note

OBJECTS = f"/api1/collections/{POOL}/objects/"
HIDDEN = 400
AFTER = "2026-01-01T00:00:00.000500Z"


class Counter(CommandListener):
    """Names of the commands that this process sends while `names` is a list."""

    def __init__(self) -> None:
        self.names: list[str] | None = None

    def started(self, event: Any) -> None:
        if self.names is not None:
            self.names.append(event.command_name)

    def succeeded(self, event: Any) -> None:
        """Not counted."""

    def failed(self, event: Any) -> None:
        """Not counted."""


class CountedHub(LeakHub):
    """A hub on MongoDB that counts."""

    def __init__(self, folder: Any, url: str, texts: Texts = scene.TEXTS) -> None:
        self.counter = Counter()
        super().__init__(folder, texts, url)

    def _open(self, url: str, *, is_mongo: bool) -> MongoStore:
        store = MongoStore(url, now=self.clock, event_listeners=[self.counter])
        store.secret = lambda: bytes(32)  # type: ignore[method-assign]
        return store

    @contextmanager
    def profiled(self, client: MongoClient[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Commands of this process and what the server examined for them, filled in at the end."""
        name = self.settings.store.rsplit("/", 1)[1].split("?")[0]
        database = client[name]
        database.command("profile", 0)
        database["system.profile"].drop()
        database.command("profile", 2)
        counts: dict[str, Any] = {}
        self.counter.names = []
        try:
            yield counts
        finally:
            counts["commands"] = [each for each in self.counter.names if each in ("find", "aggregate", "getMore")]
            self.counter.names = None
            database.command("profile", 0)
            rows = list(database["system.profile"].find({"ns": f"{name}.records"}))
            counts["keys"] = sum(row.get("keysExamined", 0) for row in rows)
            counts["documents"] = sum(row.get("docsExamined", 0) for row in rows)


@pytest.fixture
def hubs(tmp_path, mongo_database_urls):
    """The same hub with hundreds of hidden objects, and without them."""
    made = [CountedHub(tmp_path / str(number), url) for number, url in enumerate(mongo_database_urls)]
    for number, hub in enumerate(made):
        _post(hub, "alice", *(indicator(n, CLEAR) for n in range(20)))
        if number == 0:
            _post(hub, "alice", *(indicator(f"hidden {n}", RED) for n in range(HIDDEN)))
        _post(hub, "eve", *(indicator(n, CLEAR) for n in range(20, 40)))
    yield made
    for hub in made:
        hub.close()


def _post(hub, partner, *objects):
    answer = hub.post(list(objects), partner, POOL)
    assert answer.json["failure_count"] == 0, answer.text


def _cost(hub, client, path, method="GET"):
    hub.request(method, path, "bob")  # caches and plans
    with hub.profiled(client) as counts:
        hub.request(method, path, "bob")
    return counts


READS = {
    "a page": "?limit=10",
    "a long page": "?limit=100",
    "all versions": "?limit=10&match[version]=all",
    "first versions": "?limit=10&match[version]=first",
    "a type": "?limit=10&match[type]=indicator",
    "a STIX version": "?limit=10&match[spec_version]=2.1",
    "a version": "?limit=10&match[version]=2020-01-01T00:00:00.000Z",
    "readable ids": f"?match[id]={id_of('indicator', 1)},{id_of('indicator', 30)}",
    "nothing new": "?added_after=2030-01-01T00:00:00Z",
}


def test_reads_cost_the_same_whatever_is_hidden(hubs, mongo_client):
    for name, query in READS.items():
        full, bare = (_cost(hub, mongo_client, OBJECTS + query) for hub in hubs)
        assert full == bare, name
        assert len(full["commands"]) <= 3, (name, full)
        assert full["documents"] <= 102, (name, full)


def test_an_object_is_looked_up_at_the_same_cost_whatever_else_is_hidden(hubs, mongo_client):
    for end in (f"{id_of('indicator', 1)}/", f"{id_of('indicator', 1)}/versions/", f"{id_of('indicator', 'none')}/"):
        full, bare = (_cost(hub, mongo_client, OBJECTS + end) for hub in hubs)
        assert full == bare, end


def test_known_a_hidden_id_costs_index_keys_but_no_command_and_no_document(hubs, mongo_client):
    """The index of ids is read before labels are tested: as many keys as the id has hidden versions."""
    hidden = OBJECTS + f"{id_of('indicator', 'hidden 1')}/"
    full, bare = (_cost(hub, mongo_client, hidden) for hub in hubs)
    assert full["commands"] == bare["commands"]
    assert full["documents"] == bare["documents"]
    assert 0 < full["keys"] - bare["keys"] <= 4


def test_known_a_readable_id_that_others_hold_in_secret_costs_one_more_look_up(hubs, mongo_client):
    """TWIN is part of a label: whether a copy is the one that stands takes a look at all copies of the ids."""
    for hub in hubs:
        _post(hub, "eve", indicator("crowded", CLEAR))
    _post(hubs[0], "alice", *(indicator("crowded", RED, version=version) for version in range(1, 6)))
    path = OBJECTS + f"?match[id]={id_of('indicator', 'crowded')}"
    full, bare = (_cost(hub, mongo_client, path) for hub in hubs)
    assert len(full["commands"]) - len(bare["commands"]) == 1
    assert full["documents"] - bare["documents"] <= 6


def test_known_objects_that_speak_about_hidden_ones_are_stepped_over(hubs, mongo_client):
    """Their labels are readable, their references are not: they are read and left out, in strides that double."""
    _post(hubs[0], "alice", *(note(n, [id_of("indicator", "hidden 1")], CLEAR) for n in range(200)))
    for hub in hubs:
        _post(hub, "eve", indicator("last", CLEAR))
    path = OBJECTS + "?limit=1&match[type]=note,indicator&added_after=" + AFTER
    full, bare = (_cost(hub, mongo_client, path) for hub in hubs)
    assert len(full["commands"]) - len(bare["commands"]) <= 20
    assert full["documents"] - bare["documents"] <= 3 * 200


def test_known_beyond_199_labels_hidden_keys_are_walked_over(tmp_path, mongo_database_urls, mongo_client):
    """MongoDB merges 199 ranges; with more labels the collection is walked and hidden keys are tested."""
    names = [f"word {n}" for n in range(210)]
    rule = f'\n[[forbid]]\nid = "named"\nto = {{ audience = "sam" }}\nwhat = {{ label = {names!r} }}\n'
    texts = Texts(scene.POLICY + rule.replace("'", '"'), scene.PARTNERS, scene.COLLECTIONS)
    made = [CountedHub(tmp_path / str(number), url, texts) for number, url in enumerate(mongo_database_urls)]
    for number, hub in enumerate(made):
        if number == 0:
            _post(hub, "alice", *(indicator(f"hidden {n}", RED) for n in range(HIDDEN)))
        _post(hub, "alice", *(indicator(name, CLEAR, labels=[name]) for name in names))
    full, bare = (_cost(hub, mongo_client, OBJECTS + "?limit=5") for hub in made)
    assert full["commands"] == bare["commands"]
    assert full["documents"] == bare["documents"]
    assert full["keys"] - bare["keys"] >= HIDDEN
    for hub in made:
        hub.close()


def test_posts_cost_the_same_commands_whether_or_not_they_meet_something_hidden(hubs):
    """A second lineage of an id gives new labels once; after that nothing differs."""
    found = []
    for hub in hubs:
        for number in (2, 3):
            hub.counter.names = []
            _post(hub, "bob", indicator(f"hidden {number}"), indicator(f"own {number}"))
            names, hub.counter.names = hub.counter.names, None
        found.append([name for name in names if name in ("find", "insert", "commitTransaction", "aggregate")])
    assert found[0] == found[1]


def test_a_post_costs_the_same_commands_whatever_refers_to_a_hidden_object_of_the_same_id(hubs, mongo_client):
    """What comes into sight by such a post is found afterwards (service/arrivals.py)."""
    looks = [Arrivals(hub.app.extensions["taxii_server"]) for hub in hubs]
    for hub, each in zip(hubs, looks, strict=True):
        assert each.tick()
        for number in (2, 3):  # labels of a second lineage
            _post(hub, "bob", indicator(f"hidden {number}"))
    _post(hubs[0], "alice", *(note(number, [id_of("indicator", "hidden 5")], CLEAR) for number in range(3)))
    found = []
    for hub in hubs:
        hub.counter.names = []
        _post(hub, "bob", indicator("hidden 5"))
        names, hub.counter.names = hub.counter.names, None
        found.append([name for name in names if name in ("find", "insert", "commitTransaction", "aggregate")])
    assert found[0] == found[1]
    # When it was found, the reads of who posted it cost what they did.
    reads = [OBJECTS + query for query in ("?limit=100", f"?added_after={AFTER}", "?added_after=2030-01-01T00:00:00Z")]
    before = [_cost(hubs[0], mongo_client, path) for path in reads]
    assert [each.tick() for each in looks] == [True, True]
    assert [len(hub.app.extensions["taxii_server"].book.events) for hub in hubs] == [1, 0]
    assert [_cost(hubs[0], mongo_client, path) for path in reads] == before

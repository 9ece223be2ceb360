"""What a request costs in commands to MongoDB, and that a page is bytes from the store, not JSON read and written.

An `insert` after the finds of a page is the entry of the ledger.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import orjson
import pytest
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from taxii_server.errors import NotFound
from taxii_server.model import Actor
from taxii_server.service.query import Filters
from taxii_server.storage.mongo import MongoStore
from tests.patching import but_for
from tests.service.site import ALL_V, IDS, Site, marked, report, versions
from tests.world import indicator, malware, new_id, relationship


class Counter(CommandListener):
    """The names of the commands since the last look."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing."""

    def since(self) -> list[str]:
        names, self.names = self.names, []
        return names


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def counted(mongo_database_url: str, counter: Counter) -> Iterator[Site]:
    """A site whose labels and connections are warm: alice's box is not empty, and carol has polled."""
    made = Site(mongo_database_url, store=MongoStore(mongo_database_url, event_listeners=[counter]))
    made.store("alice", "alice-box", malware(**marked("green")), indicator(**marked("green")))
    made.store("bob", "bob-box", malware(**marked("green")))
    made.ids("carol")
    counter.since()
    yield made
    made.close()


def test_a_poll_without_references_is_one_command(counted: Site, counter: Counter) -> None:
    counted.page("alice", "alice-box", limit=2)
    assert counter.since() == ["find", "insert"]


def test_a_poll_of_a_view_over_many_sources_is_one_command(counted: Site, counter: Counter) -> None:
    found = counted.page("carol", limit=50)
    assert len(found.records) == 3
    assert counter.since() == ["find", "insert"]


@pytest.mark.parametrize("resource", ["objects", "manifest"])
def test_an_idle_poll_is_one_command(counted: Site, counter: Counter, resource: str) -> None:
    last = counted.page("carol", limit=50).records[-1].position
    counter.since()
    assert counted.page("carol", resource=resource, added_after=last).records == ()
    assert counter.since() == ["find"]


def test_a_single_object_is_one_command_and_a_missing_one_two(counted: Site, counter: Counter) -> None:
    (first, *_) = counted.page("carol").records
    counter.since()
    counted.page("carol", resource="object", object_id=first.id)
    assert counter.since() == ["find", "insert"]
    with pytest.raises(NotFound):
        counted.page("carol", resource="object", object_id=new_id("malware"))
    assert counter.since() == ["find", "find"]


def test_recording_a_refusal_costs_the_same_for_what_is_hidden_and_what_is_unknown(
    counted: Site, counter: Counter
) -> None:
    hidden = malware(**marked("red"))
    counted.store("bob", "bob-box", hidden)
    visit = counted.hub.visit(Actor("carol", "c", "test"))
    for object_id in (new_id("malware"), hidden["id"]):
        counter.since()
        visit.refused(404, "api1", IDS["all"], object_id)
        assert counter.since() == ["insert"]


def test_a_page_of_relationships_is_two_commands(counted: Site, counter: Counter) -> None:
    ends = [malware(**marked("green")) for _ in range(40)]
    links = [relationship(ends[number]["id"], ends[-1 - number]["id"], **marked("green")) for number in range(40)]
    counted.store("alice", "alice-box", *ends, *links)
    last = counted.page("carol", limit=43).records[-1].position
    counter.since()
    assert len(counted.page("carol", limit=40, added_after=last).records) == 40
    assert counter.since() == ["find", "find", "insert"]
    counted.page("carol", limit=40, filters=Filters(types=("relationship",)))
    assert counter.since() == ["find", "find", "insert"]


def test_references_to_what_stands_on_the_same_page_cost_nothing(counted: Site, counter: Counter) -> None:
    end = malware(**marked("green"))
    counted.store("alice", "alice-box", end, relationship(end["id"], end["id"], **marked("green")))
    counted.ids("carol")
    counter.since()
    assert len(counted.page("carol", limit=50).records) == 5
    assert counter.since() == ["find", "insert"]


def test_copies_by_several_submitters_cost_one_look_up(counted: Site, counter: Counter) -> None:
    id_ = new_id("malware")
    counted.store("alice", "alice-box", malware(id_, **marked("green")))
    counted.store("bob", "bob-box", malware(id_, **marked("green")))
    counted.ids("carol")
    counter.since()
    assert len(counted.page("carol", limit=50).records) == 4
    assert counter.since() == ["find", "find", "insert"]


def test_each_step_of_references_costs_one_look_up(counted: Site, counter: Counter) -> None:
    end = malware(**marked("green"))
    link = relationship(end["id"], end["id"], **marked("green"))
    counted.store("alice", "alice-box", end, link, report([link["id"]], new_id("report"), **marked("green")))
    counted.ids("carol")
    counter.since()
    assert len(counted.page("carol", filters=Filters(types=("report",))).records) == 1
    assert counter.since() == ["find", "find", "find", "insert"]


def test_a_long_stretch_of_hidden_objects_is_crossed_in_long_strides(counted: Site, counter: Counter) -> None:
    hidden = malware(**marked("red"))
    links = [relationship(hidden["id"], hidden["id"], **marked("green")) for _ in range(900)]
    counted.store("alice", "alice-box", hidden, *links, last := malware(**marked("green")))
    counted.ids("carol")
    counter.since()
    found = counted.page("carol", limit=1, filters=Filters(types=("relationship", "malware")))
    token = found.next
    assert token is not None
    while token is not None:
        found = counted.page("carol", limit=1, next=token)
        token = found.next
    assert found.records[-1].id == last["id"]
    assert len(counter.since()) < 60


def test_posting_a_hundred_objects_of_known_labels_is_five_commands(counted: Site, counter: Counter) -> None:
    counted.post("alice", "alice-box", *(malware(**marked("green")) for _ in range(100)))
    names = counter.since()
    # the clock, what is there, the new ones, the position, the commit
    assert names == ["findAndModify", "find", "insert", "update", "commitTransaction"]
    place = counted.hub.snapshot.catalog.collections["alice-box"]
    body = json.dumps({"objects": [malware(**marked("green")) for _ in range(100)]}).encode()
    counted.hub.visit(Actor("alice", "c", "test")).add(place, body)
    assert len(counter.since()) == len(names) + 2  # and the status


def test_a_new_label_costs_a_post_a_second_look(counted: Site, counter: Counter) -> None:
    counted.post("alice", "alice-box", malware(**marked("amber")))
    assert len(counter.since()) <= 18


def test_posting_what_is_already_there_writes_nothing(counted: Site, counter: Counter) -> None:
    objects = [malware(**marked("green")) for _ in range(100)]
    counted.store("alice", "alice-box", *objects)
    counter.since()
    counted.post("alice", "alice-box", *objects)
    assert counter.since() == ["findAndModify", "find", "commitTransaction"]


def test_a_page_hands_on_the_posted_bytes_and_reads_no_json(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = f'{{ "id":"{new_id("x-odd")}",' + (
        '"type":"x-odd","spec_version":"2.1","created":"2018-01-01T00:00:00.000Z",  '
        '"modified":"2020-01-01T00:00:00.10Z","b":1.50,"a":1e2,"u":"\\u00e9\\/","big":12345678901234567890 }'
    )
    place = site.hub.snapshot.catalog.collections["alice-box"]
    (added,) = site.hub.writer.add("alice", place, f'{{"objects":[{odd}]}}'.encode())
    assert added.ok, added
    site.ids("carol")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a page reads no JSON")

    for reader in (json, orjson):
        refusing = but_for(reader, loads=refuse, dumps=refuse)
        users = [each for name, each in sys.modules.items() if name.startswith("taxii_server.")]
        for user in users:
            if vars(user).get(reader.__name__) is reader:
                monkeypatch.setattr(user, reader.__name__, refusing)
    found = site.page("carol", filters=versions(ALL_V))
    assert [record.content for record in found.records] == [odd.encode()]
    assert [record.content for record in site.page("carol", content=False, resource="manifest").records] == [b""]

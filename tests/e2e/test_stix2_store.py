"""stix2's TAXIICollectionStore against the real server."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import stix2
from stix2.datastore import DataSourceError
from stix2.datastore.taxii import TAXIICollectionSource
from taxii2client import v21

from tests.e2e.server import Server
from tests.world import FT6, WO, A, indicator

RED = "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"


@pytest.fixture
def collection(server: Server, lane_id: str) -> Iterator[v21.Collection]:
    url = f"{server.url}/api2/collections/{lane_id}/"
    with v21.Collection(url, user="rw", password=server.token("rw")) as made:
        yield made


@pytest.fixture
def store(collection: v21.Collection) -> stix2.TAXIICollectionStore:
    return stix2.TAXIICollectionStore(collection, allow_custom=True)


def threat(**more: object) -> stix2.v21.Indicator:
    return stix2.v21.Indicator(pattern="[ipv4-addr:value = '198.51.100.1']", pattern_type="stix", **more)


def test_add_and_get(store: stix2.TAXIICollectionStore) -> None:
    made = threat(name="one")
    store.add(made)
    assert store.get(made.id) == made


def test_every_way_to_add(store: stix2.TAXIICollectionStore) -> None:
    objects = [threat(name=f"number {number}") for number in range(4)]
    store.add(stix2.v21.Bundle(objects[0]))
    store.add(objects[1].serialize())
    store.add([objects[2], dict(stix2.parse(objects[3].serialize()))])
    assert {each.id for each in store.query([stix2.Filter("type", "=", "indicator")])} == {each.id for each in objects}


def test_adding_does_not_wait_for_a_status(store: stix2.TAXIICollectionStore) -> None:
    """The client asks each second until a status is complete: ours is at once."""
    began = time.monotonic()
    store.add([threat() for _ in range(5)])
    assert time.monotonic() - began < 3


def test_an_unknown_object_is_none(store: stix2.TAXIICollectionStore) -> None:
    assert store.get("indicator--11111111-1111-4111-8111-111111111111") is None


def test_a_hidden_object_is_none_and_not_in_a_query(
    store: stix2.TAXIICollectionStore, server: Server, lane_id: str
) -> None:
    hidden, shown = indicator(object_marking_refs=[RED]), indicator()
    server.post(lane_id, [hidden, shown], "admin")
    assert store.get(hidden["id"]) is None
    assert [each["id"] for each in store.query()] == [shown["id"]]
    assert store.all_versions(hidden["id"]) == []


def test_all_versions_and_the_newest(store: stix2.TAXIICollectionStore, server: Server, lane_id: str) -> None:
    server.post(lane_id, FT6)
    assert [each["name"] for each in store.all_versions(A)] == ["A1", "A2", "A3", "A4", "A5"]
    assert store.get(A)["name"] == "A5"


def test_a_new_version_of_the_library_is_a_new_version_here(store: stix2.TAXIICollectionStore) -> None:
    first = threat(name="before")
    store.add(first)
    store.add(first.new_version(name="after"))
    assert store.get(first.id)["name"] == "after"
    assert len(store.all_versions(first.id)) == 2


def test_a_revoked_version_is_what_is_served(store: stix2.TAXIICollectionStore) -> None:
    made = threat()
    store.add(made)
    store.add(made.revoke())
    assert store.get(made.id)["revoked"] is True


def test_queries_that_go_to_the_server_and_those_that_do_not(store: stix2.TAXIICollectionStore) -> None:
    objects = [threat(name=f"n{number}", confidence=number * 10) for number in range(6)]
    store.add(stix2.v21.Bundle(objects))
    assert [each.name for each in store.query([stix2.Filter("id", "=", objects[3].id)])] == ["n3"]
    assert len(store.query([stix2.Filter("confidence", ">", 25)])) == 3
    assert store.query([stix2.Filter("type", "=", "malware")]) == []


def test_pages_of_the_source_are_walked_to_the_end(collection: v21.Collection, server: Server, lane_id: str) -> None:
    server.post(lane_id, [indicator() for _ in range(57)])
    assert len(TAXIICollectionSource(collection, items_per_page=10).query()) == 57


def test_observables_have_one_version_that_the_library_can_read(store: stix2.TAXIICollectionStore) -> None:
    made = stix2.v21.IPv4Address(value="198.51.100.3")
    store.add(made)
    assert store.get(made.id) == made
    assert len(store.all_versions(made.id)) == 1


def test_stix_20_objects(server: Server, store: stix2.TAXIICollectionStore) -> None:
    made = stix2.v20.Indicator(pattern="[ipv4-addr:value = '198.51.100.7']", labels=["malicious-activity"])
    store.add(made)
    assert store.get(made.id, version="2.0") == made


def test_a_collection_without_read_is_refused_by_the_library(server: Server) -> None:
    url = f"{server.url}/api1/collections/{WO}/"
    with v21.Collection(url, user="rw", password=server.token("rw")) as made, pytest.raises(DataSourceError):
        TAXIICollectionSource(made)

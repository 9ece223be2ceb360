"""Manifests (TAXII 2.1, 5.3)."""

from __future__ import annotations

import pytest

from taxii_server.times import now_position, parse_position
from tests.web.data import MIX
from tests.web.rooms import LIBRARY, Room
from tests.world import EMPTY, FT6, MT, UNKNOWN, A, B, World, indicator


# MAN-01, MAN-05, MAN-06, MAN-08, TYPE-03
def test_a_record_names_id_date_version_and_media_type(room: Room) -> None:
    room.store(*FT6)
    first, second = room.manifest()
    assert first == {
        "id": A,
        "date_added": first["date_added"],
        "version": "2018-08-08T01:55:01.567Z",
        "media_type": "application/stix+json;version=2.1",
    }
    assert second["id"] == B


# MAN-02, MAN-03
@pytest.mark.parametrize(
    "query",
    [
        "",
        "?match[version]=all",
        "?match[version]=first",
        "?match[type]=indicator",
        "?match[type]=identity,malware,ipv4-addr",
        f"?match[id]={A},{B}",
        "?match[spec_version]=2.0",
        "?match[spec_version]=2.0,2.1&match[version]=all",
        "?match[version]=2018-08-08T01:52:01.234Z",
        "?limit=3",
        "?added_after=2999-01-01T00:00:00Z",
    ],
)
def test_the_filters_mean_what_they_mean_for_objects(hub: World, query: str) -> None:
    records = hub.get(f"/api1/collections/{LIBRARY}/manifest/{query}", "ro").json
    objects = hub.get(f"/api1/collections/{LIBRARY}/objects/{query}", "ro").json
    assert [each["id"] for each in records.get("objects", [])] == [each["id"] for each in objects.get("objects", [])]
    for record, found in zip(records.get("objects", []), objects.get("objects", []), strict=True):
        assert record["version"] == found.get("modified", found.get("created", record["date_added"]))
    assert records.get("more") == objects.get("more")


# MAN-02
def test_added_after_is_the_same_for_both(room: Room) -> None:
    room.store(*FT6)
    dates = [each["date_added"] for each in room.manifest("?match[version]=all")]
    query = f"?match[version]=all&added_after={dates[3]}"
    assert [each["date_added"] for each in room.manifest(query)] == dates[4:]
    assert room.names(query) == ["A5", "B"]


# MAN-04
def test_every_version_has_a_record(room: Room) -> None:
    room.store(*FT6)
    records = room.manifest(f"?match[id]={A}&match[version]=all")
    assert [each["version"] for each in records] == [each["modified"] for each in FT6[:5]]


# MAN-07, ADD-22
def test_date_added_is_when_the_version_arrived(room: Room) -> None:
    before = now_position()
    room.store(indicator(modified="2015-01-01T00:00:00Z", created="2015-01-01T00:00:00Z"))
    (record,) = room.manifest()
    assert before <= parse_position(record["date_added"]) <= now_position() + 1_000_000


# MAN-11
def test_no_records_give_an_empty_object(hub: World) -> None:
    assert hub.get(f"/api1/collections/{EMPTY}/manifest/").data == b"{}"


# MAN-12, MAN-13, NXT-10
def test_more_records_are_announced_with_a_next(room: Room) -> None:
    room.store(*FT6)
    page = room.page("manifest/?limit=1")
    assert page["more"] is True
    assert [each["id"] for each in page["objects"]] == [A]
    rest = room.page(f"manifest/?limit=1&next={page['next']}")
    assert [each["id"] for each in rest["objects"]] == [B]
    assert "more" not in rest


# MAN-14
def test_records_ascend_by_date_added(room: Room) -> None:
    room.store(*MIX)
    room.store(*FT6)
    dates = [each["date_added"] for each in room.manifest("?match[version]=all&match[spec_version]=2.0,2.1")]
    assert dates == sorted(set(dates))


# MAN-16
@pytest.mark.parametrize(
    ("query", "id_", "partner", "accept", "status"),
    [
        ("?limit=x", EMPTY, "rw", MT, 400),
        ("", EMPTY, None, MT, 401),
        ("", UNKNOWN, "rw", MT, 404),
        ("", EMPTY, "rw", "application/stix+json", 406),
    ],
)
def test_a_manifest_fails_as_the_table_says(
    hub: World, query: str, id_: str, partner: str | None, accept: str, status: int
) -> None:
    answer = hub.get(f"/api1/collections/{id_}/manifest/{query}", partner, headers={"Accept": accept})
    assert answer.status_code == status

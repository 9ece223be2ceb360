"""Object versions (TAXII 2.1, 5.8)."""

from __future__ import annotations

import pytest

from tests.web.data import TWIN, observable, old_form, statement
from tests.web.rooms import Room
from tests.world import EMPTY, FT6, MT, UNKNOWN, A, B, World, indicator

TIMES = [each["modified"] for each in FT6[:5]]


# VERS-01, VERS-02
def test_all_versions_of_an_object_are_listed(room: Room) -> None:
    room.store(*FT6)
    assert room.page(f"objects/{A}/versions/") == {"versions": TIMES}
    assert room.versions(B) == [FT6[5]["modified"]]


# VERS-03, VER-02
def test_without_modified_the_version_is_created(room: Room) -> None:
    room.store(statement(), indicator(object_marking_refs=[statement()["id"]]))
    assert room.versions(statement()["id"]) == [statement()["created"]]


# VERS-04, VER-03
def test_an_observable_has_the_version_of_its_manifest_record(room: Room) -> None:
    room.store(observable())
    (record,) = room.manifest()
    assert room.versions(observable()["id"]) == [record["version"]] == [record["date_added"]]


# VER-05
def test_an_observable_with_other_content_is_a_new_version(room: Room) -> None:
    room.store(observable())
    mark = room.manifest()[0]["date_added"]
    changed = observable(x_acme_seen=2)
    room.store(changed)
    assert room.objects(f"?added_after={mark}") == [changed] == room.objects()
    assert room.objects("?match[version]=all") == [observable(), changed]
    assert room.versions(observable()["id"]) == [each["date_added"] for each in room.manifest("?match[version]=all")]


# VERS-05
def test_nothing_to_list_gives_an_empty_object(room: Room) -> None:
    room.store(*FT6)
    assert room.get(f"objects/{A}/versions/?added_after=2999-01-01T00:00:00Z").data == b"{}"


# VERS-06
@pytest.mark.parametrize("id_", [A.replace("1", "2"), "x", A.removeprefix("indicator--")])
def test_an_unknown_object_is_not_found(room: Room, id_: str) -> None:
    room.store(*FT6)
    assert room.get(f"objects/{id_}/versions/").status_code == 404


# VERS-07, VERS-08, LIM-09, PAG-01, NXT-10
def test_versions_come_in_pages_with_next(room: Room) -> None:
    room.store(*FT6)
    page = room.page(f"objects/{A}/versions/?limit=2")
    assert (page["versions"], page["more"]) == (TIMES[:2], True)
    assert room.walk(f"objects/{A}/versions", "", 2) == TIMES


# VERS-07, MSV-04
def test_match_spec_version_is_taken_and_match_version_ignored(room: Room) -> None:
    room.store(old_form(), indicator(TWIN, "2021-01-01T00:00:00Z"))
    assert room.versions(TWIN, "?match[spec_version]=2.0") == [old_form()["modified"]]
    assert room.versions(TWIN, "?match[spec_version]=2.1") == ["2021-01-01T00:00:00Z"]
    assert room.versions(TWIN) == ["2021-01-01T00:00:00Z"]
    room.store(*FT6)
    for query in ("?match[version]=first", "?match[version]=all,last", "?match[id]=x"):
        assert room.versions(A, query) == TIMES


# VERS-09
def test_versions_ascend_by_date_added_and_not_by_version(room: Room) -> None:
    for each in (FT6[3], FT6[0], FT6[4]):
        room.store(each)
    assert room.versions(A) == [TIMES[3], TIMES[0], TIMES[4]]


# VERS-10 is in test_collection.py; VERS-11
@pytest.mark.parametrize(
    ("query", "id_", "partner", "accept", "status"),
    [
        ("?limit=0", EMPTY, "rw", MT, 400),
        ("", EMPTY, None, MT, 401),
        ("", UNKNOWN, "rw", MT, 404),
        ("", EMPTY, "rw", MT, 404),
        ("", EMPTY, "rw", "text/html", 406),
    ],
)
def test_versions_fail_as_the_table_says(
    hub: World, query: str, id_: str, partner: str | None, accept: str, status: int
) -> None:
    answer = hub.get(f"/api1/collections/{id_}/objects/{A}/versions/{query}", partner, headers={"Accept": accept})
    assert answer.status_code == status

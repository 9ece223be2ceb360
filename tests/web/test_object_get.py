"""Get an object (TAXII 2.1, 5.6)."""

from __future__ import annotations

import pytest

from tests.web.data import TWIN, observable, old_form
from tests.web.rooms import Room
from tests.world import EMPTY, FT6, HIDDEN, MT, UNKNOWN, A, B, World, indicator


# OBJ1-01, OBJ1-05
def test_an_object_comes_in_an_envelope(room: Room) -> None:
    room.store(*FT6)
    assert room.page(f"objects/{A}/") == {"objects": [FT6[4]]}
    assert room.page(f"objects/{B}/") == {"objects": [FT6[5]]}


# OBJ1-02, EP-19
@pytest.mark.parametrize("id_", [A.removeprefix("indicator--"), A.upper(), "indicator", f"{A},{B}", "*"])
def test_only_the_whole_id_finds_the_object(room: Room, id_: str) -> None:
    room.store(*FT6)
    assert room.get(f"objects/{id_}/").status_code == 404


# OBJ1-03, OBJ1-04
@pytest.mark.parametrize(
    "query",
    [
        "",
        "&match[version]=all",
        "&match[version]=first",
        "&match[version]=first,last&limit=1",
        "&match[spec_version]=2.1",
    ],
)
def test_it_is_get_objects_with_one_id(room: Room, query: str) -> None:
    room.store(*FT6)
    by_match = room.page(f"objects/?match[id]={A}{query}")
    by_path = room.page(f"objects/{A}/?{query}")
    assert by_path.get("objects") == by_match.get("objects")
    assert by_path.get("more") == by_match.get("more")


# OBJ1-04, AFT-01
def test_added_after_holds_for_versions_of_the_object(room: Room) -> None:
    room.store(*FT6)
    dates = [each["date_added"] for each in room.manifest(f"?match[id]={A}&match[version]=all")]
    page = room.page(f"objects/{A}/?match[version]=all&added_after={dates[2]}")
    assert [each["name"] for each in page["objects"]] == ["A4", "A5"]


# OBJ1-06, OBJ1-09
def test_an_unknown_object_is_not_found_whatever_the_filters(room: Room) -> None:
    for query in ("", "?match[version]=all", "?added_after=2999-01-01T00:00:00Z", "?match[spec_version]=2.0"):
        assert room.get(f"objects/{indicator()['id']}/{query}").status_code == 404


# OBJ1-07
@pytest.mark.parametrize("query", ["?added_after=2999-01-01T00:00:00Z", "?match[spec_version]=2.0"])
def test_filters_that_leave_nothing_of_an_object_give_an_empty_envelope(room: Room, query: str) -> None:
    room.store(*FT6)
    assert room.get(f"objects/{A}/{query}").data == b"{}"


# OBJ1-08, MVR-15
def test_a_version_that_is_not_there_is_not_found(room: Room) -> None:
    room.store(*FT6)
    assert room.get(f"objects/{A}/?match[version]=1999-01-01T00:00:00Z").status_code == 404
    assert room.get(f"objects/{A}/?match[version]=1999-01-01T00:00:00Z,first").json["objects"] == [FT6[0]]


# OBJ1-11, PAG-03, NXT-01
def test_versions_come_in_pages(room: Room) -> None:
    room.store(*FT6)
    found = room.walk(f"objects/{A}", "match[version]=all", 2)
    assert [each["name"] for each in found] == ["A1", "A2", "A3", "A4", "A5"]


# OBJ1-12
@pytest.mark.parametrize("query", ["?match[type]=malware", f"?match[id]={B}", "?match[type]=a&match[type]=b"])
def test_id_and_type_are_ignored_here(room: Room, query: str) -> None:
    room.store(*FT6)
    assert room.page(f"objects/{A}/{query}")["objects"] == [FT6[4]]


# MVR-12
def test_an_observable_is_its_first_last_only_and_dated_version(room: Room) -> None:
    room.store(observable())
    (version,) = room.versions(observable()["id"])
    for choice in ("first", "last", "all", version, f"first,last,{version}"):
        page = room.page(f"objects/{observable()['id']}/?match[version]={choice}")
        assert page["objects"] == [observable()]


# MSV-02, MSV-04
def test_of_two_forms_the_newer_is_given(room: Room) -> None:
    room.store(old_form(modified="2022-01-01T00:00:00Z"), indicator(TWIN))
    assert room.page(f"objects/{TWIN}/")["objects"] == [indicator(TWIN)]
    assert len(room.page(f"objects/{TWIN}/?match[spec_version]=2.0,2.1")["objects"]) == 2


# OBJ1-10, OBJ1-13
@pytest.mark.parametrize(
    ("query", "id_", "partner", "accept", "status"),
    [
        ("?match[version]=newest", EMPTY, "rw", MT, 400),
        ("", EMPTY, None, MT, 401),
        ("", UNKNOWN, "rw", MT, 404),
        ("", HIDDEN, "rw", MT, 404),
        ("", EMPTY, "rw", MT, 404),
        ("", EMPTY, "rw", "text/html", 406),
    ],
)
def test_get_an_object_fails_as_the_table_says(
    hub: World, query: str, id_: str, partner: str | None, accept: str, status: int
) -> None:
    answer = hub.get(f"/api1/collections/{id_}/objects/{A}/{query}", partner, headers={"Accept": accept})
    assert answer.status_code == status

"""Get objects (TAXII 2.1, 5.4 and 3.7). Envelopes, and that they are no bundles, are checked in shapes.py."""

from __future__ import annotations

import pytest

from tests.web.data import MALWARE, MIX, REVOKED
from tests.web.rooms import Room
from tests.world import EMPTY, FT6, HIDDEN, MT, UNKNOWN, A, World, indicator


# OBJG-01, OBJG-02, OBJG-15, OBJG-16, CUS-08, TYPE-09, ADD-27
def test_objects_come_back_as_they_were_posted(room: Room) -> None:
    room.store(*MIX)
    found = room.objects("?match[version]=all&match[spec_version]=2.0,2.1")
    assert found == MIX


# OBJG-15: numbers, escapes and the order of keys are the poster's
def test_the_text_of_an_object_is_kept(room: Room) -> None:
    text = (
        b'{"type": "x-acme-thing", "id": "x-acme-thing--d9a5bd0c-6e3e-4a1f-8c2a-1f0c6b2d9e11", "spec_version": "2.1",'
        b' "modified": "2020-01-01T00:00:00Z", "created": "2020-01-01T00:00:00Z", "big": 12345678901234567890123,'
        b' "one": 1.0, "exp": 1E+2, "tiny": 1e-7, "esc": "\\u00e9\\/\\ud83d\\udc80", "z": 1, "a": {"z": -0, "a": 0.10}}'
    )
    assert room.post(b'{"objects": [' + text + b"]}")["success_count"] == 1
    assert text in room.get().data


# OBJG-03, AMB-28
def test_no_match_gives_an_empty_envelope(hub: World) -> None:
    for query in ("", "?match[type]=malware", f"?match[id]={A}"):
        answer = hub.get(f"/api1/collections/{EMPTY}/objects/{query}")
        assert (answer.status_code, answer.data) == (200, b"{}")


# OBJG-04, OBJG-07, OBJG-09
def test_without_added_after_the_oldest_come_first(room: Room) -> None:
    room.store(indicator(name="first"))
    room.store(indicator(name="second", modified="2019-01-01T00:00:00Z"))
    page = room.page("objects/?limit=1")
    assert [each["name"] for each in page["objects"]] == ["first"]
    assert page["more"] is True


# OBJG-05
def test_only_the_latest_version_is_given_by_default(room: Room) -> None:
    room.store(*FT6)
    assert room.names() == ["A5", "B"]


# OBJG-06
def test_objects_are_in_the_order_of_the_manifest(room: Room) -> None:
    room.store(*FT6)
    room.store(*MIX)
    query = "?match[version]=all&match[spec_version]=2.0,2.1"
    assert [each["id"] for each in room.objects(query)] == [each["id"] for each in room.manifest(query)]


# OBJG-10, PAG-12
def test_the_last_page_has_no_next(room: Room) -> None:
    room.store(*FT6)
    assert set(room.page("objects/?limit=2")) == {"objects"}
    assert set(room.page("objects/?limit=1")) == {"objects", "more", "next"}


# OBJG-13, OBJG-14, OBJG-12
@pytest.mark.parametrize(
    ("query", "id_", "partner", "accept", "status"),
    [
        ("?match[version]=newest", EMPTY, "rw", MT, 400),
        ("", EMPTY, None, MT, 401),
        ("", UNKNOWN, "rw", MT, 404),
        ("", HIDDEN, "rw", MT, 404),
        ("", EMPTY, "rw", "application/vnd.oasis.stix+json", 406),
    ],
)
def test_get_objects_fails_as_the_table_says(
    hub: World, query: str, id_: str, partner: str | None, accept: str, status: int
) -> None:
    answer = hub.get(f"/api1/collections/{id_}/objects/{query}", partner, headers={"Accept": accept})
    assert answer.status_code == status


# OBJG-17
def test_a_walk_meets_each_version_once(room: Room) -> None:
    room.store(*FT6)
    room.store(*MIX)
    query = "match[version]=all&match[spec_version]=2.0,2.1"
    found = [(each["id"], each.get("modified"), each.get("spec_version")) for each in room.walk("objects", query, 2)]
    assert len(found) == len(set(found)) == len(FT6) + len(MIX)


# VER-08
def test_a_revoked_version_is_served_like_any_other(room: Room) -> None:
    room.store(*MIX)
    (found,) = room.objects(f"?match[id]={REVOKED}")
    assert found["revoked"] is True
    assert [each["id"] for each in room.objects("?match[type]=malware")] == [MALWARE]

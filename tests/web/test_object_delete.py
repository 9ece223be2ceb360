"""Delete an object (TAXII 2.1, 5.7)."""

from __future__ import annotations

import pytest

from tests.web.data import TWIN, observable, old_form
from tests.web.rooms import MakeHub, Room
from tests.world import ALIAS, EMPTY, FT6, HIDDEN, LAST, MT, NN, RO, RW, UNKNOWN, WO, A, World, collection, indicator


# DEL-01, DEL-02, DEL-07, DEL-08, DEL-11
def test_a_deleted_object_is_gone_from_every_resource(room: Room) -> None:
    room.store(*FT6)
    answer = room.delete(A)
    assert (answer.status_code, answer.data, answer.content_type) == (200, b"", MT)
    for tail in (f"objects/{A}/", f"objects/{A}/?match[version]=all", f"objects/{A}/versions/"):
        assert room.get(tail).status_code == 404
    assert room.names("?match[version]=all") == ["B"]
    assert [each["id"] for each in room.manifest("?match[version]=all")] == [FT6[5]["id"]]


# DEL-09, DEL-07
@pytest.mark.parametrize(
    ("choice", "left"),
    [
        ("first", ["A2", "A3", "A4", "A5"]),
        ("last", ["A1", "A2", "A3", "A4"]),
        ("first,last", ["A2", "A3", "A4"]),
        ("2018-08-08T01:52:01.234000Z", ["A1", "A3", "A4", "A5"]),
        ("2018-08-08T01:52:01.234Z,last", ["A1", "A3", "A4"]),
        ("all", []),
    ],
)
def test_match_version_limits_the_deletion(room: Room, choice: str, left: list[str]) -> None:
    room.store(*FT6)
    assert room.delete(A, f"?match[version]={choice}").status_code == 200
    assert room.names(f"?match[id]={A}&match[version]=all") == left
    if left:
        assert len(room.versions(A)) == len(left)
        assert room.names(f"?match[id]={A}") == left[-1:]
        assert room.names(f"?match[id]={A}&match[version]=first") == left[:1]
        assert room.get(f"objects/{A}/?match[version]=1999-01-01T00:00:00Z").status_code == 404


# DEL-07, OBJ1-08
def test_a_deleted_version_is_not_found_while_the_object_is(room: Room) -> None:
    room.store(*FT6)
    version = "?match[version]=2018-08-08T01:52:01.234Z"
    assert room.delete(A, version).status_code == 200
    assert room.get(f"objects/{A}/{version}").status_code == 404
    assert room.get(f"objects/{A}/").status_code == 200
    assert room.delete(A, version).status_code == 404


# DEL-10, MSV-04
def test_match_spec_version_limits_the_deletion(room: Room) -> None:
    room.store(old_form(), indicator(TWIN))
    assert room.delete(TWIN, "?match[spec_version]=2.0").status_code == 200
    assert room.objects("?match[spec_version]=2.0,2.1&match[version]=all") == [indicator(TWIN)]
    assert room.delete(TWIN, "?match[spec_version]=2.0").status_code == 404


# DEL-09, DEL-10, MSV-02, AMB-07
@pytest.mark.parametrize(
    "query",
    [
        "?match[version]=last",
        "?match[version]=first",
        "?match[version]=first,last",
        "?match[version]=last&match[spec_version]=2.0",
        "?match[version]=first&match[spec_version]=2.0,2.1",
        "?match[version]=last&match[spec_version]=2.0,2.1",
    ],
)
def test_the_last_version_is_the_one_that_a_read_shows_also_beside_another_stix_version(room: Room, query: str) -> None:
    stored = [old_form(modified=f"2020-01-0{day}T00:00:00.000Z") for day in (1, 4)]
    stored += [indicator(TWIN, f"2020-01-0{day}T00:00:00.000Z") for day in (2, 3)]
    room.store(*stored)
    shown = room.get(f"objects/{TWIN}/{query}").json["objects"]
    assert room.delete(TWIN, query).status_code == 200
    left = room.objects("?match[spec_version]=2.0,2.1&match[version]=all")
    assert left == [each for each in stored if each not in shown]


# DEL-07, DEL-11
@pytest.mark.parametrize("query", ["", "?match[version]=all", "?match[version]=2020-01-01T00:00:00Z"])
def test_a_version_goes_in_every_stix_version(room: Room, query: str) -> None:
    room.store(old_form(), indicator(TWIN))
    assert room.delete(TWIN, query).status_code == 200
    assert room.get(f"objects/{TWIN}/").status_code == 404


# DEL-12
def test_what_is_not_there_cannot_be_deleted(room: Room) -> None:
    room.store(*FT6)
    assert room.delete(indicator()["id"]).status_code == 404
    assert room.delete(A, "?match[version]=1999-01-01T00:00:00Z").status_code == 404
    assert room.delete(A).status_code == 200
    assert room.delete(A).status_code == 404


# DEL-13
def test_other_collections_keep_their_copy(hub: World) -> None:
    sent = indicator()
    for into in (RW, ALIAS):
        hub.post([sent], into=into)
    assert hub.delete(f"/api1/collections/{RW}/objects/{sent['id']}/").status_code == 200
    assert hub.get(f"/api1/collections/{ALIAS}/objects/{sent['id']}/").status_code == 200


# DEL-15
@pytest.mark.parametrize(
    "query", ["?match[version]=all,last", "?match[version]=x", "?match[spec_version]=x", "?match[version]="]
)
def test_a_malformed_filter_deletes_nothing(room: Room, query: str) -> None:
    room.store(*FT6)
    assert room.delete(A, query).status_code == 400
    assert len(room.versions(A)) == 5


# DEL-15: what deletion does not define does not limit it and is no error
def test_paging_parameters_are_ignored(room: Room) -> None:
    room.store(*FT6)
    assert room.delete(A, "?limit=0&next=x&added_after=y").status_code == 200
    assert room.names("?match[version]=all") == ["B"]


# DEL-16
def test_what_was_deleted_may_be_posted_again_and_is_news(room: Room) -> None:
    sent = [indicator(name="again"), observable()]
    room.store(*sent)
    mark = room.get().headers[LAST]
    for each in sent:
        assert room.delete(each["id"]).status_code == 200
    assert "message" not in room.post(sent)["successes"][0]
    assert room.objects(f"?added_after={mark}") == sent


# DEL-17, POL-05
def test_what_another_partner_posted_is_not_mine_to_delete(room: Room) -> None:
    theirs = indicator(name="theirs")
    room.store(theirs, partner="partner_b")
    assert room.delete(theirs["id"]).status_code == 403
    assert room.objects() == [theirs]


# DEL-17
def test_deleting_my_copy_leaves_anothers(room: Room) -> None:
    sent = indicator()
    room.store(sent)
    room.store(sent, partner="partner_b")
    assert room.delete(sent["id"]).status_code == 200
    assert room.objects() == [sent]
    assert room.delete(sent["id"]).status_code == 403


# DEL-09, DEL-17: "last" is what a read shows as last, not the last of one's own
def test_a_version_that_another_partner_posted_is_not_deleted_nor_taken_for_an_older_one(room: Room) -> None:
    room.store(FT6[0])
    room.store(FT6[1], partner="partner_b")
    for choice in ("last", FT6[1]["modified"]):
        assert room.delete(A, f"?match[version]={choice}").status_code == 403
    assert room.delete(A, "?match[version]=1999-01-01T00:00:00Z").status_code == 404
    assert room.names("?match[version]=all") == ["A1", "A2"]
    assert room.delete(A, "?match[version]=first,last").status_code == 200
    assert room.names("?match[version]=all") == ["A2"]


# DEL-17
def test_the_owner_of_a_collection_may_delete_there_what_others_posted(make_hub: MakeHub) -> None:
    lists = {"readers": ["rw", "partner_b"], "writers": ["rw", "partner_b"]}
    hub = make_hub(collections={"owned": collection(EMPTY, "Owned", owner="rw", **lists)})
    sent = indicator()
    hub.post([sent], "partner_b", EMPTY)
    assert hub.delete(f"/api1/collections/{EMPTY}/objects/{sent['id']}/").status_code == 200
    assert not hub.objects(of=EMPTY)


# DEL-03, DEL-04, DEL-05, DEL-06, DEL-15
@pytest.mark.parametrize(
    ("id_", "partner", "accept", "status"),
    [
        (RW, None, MT, 401),
        (NN, "nn", MT, 404),
        (RO, "ro", MT, 403),
        (WO, "wo", MT, 403),
        (UNKNOWN, "rw", MT, 404),
        (HIDDEN, "rw", MT, 404),
        (EMPTY, "rw", MT, 404),
        (RO, "ro", "text/html", 406),
    ],
)
def test_delete_fails_as_the_table_says(hub: World, id_: str, partner: str | None, accept: str, status: int) -> None:
    answer = hub.delete(f"/api1/collections/{id_}/objects/{A}/", partner, headers={"Accept": accept})
    assert answer.status_code == status


# DEL-06
def test_without_credentials_nothing_is_deleted(room: Room) -> None:
    room.store(*FT6)
    assert room.delete(A, partner=None).status_code == 401  # type: ignore[arg-type]
    assert room.names() == ["A5", "B"]


# PAG-06
def test_a_page_may_be_empty_when_its_objects_were_deleted_meanwhile(room: Room) -> None:
    room.store(*FT6)
    token = room.page("objects/?limit=1")["next"]
    assert room.delete(FT6[5]["id"]).status_code == 200
    assert room.get(f"objects/?limit=1&next={token}").data == b"{}"

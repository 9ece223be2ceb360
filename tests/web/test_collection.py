"""One collection (TAXII 2.1, 5.2)."""

from __future__ import annotations

import pytest

from taxii_server.errors import ConfigError
from tests.web.endpoints import endpoints, within_a_collection
from tests.web.rooms import LIBRARY, MakeHub
from tests.world import ALIAS, COLLECTIONS, HIDDEN, MT, NN, RO, RW, UNKNOWN, WO, World, collection, indicator

NAME = "critical-high-value-indicators"


# COL-01, COL-02, COL-03, COL-04, COL-05, COL-09, COL-10
def test_a_collection_says_what_it_is(hub: World) -> None:
    assert hub.get(f"/api1/collections/{RW}/").json == {
        "id": RW,
        "title": "Read write",
        "description": "both ways",
        "can_read": True,
        "can_write": True,
        "media_types": ["application/stix+json;version=2.1", "application/stix+json;version=2.0"],
    }
    assert hub.get(f"/api1/collections/{ALIAS}/").json["alias"] == NAME


# COL-09, MAN-10
def test_every_media_type_of_the_manifest_is_one_of_the_collection(hub: World) -> None:
    media_types = set(hub.get(f"/api1/collections/{LIBRARY}/", "ro").json["media_types"])
    records = hub.get(f"/api1/collections/{LIBRARY}/manifest/?match[spec_version]=2.0,2.1", "ro").json["objects"]
    assert {each["media_type"] for each in records} == media_types
    assert len(media_types) == 2


# COL-02
def test_no_id_is_used_twice(make_hub: MakeHub) -> None:
    twice = {
        "one": collection(RW, "One", readers=["rw"]),
        "two": collection(RW, "Two", readers=["rw"], root="api2"),
    }
    with pytest.raises(ConfigError, match="is taken by"):
        make_hub(collections=twice)


# COL-06
def test_an_alias_is_unique_under_its_root(make_hub: MakeHub) -> None:
    second = {"second": collection(UNKNOWN, "Second", readers=["rw"], alias=NAME)}
    with pytest.raises(ConfigError, match="alias"):
        make_hub(collections=COLLECTIONS | second)
    second = {"second": collection(UNKNOWN, "Second", readers=["rw"], alias=NAME, root="api2")}
    make_hub(collections=COLLECTIONS | second)


# COL-07
def test_the_alias_serves_in_place_of_the_id(hub: World) -> None:
    sent = indicator()
    assert hub.post([sent], into=NAME).status_code == 202
    by_id = within_a_collection(endpoints(ALIAS, sent["id"]))
    by_alias = within_a_collection(endpoints(NAME, sent["id"]))
    for one, other in zip(by_id, by_alias, strict=True):
        if one.method == "GET":
            first, second = hub.get(one.path), hub.get(other.path)
            assert (first.status_code, first.data, first.headers) == (200, second.data, second.headers)
    assert hub.delete(f"/api1/collections/{NAME}/objects/{sent['id']}/").status_code == 200
    assert hub.get(f"/api1/collections/{ALIAS}/objects/{sent['id']}/").status_code == 404


# COL-07, NXT-02: a `next` of the id works at the alias, for it is the same collection
def test_a_next_of_the_id_is_good_at_the_alias(hub: World) -> None:
    hub.post([indicator(), indicator()], into=ALIAS)
    token = hub.get(f"/api1/collections/{ALIAS}/objects/?limit=1").json["next"]
    assert hub.get(f"/api1/collections/{NAME}/objects/?next={token}").status_code == 200


# COL-08
@pytest.mark.parametrize("tail", ["", "objects/", "manifest/"])
def test_the_alias_of_a_hidden_collection_is_unknown(hub: World, tail: str) -> None:
    assert hub.get(f"/api1/collections/hidden-alias/{tail}", "partner_b").status_code == 200
    assert hub.get(f"/api1/collections/hidden-alias/{tail}").status_code == 404


# COL-08
def test_an_alias_is_known_under_its_root_only(hub: World) -> None:
    assert hub.get(f"/api2/collections/{NAME}/").status_code == 404


# COL-11, COL-12
@pytest.mark.parametrize(
    ("id_", "partner", "accept", "status"),
    [
        (RW, None, MT, 401),
        (UNKNOWN, "rw", MT, 404),
        (HIDDEN, "rw", MT, 404),
        (RW.upper(), "rw", MT, 404),
        (RW, "rw", "text/html", 406),
        (NN, "nn", MT, 200),
    ],
)
def test_a_collection_fails_as_the_table_says(
    hub: World, id_: str, partner: str | None, accept: str, status: int
) -> None:
    assert hub.get(f"/api1/collections/{id_}/", partner, headers={"Accept": accept}).status_code == status


# COL-12
def test_a_collection_without_any_right_may_be_visible(hub: World) -> None:
    body = hub.get(f"/api1/collections/{NN}/", "nn").json
    assert (body["can_read"], body["can_write"]) == (False, False)


# COL-13, MAN-15, OBJG-11, OBJ1-10, VERS-10
@pytest.mark.parametrize("tail", ["manifest/", "objects/", "objects/{}/", "objects/{}/versions/"])
def test_can_read_false_closes_what_is_inside(hub: World, tail: str) -> None:
    sent = indicator()
    hub.post([sent], "wo", WO)
    for id_ in (sent["id"], indicator()["id"]):
        answer = hub.get(f"/api1/collections/{WO}/{tail.format(id_)}", "wo")
        assert answer.status_code == 403
        assert answer.json["title"] == "Forbidden"


# COL-14, ADD-04
def test_can_write_false_closes_posting(hub: World) -> None:
    sent = indicator()
    for into, partner in ((RO, "ro"), (NN, "nn")):
        assert hub.post([sent], partner, into).status_code == 403
        assert (
            hub.get(f"/api1/collections/{into}/objects/{sent['id']}/", "admin" if into == NN else "rw").status_code
            == 404
        )

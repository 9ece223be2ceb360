"""API roots (TAXII 2.1, 4.2)."""

from __future__ import annotations

import json

import pytest

from tests.web.rooms import MakeHub
from tests.world import COLLECTIONS, MT, OTHER_ROOT, RW, World, indicator

LIMIT = 5000


def body_of(size: int) -> bytes:
    """An envelope with one object, of exactly this many bytes."""
    body = json.dumps({"objects": [indicator(x_padding="")]}).encode()
    return body.replace(b'"x_padding": ""', b'"x_padding": "' + b"x" * (size - len(body)) + b'"')


# ROOT-01, ROOT-02, ROOT-03, ROOT-04, ROOT-05
def test_an_api_root_says_its_versions_and_its_limit(hub: World) -> None:
    assert hub.get("/api1/").json == {
        "title": "First root",
        "description": "the one with everything",
        "versions": [MT],
        "max_content_length": 1_000_000,
    }


# ROOT-02
def test_an_empty_description_is_left_out(hub: World) -> None:
    assert set(hub.get("/api2/").json) == {"title", "versions", "max_content_length"}


# ROOT-06, ROOT-07, ADD-08, ADD-33
@pytest.mark.parametrize(("more", "status"), [(-1, 202), (0, 202), (1, 413), (10_000, 413)])
def test_the_limit_is_the_largest_body_that_is_taken(make_hub: MakeHub, more: int, status: int) -> None:
    hub = make_hub(max_content_length=LIMIT)
    body = body_of(LIMIT + more)
    assert len(body) == LIMIT + more
    answer = hub.post(body)
    assert answer.status_code == status
    assert len(hub.objects()) == (status == 202)
    if status == 413:
        assert str(LIMIT) in answer.json["description"]


# ROOT-10
def test_the_limit_is_that_of_the_root_addressed(make_hub: MakeHub) -> None:
    hub = make_hub(max_content_length=LIMIT)
    assert hub.get("/api2/").json["max_content_length"] > LIMIT
    assert hub.post(body_of(LIMIT + 1), into=OTHER_ROOT, root="api2").status_code == 202
    assert hub.post(body_of(LIMIT + 1)).status_code == 413


# ROOT-08
def test_each_root_has_its_own_url_and_collections(hub: World) -> None:
    roots = hub.get("/taxii2/").json["api_roots"]
    assert len(set(roots)) == len(roots) == 2
    ids = [{each["id"] for each in hub.get(f"{root}collections/").json["collections"]} for root in roots]
    assert not ids[0] & ids[1]
    assert hub.get(f"/api2/collections/{RW}/").status_code == 404
    assert hub.get(f"/api1/collections/{OTHER_ROOT}/").status_code == 404


# ROOT-09, EP-18
@pytest.mark.parametrize(("root", "partner"), [("nope", "rw"), ("api2", "partner_b"), ("api1", "stranger")])
@pytest.mark.parametrize("tail", ["", "collections/", f"collections/{RW}/", f"collections/{OTHER_ROOT}/objects/"])
def test_an_unknown_root_and_one_without_collections_are_not_found(
    hub: World, root: str, partner: str, tail: str
) -> None:
    assert hub.get(f"/{root}/{tail}", partner).status_code == 404


# ROOT-09
def test_a_root_without_collections_looks_like_an_unknown_one(make_hub: MakeHub) -> None:
    hub = make_hub(collections={"rw": COLLECTIONS["rw"]})
    there, nowhere = hub.get("/api2/"), hub.get("/api3/")
    assert {**there.json, "error_id": ""} == {**nowhere.json, "error_id": ""}

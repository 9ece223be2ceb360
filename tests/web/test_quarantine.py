"""The quarantine over HTTP: what the submitter is told, who may look and decide, and that it is closed to others."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.web.data import identity
from tests.web.rooms import InspectedWorld, MakeHub
from tests.world import OPEN_POLICY, RW, audiences, collection, malware, new_id, relationship

OWNED = "11111111-1111-4111-8111-111111111111"
SHARED = "22222222-2222-4222-8222-222222222222"
PARTNERS = ("owner", "poster", "reader", "stranger", "admin", "off")
POLICY = (
    OPEN_POLICY
    + """
[[forbid]]
id = "not-for-the-owner"
to = { audience = "owner" }
what = { label = "secret" }

[[guard]]
id = "no-customers"
why = "customer data never leaves"
what = { label = "customer" }
act = "quarantine"
"""
)
COLLECTIONS = {
    "owned": collection(
        OWNED, "Owned", owner="owner", readers=["owner", "reader"], writers=["poster", "owner"], alias="owned-alias"
    ),
    "shared": collection(SHARED, "Shared", readers=["reader"], writers=["poster", "off"]),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InspectedWorld]:
    """A hub with a collection of an owner and one that nobody owns; tests bring objects of their own."""
    body = 'kind = "cert"\nclearance = "red"\n'
    more = {"admin": "admin = true\n", "off": "admin = true\nsuspended = true\n"}
    made = InspectedWorld(
        tmp_path_factory.mktemp("quarantine"),
        policy=POLICY,
        partners=audiences({name: body + more.get(name, "") for name in PARTNERS}),
        collections=COLLECTIONS,
    )
    yield made
    made.close()


def customer(**more: Any) -> dict[str, Any]:
    return identity(new_id("identity"), labels=["customer"], **more)


def url(entry_id: str = "", tail: str = "", of: str = OWNED) -> str:
    return f"/api1/collections/{of}/quarantine/" + (f"{entry_id}/" if entry_id else "") + tail


def hold(world: InspectedWorld, *objects: dict[str, Any], of: str = OWNED, by: str = "poster") -> list[str]:
    """Post objects all of which are held; the ids of their entries."""
    status = world.post(list(objects), by, of).json
    assert status["failure_count"] == len(objects), status
    return [each["message"].rpartition("quarantine id ")[2].rstrip(")") for each in status["failures"]]


def listed(world: InspectedWorld, partner: str, query: str = "", of: str = OWNED) -> list[dict[str, Any]]:
    """Every entry, by way of `next`."""
    found: list[dict[str, Any]] = []
    path = url(of=of) + f"?limit=3{query}"
    while True:
        answer = world.get(path, partner)
        assert answer.status_code == 200, answer.text
        found += answer.json.get("quarantine", [])
        if "next" not in answer.json:
            return found
        path = url(of=of) + f"?limit=3{query}&next={answer.json['next']}"


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [each["id"] for each in found]


# ---- what the submitter is told


def test_the_status_says_which_rule_and_what_now(world: InspectedWorld) -> None:
    held, fine = customer(), malware()
    status = world.post([held, fine], "poster", OWNED).json
    assert (status["success_count"], status["failure_count"], status["pending_count"]) == (1, 1, 0)
    (failure,) = status["failures"]
    assert (failure["id"], failure["version"]) == (held["id"], held["modified"])
    assert failure["message"].startswith("held in quarantine by guard 'no-customers': customer data never leaves. ")
    assert world.get(f"/api1/status/{status['id']}/", "poster").json == status
    assert held["id"] not in world.get(f"/api1/collections/{OWNED}/objects/", "reader").text


def test_the_same_again_names_the_same_entry(world: InspectedWorld) -> None:
    held = customer()
    assert hold(world, held) == hold(world, held)
    assert [each["object_id"] for each in listed(world, "owner")].count(held["id"]) == 1


# ---- review by the owner


def test_the_owner_sees_entry_and_object(world: InspectedWorld) -> None:
    held = customer()
    (entry_id,) = hold(world, held)
    found = world.get(url(entry_id), "owner").json
    assert found == {
        "id": entry_id,
        "state": "held",
        "guard": "no-customers",
        "object_id": held["id"],
        "type": "identity",
        "spec_version": "2.1",
        "version": held["modified"],
        "submitter": "poster",
        "held": found["held"],
        "can_release": True,
        "object": held,
    }
    del found["object"]
    assert found in listed(world, "owner")
    assert world.get(f"/api1/collections/owned-alias/quarantine/{entry_id}/", "owner").status_code == 200


def test_the_list_goes_on_by_next_oldest_first(world: InspectedWorld) -> None:
    entry_ids = [entry_id for _ in range(4) for entry_id in hold(world, customer(), customer())]
    found = listed(world, "owner")
    assert [each["held"] for each in found] == sorted(each["held"] for each in found)
    assert len(ids(found)) == len(set(ids(found)))
    assert set(entry_ids) <= set(ids(found))


def test_a_release_shows_it_as_the_policy_says(world: InspectedWorld) -> None:
    held = customer()
    (entry_id,) = hold(world, held)
    done = world.request("POST", url(entry_id, "release/"), "owner")
    assert done.status_code == 200
    assert done.json | {"state": "released", "decided_by": "owner", "can_release": False} == done.json
    assert "object" not in done.json
    for partner in ("owner", "reader"):
        assert held in world.objects(partner, OWNED, f"?match[id]={held['id']}")
    assert world.get(url(entry_id), "owner").json == done.json
    assert world.request("POST", url(entry_id, "release/"), "owner").json == done.json
    assert entry_id not in ids(listed(world, "owner"))
    assert entry_id in ids(listed(world, "owner", "&state=released"))
    assert entry_id in ids(listed(world, "owner", "&state=all"))
    assert world.post([held], "poster", OWNED).json["success_count"] == 1
    refused = world.delete(url(entry_id), "owner")
    assert (refused.status_code, refused.json["error_code"]) == (409, "conflict")


def test_what_is_dropped_is_gone_for_good(world: InspectedWorld) -> None:
    held = customer(name="Harbour Water")
    (entry_id,) = hold(world, held)
    for _ in range(2):
        assert world.delete(url(entry_id), "owner").status_code == 200
    found = world.get(url(entry_id), "owner")
    assert found.json | {"state": "dropped", "decided_by": "owner", "can_release": False} == found.json
    assert "Harbour" not in found.text
    assert entry_id in ids(listed(world, "owner", "&state=dropped"))
    refused = world.request("POST", url(entry_id, "release/"), "owner")
    assert (refused.status_code, refused.json["error_code"]) == (409, "conflict")
    (failure,) = world.post([held], "poster", OWNED).json["failures"]
    assert "refused by guard 'no-customers'" in failure["message"]
    assert held["id"] not in world.get(f"/api1/collections/{OWNED}/objects/", "reader").text


def test_a_guard_opens_nothing_to_the_owner_either(world: InspectedWorld) -> None:
    (entry_id,) = hold(world, customer() | {"labels": ["customer", "secret"]})
    for partner, shown in (("owner", False), ("poster", True)):
        found = world.get(url(entry_id), partner).json
        assert ("object" in found) == shown
    assert world.request("POST", url(entry_id, "release/"), "owner").status_code == 200
    assert world.objects("owner", OWNED, f"?match[id]={world.get(url(entry_id), 'owner').json['object_id']}") == []


# ---- the submitter, and where nobody is the owner


@pytest.mark.parametrize("of", [OWNED, SHARED])
def test_the_submitter_sees_its_own_and_may_drop_but_not_release(world: InspectedWorld, of: str) -> None:
    (entry_id,) = hold(world, customer(), of=of)
    found = world.get(url(entry_id, of=of), "poster").json
    assert "object" in found
    assert found["can_release"] is False
    assert entry_id in ids(listed(world, "poster", of=of))
    assert world.request("POST", url(entry_id, "release/", of=of), "poster").status_code == 403
    assert world.delete(url(entry_id, of=of), "poster").status_code == 200
    assert world.get(url(entry_id, of=of), "poster").json["decided_by"] == "poster"


def test_the_submitter_does_not_see_what_others_posted_nor_who_decided(world: InspectedWorld) -> None:
    (others,) = hold(world, customer(), by="owner")
    (own,) = hold(world, customer())
    assert set(ids(listed(world, "owner"))) >= {others, own}
    assert {each["submitter"] for each in listed(world, "poster", "&state=all")} == {"poster"}
    for method, tail in (("GET", ""), ("DELETE", ""), ("POST", "release/")):
        assert world.request(method, url(others, tail), "poster").status_code == 404
    world.delete(url(own), "owner")
    assert "decided_by" not in world.get(url(own), "poster").json


def test_where_nobody_is_the_owner_an_administrator_may_release(world: InspectedWorld) -> None:
    (entry_id,) = hold(world, customer(), of=SHARED)
    assert entry_id in ids(listed(world, "admin", of=SHARED))
    assert world.request("POST", url(entry_id, "release/", SHARED), "admin").json["state"] == "released"


# ---- closed to everybody else


@pytest.mark.parametrize(
    ("partner", "of"),
    [
        ("reader", OWNED),
        ("stranger", OWNED),
        ("admin", OWNED),
        ("off", OWNED),
        ("reader", SHARED),
        ("stranger", SHARED),
        ("owner", SHARED),
        ("off", SHARED),
    ],
)
def test_for_everybody_else_there_is_none(world: InspectedWorld, partner: str, of: str) -> None:
    (entry_id,) = hold(world, customer(), of=of)
    unknown = str(uuid.uuid4())
    for method, path in (
        ("GET", url(of=of)),
        ("GET", url(of=unknown)),
        *(("GET", url(each, of=of)) for each in (entry_id, unknown)),
        *(("DELETE", url(each, of=of)) for each in (entry_id, unknown)),
        *(("POST", url(each, "release/", of)) for each in (entry_id, unknown)),
    ):
        answer = world.request(method, path, partner)
        assert answer.status_code == 404
        assert {**answer.json, "error_id": ""} == {**world.get("/nothing/", partner).json, "error_id": ""}
    assert world.get(url(entry_id, of=of), "poster").json["state"] == "held"


def test_an_entry_stands_in_its_collection_only(world: InspectedWorld) -> None:
    (entry_id,) = hold(world, customer(), of=SHARED)
    assert world.get(url(entry_id), "poster").status_code == 404
    assert world.delete(url(entry_id), "owner").status_code == 404
    assert world.get(f"/api2/collections/{SHARED}/quarantine/{entry_id}/", "poster").status_code == 404


def test_who_may_post_and_has_posted_nothing_gets_an_empty_list(make_hub: MakeHub) -> None:
    made = make_hub()
    assert made.get(url(of=RW), "rw").json == {}


def test_without_credentials_nothing(world: InspectedWorld) -> None:
    (entry_id,) = hold(world, customer())
    assert world.get(url(entry_id), None).status_code == 401


# ---- as everywhere


@pytest.mark.parametrize("query", ["state=wat", "state=held&state=held", "next=x", "next=1-2", "limit=0", "state="])
def test_a_malformed_parameter_is_told(world: InspectedWorld, query: str) -> None:
    answer = world.get(url() + "?" + query, "owner")
    assert (answer.status_code, answer.json["error_code"]) == (400, "bad-query")


def test_media_type_and_methods_are_those_of_taxii(world: InspectedWorld) -> None:
    (entry_id,) = hold(world, customer())
    assert world.get(url(), "owner", headers={"Accept": "text/html"}).status_code == 406
    assert world.request("PUT", url(entry_id), "owner").status_code == 405
    assert world.request("GET", url(entry_id, "release/"), "owner").status_code == 405
    assert world.get(url(entry_id)[:-1], "owner").status_code == 404


def test_what_refers_to_it_is_told_why(world: InspectedWorld) -> None:
    held = customer()
    hold(world, held)
    (failure,) = world.post([relationship(malware()["id"], held["id"])], "poster", OWNED).json["failures"]
    assert f"as it refers to {held['id']}, which that guard stopped" in failure["message"]

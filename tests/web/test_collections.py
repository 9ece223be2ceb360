"""The list of collections (TAXII 2.1, 5.1)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.web.rooms import LIBRARY, MakeHub
from tests.world import ALIAS, EMPTY, HIDDEN, MT, NN, RO, RW, WO, World, collection


def listed(hub: World, partner: str = "rw") -> list[dict[str, Any]]:
    answer = hub.get("/api1/collections/", partner)
    assert answer.status_code == 200
    return list(answer.json["collections"])


# COLS-01, COLS-05
def test_the_list_holds_what_the_client_may_know_of(hub: World) -> None:
    assert {each["id"] for each in listed(hub)} == {RW, RO, WO, NN, EMPTY, ALIAS}
    assert {each["id"] for each in listed(hub, "ro")} == {RO, LIBRARY}
    assert {each["id"] for each in listed(hub, "partner_b")} == {RW, HIDDEN}


# COLS-03, COLS-04
def test_the_list_is_in_the_order_of_the_ids_every_time(hub: World) -> None:
    ids = [each["id"] for each in listed(hub)]
    assert ids == sorted(ids)
    assert len({hub.get("/api1/collections/").data for _ in range(20)}) == 1


# COLS-06, COL-04
def test_the_flags_are_the_rights_of_the_client_that_asks(hub: World) -> None:
    def flags(partner: str) -> dict[str, tuple[bool, bool]]:
        return {each["title"]: (each["can_read"], each["can_write"]) for each in listed(hub, partner)}

    assert flags("rw") == {
        "Read write": (True, True),
        "Read only": (True, False),
        "Write only": (False, True),
        "Neither": (False, False),
        "Empty": (True, True),
        "With alias": (True, True),
    }
    assert flags("wo") == {"Read only": (False, False), "Write only": (False, True)}
    assert flags("admin")["Write only"] == (True, False)


# COLS-07, EP-17
def test_the_list_has_no_pages(make_hub: MakeHub) -> None:
    ids = sorted(str(uuid.uuid4()) for _ in range(500))
    hub = make_hub(
        collections={
            f"c-{place}": collection(id_, f"Collection {place}", readers=["rw"], writers=["rw"])
            for place, id_ in enumerate(ids)
        },
        settings="max_page = 10\ndefault_page = 10",
    )
    assert [each["id"] for each in listed(hub)] == ids
    assert len(hub.get("/api1/collections/?limit=1&next=x&match[id]=y").json["collections"]) == 500


# COLS-08, DISC-10
@pytest.mark.parametrize(
    ("path", "partner", "accept", "status"),
    [
        ("/api1/collections/", None, MT, 401),
        ("/api1/collections/", "stranger", MT, 404),
        ("/nope/collections/", "rw", MT, 404),
        ("/api1/collections/", "rw", "text/html", 406),
    ],
)
def test_the_list_fails_as_the_table_says(hub: World, path: str, partner: str | None, accept: str, status: int) -> None:
    assert hub.get(path, partner, headers={"Accept": accept}).status_code == status


# COLS-09
@pytest.mark.parametrize("partner", ["rw", "ro", "wo", "nn", "admin", "partner_b"])
def test_each_entry_equals_the_collection_by_itself(hub: World, partner: str) -> None:
    for entry in listed(hub, partner):
        assert hub.get(f"/api1/collections/{entry['id']}/", partner).json == entry


# COLS-10
def test_titles_are_unique_under_a_root(hub: World) -> None:
    titles = [each["title"] for each in listed(hub)]
    assert len(set(titles)) == len(titles)

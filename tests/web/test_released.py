"""A filed release over HTTP, from end to end: what TLP:RED and ORCON keep back is handed on, and taken back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from taxii_server.times import format_position, now_position
from taxii_server.tlp import TLP_2_IDS
from tests.web.rooms import InspectedWorld, MakeHub
from tests.world import FIRST, LAST, MT, OPEN_POLICY, RW, indicator

ORCON = "marking-definition--00000000-0000-4000-8000-00000000000c"
POLICY = f'{OPEN_POLICY}\n[markings]\n"{ORCON}" = {{ name = "ORCON", orcon = true }}\n'
MARKS = {"red": [TLP_2_IDS["red"]], "orcon": [TLP_2_IDS["green"], ORCON], "both": [TLP_2_IDS["red"], ORCON]}
URL = f"/api1/collections/{RW}"
HOUR_US = 3_600_000_000


@pytest.fixture
def world(make_hub: MakeHub) -> InspectedWorld:
    return make_hub(policy=POLICY)


@pytest.fixture(params=MARKS)
def secret(world: InspectedWorld, request: pytest.FixtureRequest) -> dict[str, Any]:
    """An object that rw posted, and nobody else reads; a readable one came after it."""
    value = indicator(name="secret", object_marking_refs=MARKS[request.param])
    assert world.post([value, indicator(name="plain")]).json["success_count"] == 2
    return value


def release(world: InspectedWorld, *objects: str, **more: Any) -> str:
    """Files it as rw, for partner_b; its URL."""
    body = {"objects": list(objects), "to": {"audience": ["partner_b"]}} | more
    answer = world.request("POST", "/api1/releases/", data=json.dumps(body).encode(), headers={"Content-Type": MT})
    assert answer.status_code == 201, answer.text
    return str(answer.headers["Location"])


def names(world: InspectedWorld, partner: str, query: str = "") -> list[str]:
    return [each["name"] for each in world.objects(partner, query=query)]


def test_a_released_object_reaches_whom_it_names_and_nobody_else(world: InspectedWorld, secret: dict[str, Any]) -> None:
    one = f"{URL}/objects/{secret['id']}/"
    assert names(world, "partner_b") == names(world, "admin") == ["plain"]
    assert names(world, "rw") == ["secret", "plain"]
    hidden = world.get(one, "partner_b")
    release(world, secret["id"])
    assert world.get(one, "partner_b").json == {"objects": [secret]}
    assert sorted(names(world, "partner_b")) == ["plain", "secret"]
    assert names(world, "admin") == ["plain"]
    assert (hidden.status_code, world.get(one, "admin").status_code) == (404, 404)


def test_whoever_polls_from_its_last_date_on_gets_what_was_released_since_and_gets_it_once(
    world: InspectedWorld, secret: dict[str, Any]
) -> None:
    last = world.get(f"{URL}/objects/", "partner_b").headers[LAST]
    assert names(world, "partner_b", f"?added_after={last}") == []
    release(world, secret["id"])
    answer = world.get(f"{URL}/objects/?added_after={last}", "partner_b")
    assert answer.json == {"objects": [secret]}
    # For partner_b it was added when it was released; for the others nothing has moved.
    assert answer.headers[FIRST] == answer.headers[LAST] > last
    manifest = world.get(f"{URL}/manifest/?added_after={last}", "partner_b").json["objects"]
    assert [(each["id"], each["date_added"]) for each in manifest] == [(secret["id"], answer.headers[LAST])]
    assert names(world, "partner_b", f"?added_after={answer.headers[LAST]}") == []
    assert names(world, "rw", f"?added_after={last}") == names(world, "admin", f"?added_after={last}") == []


def test_what_is_withdrawn_is_hidden_at_the_next_request(world: InspectedWorld, secret: dict[str, Any]) -> None:
    one = f"{URL}/objects/{secret['id']}/"
    never = world.get(one, "partner_b").json
    place = release(world, secret["id"])
    other = release(world, secret["id"], why="another case")
    assert world.get(one, "partner_b").status_code == 200
    assert world.delete(place).status_code == 200
    # Of two releases one is enough.
    assert world.get(one, "partner_b").status_code == 200
    assert world.delete(other).status_code == 200
    gone = world.get(one, "partner_b")
    assert (gone.status_code, gone.json | {"error_id": ""}) == (404, never | {"error_id": ""})
    assert names(world, "partner_b") == ["plain"]
    assert names(world, "rw") == ["secret", "plain"]


def test_a_release_begins_and_ends_by_itself(
    world: InspectedWorld, secret: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = now_position() + HOUR_US
    begins, ends = start - start % 1_000_000, start - start % 1_000_000 + HOUR_US
    release(world, secret["id"], not_before=format_position(begins), until=format_position(ends))
    last = world.get(f"{URL}/objects/", "partner_b").headers[LAST]
    stores = {world.store, world.app.extensions["taxii_server"].store}
    seen = []
    for moment in (begins - 1, begins, ends - 1, ends):
        for store in stores:
            monkeypatch.setattr(store, "_now", lambda moment=moment: moment)
        seen.append((names(world, "partner_b", f"?added_after={last}"), names(world, "admin")))
    assert seen == [([], ["plain"]), (["secret"], ["plain"]), (["secret"], ["plain"]), ([], ["plain"])]

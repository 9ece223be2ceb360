"""What other clients were seen to send, replayed request by request (their code or their bug reports tell)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.e2e.server import Server
from tests.ports import free_port
from tests.world import FIRST, LAST, MT, RW, indicator, malware, relationship

STIX = "application/stix+json; version=2.1"
GENERIC = "application/json, text/plain, */*"


def bundle(*objects: dict[str, Any]) -> dict[str, Any]:
    return {"type": "bundle", "id": "bundle--5d0092c5-5f74-4287-9642-33f4c354e56d", "objects": list(objects)}


def ids(answer: requests.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json().get("objects", [])]


@pytest.fixture
def filled(server: Server, lane_id: str) -> list[str]:
    """25 objects in the lane; their ids."""
    made = [indicator() for _ in range(25)]
    assert server.post(lane_id, made).status_code == 202
    return [each["id"] for each in made]


# ---- OpenCTI


def test_opencti_drops_added_after_on_the_next_pages(server: Server, lane_id: str, filled: list[str]) -> None:
    url = server.objects_url(lane_id)
    since = server.get(url, params={"limit": 5}).headers[LAST]
    first = server.get(url, params={"added_after": since, "limit": 8})
    second = server.get(url, params={"next": first.json()["next"], "limit": 8})
    third = server.get(url, params={"next": second.json()["next"], "limit": 8})
    assert [*ids(first), *ids(second), *ids(third)] == filled[5:]
    assert "next" not in third.json()


def test_opencti_keeps_an_old_next_and_sends_it_with_a_new_added_after(
    server: Server, lane_id: str, filled: list[str]
) -> None:
    """The `next` tells where to go on; the other parameter must not make it skip or repeat."""
    url = server.objects_url(lane_id)
    first = server.get(url, params={"limit": 10})
    again = server.get(url, params={"limit": 10, "next": first.json()["next"], "added_after": "2099-01-01T00:00:00Z"})
    assert ids(again) == filled[10:20]


def test_opencti_sends_a_next_of_one_collection_to_another(
    server: Server, lane_id: str, lane_numbers: Iterator[int], filled: list[str]
) -> None:
    token = server.get(server.objects_url(lane_id), params={"limit": 10}).json()["next"]
    other = server.get(f"/api1/collections/{RW}/objects/", params={"limit": 10, "next": token})
    assert other.status_code == 400
    assert other.headers["Content-Type"] == MT


def test_a_next_is_nobody_elses(server: Server, lane_id: str, filled: list[str]) -> None:
    token = server.get(server.objects_url(lane_id), params={"limit": 10}).json()["next"]
    assert server.get(server.objects_url(lane_id), "admin", params={"next": token}).status_code == 400


@pytest.mark.parametrize("content_type", [STIX, "application/stix+json;version=2.1", "application/stix+json", MT])
def test_opencti_posts_a_bundle_under_the_stix_type(server: Server, lane_id: str, content_type: str) -> None:
    made = indicator()
    answer = server.request(
        "POST", server.objects_url(lane_id), headers={"Content-Type": content_type}, data=json.dumps(bundle(made))
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["success_count"] == 1
    assert ids(server.get(server.objects_url(lane_id))) == [made["id"]]


def test_opencti_once_sent_the_accept_header_of_a_browser(server: Server, lane_id: str, filled: list[str]) -> None:
    assert ids(server.get(server.objects_url(lane_id), headers={"Accept": GENERIC})) == filled


def test_opencti_cuts_the_date_to_milliseconds_and_sees_some_objects_again(
    server: Server, lane_id: str, filled: list[str]
) -> None:
    """Cut down, never up: what comes after is a superset of what is new."""
    url = server.objects_url(lane_id)
    last = server.get(url).headers[LAST]
    late = indicator()
    server.post(lane_id, [late])
    assert late["id"] in ids(server.get(url, params={"added_after": last[:23] + "Z"}))


# ---- Elastic


def test_elastic_follows_next_and_limit_only_and_ignores_more(server: Server, lane_id: str, filled: list[str]) -> None:
    url = server.objects_url(lane_id)
    answer = server.get(url, params={"added_after": "2020-01-01T00:00:00Z", "limit": 10})
    got = ids(answer)
    while token := answer.json().get("next"):
        answer = server.get(url, params={"next": token, "limit": 10})
        assert ids(answer)
        got += ids(answer)
    assert got == filled


def test_elastic_keeps_the_date_of_the_last_page_as_its_cursor_when_idle_too(
    server: Server, lane_id: str, filled: list[str]
) -> None:
    url = server.objects_url(lane_id)
    cursor = server.get(url).headers[LAST]
    for _ in range(3):
        idle = server.get(url, params={"added_after": cursor, "limit": 10})
        assert idle.json() == {}
        assert idle.headers[FIRST] == idle.headers[LAST] == cursor
        cursor = idle.headers[LAST]
    late = indicator()
    server.post(lane_id, [late])
    assert ids(server.get(url, params={"added_after": cursor, "limit": 10})) == [late["id"]]


def test_elastic_starts_on_an_empty_collection(server: Server, lane_id: str) -> None:
    url = server.objects_url(lane_id)
    cursor = server.get(url, params={"added_after": "2026-01-01T00:00:00Z"}).headers[LAST]
    early = indicator()
    server.post(lane_id, [early])
    assert ids(server.get(url, params={"added_after": cursor})) == [early["id"]]


# ---- XSOAR


def test_xsoar_lists_types_and_stops_at_the_first_page_without_objects(server: Server, lane_id: str) -> None:
    one, two = indicator(), malware()
    others = [malware() for _ in range(40)]
    server.post(lane_id, [*others, one, two, relationship(one["id"], two["id"])])
    url = server.objects_url(lane_id)
    params: dict[str, Any] = {"match[type]": "indicator,attack-pattern,relationship", "limit": 1}
    got: list[str] = []
    while page := ids(answer := server.get(url, params=params)):
        got += [each.partition("--")[0] for each in page]
        if "next" not in answer.json():
            break
        params["next"] = answer.json()["next"]
    assert got == ["indicator", "relationship"]


def test_xsoar_falls_back_to_taxii_20_only_on_406(server: Server) -> None:
    answer = server.get("/taxii2/", headers={"Accept": "application/vnd.oasis.taxii+json;version=2.0"})
    assert answer.status_code == 406
    assert answer.headers["Content-Type"] == MT


# ---- MISP


def test_misp_spells_basic_in_lower_case(server: Server, lane_id: str, filled: list[str]) -> None:
    pair = base64.b64encode(f"rw:{server.token('rw')}".encode()).decode()
    assert ids(server.get(server.objects_url(lane_id), None, headers={"Authorization": f"basic {pair}"})) == filled


def test_misp_fills_a_body_to_exactly_max_content_length(server: Server) -> None:
    limit = server.get("/api1/").json()["max_content_length"]
    url = server.objects_url(RW, "api1")
    for size, status in ((limit, 202), (limit + 1, 413)):
        body = json.dumps({"objects": [indicator(), indicator(description="D")]}).encode()
        body = body.replace(b'"D"', b'"' + b"d" * (size - len(body) + 1) + b'"')
        assert len(body) == size
        answer = server.request("POST", url, headers={"Content-Type": MT}, data=body)
        assert answer.status_code == status, answer.text
        if status == 202:
            assert answer.json()["success_count"] == 2


def test_misp_sends_observables_without_modified(server: Server, lane_id: str) -> None:
    made = {"type": "ipv4-addr", "id": "ipv4-addr--ff26c055-6336-5bc5-b98d-13d6226742dd", "value": "198.51.100.3"}
    answer = server.post(lane_id, [{**made, "spec_version": "2.1"}])
    assert answer.json()["success_count"] == 1
    assert ids(server.get(server.objects_url(lane_id), params={"limit": 50})) == [made["id"]]


# ---- Sentinel, Splunk, and everybody


def test_sentinel_sends_a_next_alone_hours_later(own_server: Server) -> None:
    """Hours later: the server was restarted meanwhile, on another port, and there is more than before."""
    url = f"/api1/collections/{RW}/objects/"
    made = [indicator() for _ in range(9)]
    own_server.start()
    own_server.post(RW, made[:6], root="api1")
    first = own_server.get(url, params={"limit": 4})
    assert own_server.stop() == 0
    own_server.port = free_port()
    own_server.start()
    own_server.post(RW, made[6:], root="api1")
    second = own_server.get(url, params={"next": first.json()["next"]})
    assert ids(first) + ids(second) == [each["id"] for each in made]


def test_splunk_finds_the_collection_by_its_id_and_posts_a_bundle(server: Server, lane_id: str) -> None:
    listed = server.get("/api2/collections/").json()["collections"]
    assert [each["can_write"] for each in listed if each["id"] == lane_id] == [True]
    made = [indicator(), malware()]
    answer = server.request("POST", server.objects_url(lane_id), headers={"Content-Type": MT}, json=bundle(*made))
    assert answer.json()["success_count"] == 2
    assert ids(server.get(server.objects_url(lane_id))) == [each["id"] for each in made]


def test_minemeld_asks_from_the_newest_modified_again_and_again(
    server: Server, lane_id: str, filled: list[str]
) -> None:
    old = {"added_after": "2020-01-01T00:00:00.000Z"}
    for _ in range(5):
        assert ids(server.get(server.objects_url(lane_id), params=old)) == filled


def test_a_client_that_accepts_gzip_gets_it(server: Server, lane_id: str, filled: list[str]) -> None:
    answer = server.get(server.objects_url(lane_id), headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert ids(answer) == filled
    plain = server.get(server.objects_url(lane_id), headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert plain.content == answer.content


def test_a_page_url_without_its_slash_is_not_found_and_not_redirected(server: Server, lane_id: str) -> None:
    answer = server.get(server.objects_url(lane_id).rstrip("/"), allow_redirects=False)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, MT)

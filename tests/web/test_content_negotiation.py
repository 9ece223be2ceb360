"""Media types, compression and caching (TAXII 2.1, 3.1 and 1.6.8). The forms of Accept and Content-Type are data:
tests/cases/taxii/accept.toml and content-type.toml.
"""

from __future__ import annotations

import gzip

import pytest

from tests.web.endpoints import endpoints
from tests.web.rooms import MakeHub, Room
from tests.world import FIRST, FT6, LAST, MT, A, World, indicator


# CN-02, CN-03, EP-01
@pytest.mark.parametrize("accept", [MT, "application/taxii+json"])
def test_no_endpoint_refuses_the_taxii_type(room: Room, accept: str) -> None:
    room.store(*FT6)
    status = room.post([FT6[0]])
    for endpoint in endpoints(room.id, status_id=status["id"]):
        more = {"json": {"objects": [indicator()]}} if endpoint.method == "POST" else {}
        headers = {"Accept": accept, "Content-Type": MT} if more else {"Accept": accept}
        answer = room.world.request(endpoint.method, endpoint.path, headers=headers, **more)
        # The object is deleted before its versions are asked for.
        expected = {"GET VERS": 404, "POST OBJS": 202}.get(endpoint.name, 200)
        assert answer.status_code == expected, endpoint.name
        assert answer.content_type == MT


# CN-01, CN-09
def test_no_endpoint_serves_another_type(room: Room) -> None:
    room.store(*FT6)
    status = room.post([FT6[0]])
    for endpoint in endpoints(room.id, status_id=status["id"]):
        answer = room.world.request(endpoint.method, endpoint.path, headers={"Accept": "application/json"})
        assert answer.status_code == 406, endpoint.name
        assert answer.content_type == MT
    assert room.names("?match[version]=all") == ["A1", "A2", "A3", "A4", "A5", "B"]


# CN-16
def test_a_post_without_a_content_type_is_answered_415(room: Room) -> None:
    answer = room.world.post([indicator()], into=room.id, headers={"Content-Type": None})
    assert answer.status_code == 415
    assert not room.objects()


# CN-15, CN-20, ADD-33
@pytest.mark.parametrize("header", [{"Content-Type": "application/json"}, {"Accept": "text/html"}])
def test_what_is_refused_for_its_type_is_not_stored(room: Room, header: dict[str, str | None]) -> None:
    assert room.world.post(FT6, into=room.id, headers=header).status_code in (406, 415)
    assert not room.objects()


# CN-12
def test_a_lenient_server_serves_requests_without_accept(make_hub: MakeHub) -> None:
    hub = make_hub(settings="strict_accept = false")
    for accept in (None, "", " "):
        assert hub.get("/taxii2/", headers={"Accept": accept}).status_code == 200
    assert hub.get("/taxii2/", headers={"Accept": "text/html"}).status_code == 406


# CN-19, DEL-01
def test_an_answer_without_a_payload_says_its_type_all_the_same(room: Room) -> None:
    room.store(*FT6)
    answer = room.delete(A)
    assert (answer.status_code, answer.data, answer.content_type) == (200, b"", MT)


# CN-21, POL-13
def test_no_cache_may_keep_an_answer_or_hand_it_to_another_partner(hub: World) -> None:
    for partner in ("rw", None):
        answer = hub.get("/api1/collections/", partner)
        assert answer.headers["Vary"] == "Accept, Accept-Encoding, Authorization"
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


# CN-22
@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [
        ("gzip, deflate", True),
        ("gzip", True),
        ("*", True),
        ("br;q=1, gzip;q=0.1", True),
        ("identity", False),
        ("gzip;q=0", False),
        ("deflate, br", False),
        ("", False),
        (None, False),
    ],
)
def test_an_answer_is_compressed_only_for_those_who_take_it(room: Room, accepted: str | None, zipped: bool) -> None:
    room.store(*FT6)
    plain = room.get("objects/?match[version]=all")
    answer = room.get("objects/?match[version]=all", headers={"Accept-Encoding": accepted})
    assert (answer.headers.get("Content-Encoding") == "gzip") == zipped
    assert (gzip.decompress(answer.data) if zipped else answer.data) == plain.data
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    for name in (FIRST, LAST, "Content-Type", "Vary"):
        assert answer.headers[name] == plain.headers[name]


# CN-22, EP-06
def test_a_compressed_head_says_the_length_of_the_compressed_get(room: Room) -> None:
    room.store(*FT6)
    url = f"{room.url}/objects/?match[version]=all"
    headers: dict[str, str | None] = {"Accept-Encoding": "gzip"}
    head, get = (room.world.request(method, url, headers=headers) for method in ("HEAD", "GET"))
    assert head.headers == get.headers

"""Limits on what a client sends: the limit itself is taken, one more is refused with a message that names it."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import TestResponse

from taxii_server.web.bodies import Bodies
from tests.web.rooms import InspectedWorld, MakeHub
from tests.world import EMPTY, MT, RW, World, indicator

#: Small limits, so that the tests are cheap; each is a row of the settings.
SMALL = """
max_url_bytes = 300
max_headers = 12
max_header_bytes = 1024
max_query_parameters = 8
max_ids_per_match = 5
max_objects_per_post = 4
max_json_depth = 10
max_json_values = 1000
max_labels_per_partner = 100
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = InspectedWorld(tmp_path_factory.mktemp("small"), settings=SMALL)
    yield made
    made.close()


def refused(answer: TestResponse, status: int, code: str, limit: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.content_type == MT
    assert answer.json["error_code"] == code
    assert limit in answer.json["description"]


# ---- the head


def url_of(length: int) -> str:
    base = f"/api1/collections/{RW}/objects/?added_after=2020-01-01T00:00:00Z&x="
    return base + "a" * (length - len(base))


def test_a_url(small: World) -> None:
    assert small.get(url_of(300)).status_code == 200
    refused(small.get(url_of(301)), 414, "url-too-long", "longer than 300 bytes (max_url_bytes)")
    refused(small.get(url_of(301), None), 414, "url-too-long", "max_url_bytes")


def headers_of(world: World, count: int, size: int) -> dict[str, str | None]:
    """So many header fields of so many bytes, with those that the test client sends by itself."""
    sent = {"Accept": MT, "Authorization": f"Bearer {world.tokens['rw']}", "Host": "localhost", "User-Agent": "x"}
    left = count - len(sent)
    rest = size - sum(len(name) + len(value) for name, value in sent.items())
    names = [f"X-{number}" for number in range(left)]
    each = (rest - sum(map(len, names))) // left
    values = dict.fromkeys(names, "a" * each)
    values[names[0]] += "a" * (rest - sum(len(name) + len(value) for name, value in values.items()))
    return {name: value for name, value in (sent | values).items() if name != "Host"}


def test_header_fields(small: World) -> None:
    def get(count: int, size: int) -> TestResponse:
        return small.get("/taxii2/", headers=headers_of(small, count, size))

    assert get(12, 1024).status_code == 200
    refused(get(13, 1000), 431, "headers-too-large", "more than 12 header fields (max_headers)")
    refused(get(12, 1025), 431, "headers-too-large", "more than 1024 bytes (max_header_bytes)")


@pytest.mark.parametrize("tail", ["objects/", "manifest/", f"objects/{uuid.UUID(int=1, version=4)}/versions/"])
def test_query_parameters(small: World, tail: str) -> None:
    path = f"/api1/collections/{EMPTY}/{tail}?"
    assert small.get(path + "&".join(["x=1"] * 8)).status_code in (200, 404)
    refused(small.get(path + "&".join(["x=1"] * 9)), 400, "bad-query", "more than 8 parameters (max_query_parameters)")
    refused(small.get(path + "&" * 8), 400, "bad-query", "max_query_parameters")


@pytest.mark.parametrize("field", ["id", "type", "version", "spec_version"])
def test_values_of_a_match(small: World, field: str) -> None:
    values = {
        "id": [f"x--{number}" for number in range(6)],
        "type": [f"x{number}" for number in range(6)],
        "version": [f"2020-01-01T00:00:0{number}Z" for number in range(6)],
        "spec_version": [f"2.{number}" for number in range(6)],
    }[field]
    path = f"/api1/collections/{EMPTY}/objects/?match[{field}]="
    assert small.get(path + ",".join(values[:5])).status_code == 200
    refused(small.get(path + ",".join(values)), 400, "bad-query", "more than 5 values (max_ids_per_match)")


# ---- the body


def test_objects_of_a_post(small: World) -> None:
    assert small.post([indicator() for _ in range(4)]).json["success_count"] == 4
    refused(small.post([indicator() for _ in range(5)]), 422, "bad-content", "4 members (max_objects_per_post)")


def nested(depth: int) -> bytes:
    """An envelope whose object has this depth."""
    inner = b"[" * (depth - 1) + b"]" * (depth - 1)
    return json.dumps({"objects": [indicator(x_deep="?")]}).encode().replace(b'"?"', inner)


def test_the_depth_of_json(small: World) -> None:
    assert small.post(nested(10)).status_code == 202
    refused(small.post(nested(11)), 422, "bad-content", "at most 10 levels inside one object (max_json_depth)")


def valued(count: int) -> bytes:
    """An envelope that counts as so many values."""
    body = json.dumps({"objects": [indicator(x_many=["?"])]}).encode()
    own = sum(body.count(sign) for sign in (b",", b"[", b"{"))
    return body.replace(b'"?"', b"0" + b",0" * (count - own))


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_the_values_of_json(small: World, encoding: str | None) -> None:
    def post(body: bytes) -> TestResponse:
        return small.post(gzip.compress(body) if encoding else body, headers={"Content-Encoding": encoding})

    assert post(valued(1000)).status_code == 202
    refused(post(valued(1001)), 422, "bad-content", "more than 1000 values (max_json_values)")


def test_values_are_counted_before_anything_is_made_of_them(make_hub: MakeHub) -> None:
    hub = make_hub(max_content_length=20_000_000, settings="max_json_values = 100000")
    body = b'{"objects":[{"x":[' + b"[]," * 5_000_000 + b"[]]}]}"
    tracemalloc.start()
    try:
        refused(hub.post(body), 422, "bad-content", "max_json_values")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Read as JSON, these 15 MB become more than 300 MB.
    assert peak < 5 * len(body)


# ---- bodies in memory


def test_bodies_share_what_room_there_is_and_one_is_always_taken() -> None:
    bodies = Bodies(100)
    with bodies.hold() as grow:
        grow(1000)
        with bodies.hold() as other, pytest.raises(Exception, match=r"100 bytes that there are \(max_bodies_bytes\)"):
            other(1)
    with bodies.hold() as one, bodies.hold() as two:
        one(60)
        two(40)
        with pytest.raises(Exception, match="max_bodies_bytes"):
            one(1)
    with bodies.hold() as grow:
        grow(1000)


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_a_post_for_which_there_is_no_room_comes_again(make_hub: MakeHub, encoding: str | None) -> None:
    hub = make_hub(settings="max_bodies_bytes = 1048576", max_content_length=2_000_000)
    sent = indicator(description="a" * 600_000)
    body = json.dumps({"objects": [sent]}).encode()
    body = gzip.compress(body) if encoding else body
    with hub.app.extensions["taxii_server.bodies"].hold() as grow:
        grow(1_048_576 - 500_000)
        answer = hub.post(body, headers={"Content-Encoding": encoding})
        refused(answer, 429, "too-many-requests", "max_bodies_bytes")
        assert int(answer.headers["Retry-After"]) > 0
    assert hub.post(body, headers={"Content-Encoding": encoding}).json["success_count"] == 1


# ---- labels


def marked(number: int, **more: Any) -> dict[str, Any]:
    """An object with a marking id that nobody else made up."""
    return indicator(object_marking_refs=[f"marking-definition--00000000-0000-4000-8000-{number:012}"], **more)


def statement(number: int) -> dict[str, Any]:
    return {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": f"marking-definition--00000000-0000-4000-9000-{number:012}",
        "created": "2018-01-01T00:00:00.000Z",
        "definition_type": "statement",
        "definition": {"statement": f"number {number}"},
    }


def test_a_partner_makes_no_more_labels_than_its_quota(make_hub: MakeHub) -> None:
    hub = make_hub(settings="max_labels_per_partner = 100")
    first = [marked(number) for number in range(102)]
    status = hub.post(first).json
    assert (status["success_count"], status["failure_count"]) == (100, 2)
    assert all("max_labels_per_partner, 100" in each["message"] for each in status["failures"])
    refused_ids = {each["id"] for each in status["failures"]}
    known = [number for number, sent in enumerate(first) if sent["id"] not in refused_ids]
    hub.hub.follow()
    length = hub.hub.book.length
    # What needs no new label goes on, others have a quota of their own, and a definition is a label, too.
    again = hub.post([marked(known[0]), marked(500), statement(1), marked(known[1])]).json
    assert [each["id"].partition("--")[0] for each in again["failures"]] == ["indicator", "marking-definition"]
    assert again["success_count"] == 2
    hub.hub.follow()
    assert hub.hub.book.length == length, "what is refused leaves no trace in the log"
    assert hub.post([marked(500), statement(1)], "partner_b").json["success_count"] == 2
    assert len(list(hub.walk(query="match[type]=indicator", limit=1000))) == 102


def test_new_versions_are_within_the_quota_while_they_look_alike(make_hub: MakeHub) -> None:
    hub = make_hub(settings="max_labels_per_partner = 100")
    first = [marked(number) for number in range(100)]
    assert hub.post(first).json["failure_count"] == 0
    later = [each | {"modified": "2021-01-01T00:00:00.000Z"} for each in first]
    assert hub.post(later).json["failure_count"] == 0
    # An older version under a newer one that looks different is a combination of its own.
    other = [
        first[0] | {"modified": "2022-01-01T00:00:00.000Z", "object_marking_refs": first[1]["object_marking_refs"]}
    ]
    assert "max_labels_per_partner" in hub.post(other).json["failures"][0]["message"]


def test_the_label_limit_itself_is_reached(small: World) -> None:
    statuses = [small.post([marked(number)], "partner_b").json for number in range(101)]
    assert [status["success_count"] for status in statuses] == [1] * 100 + [0]
    assert "max_labels_per_partner, 100" in statuses[-1]["failures"][0]["message"]

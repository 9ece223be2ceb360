"""Add objects (TAXII 2.1, 5.5). Bodies that are no envelope at all are in test_hostile.py."""

from __future__ import annotations

import gzip
import io
import json
import threading
import uuid
from typing import Any

import pytest
from werkzeug.exceptions import ClientDisconnected, RequestTimeout
from werkzeug.test import TestResponse

from taxii_server.times import now_position, parse_position
from tests.web.data import TWIN, observable, old_form, statement
from tests.web.rooms import MakeHub, Room
from tests.world import EMPTY, FT6, HIDDEN, LAST, MT, RO, RW, UNKNOWN, WO, World, collection, indicator, malware

#: What gunicorn hands over for Transfer-Encoding: chunked.
CHUNKED = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}


def send(room: Room, body: bytes, **environ: object) -> TestResponse:
    """POST these bytes as a WSGI server would hand them over: `environ` says what it knows of the length."""
    return room.world.request(
        "POST",
        f"{room.url}/objects/",
        headers={"Content-Type": MT},
        input_stream=io.BytesIO(body),
        environ_overrides=environ,
    )


def envelope(*objects: object) -> bytes:
    return json.dumps({"objects": objects}).encode()


# ADD-01, ADD-02, ADD-23, ADD-24, ADD-25
def test_what_is_posted_can_be_read_at_once(room: Room) -> None:
    sent = indicator()
    answer = room.world.post([sent], into=room.id)
    assert answer.status_code == 202
    assert answer.json["status"] == "complete"
    assert room.page(f"objects/{sent['id']}/")["objects"] == [sent]


# ADD-25
def test_a_post_of_a_hundred_is_complete_in_its_answer(room: Room) -> None:
    status = room.post([indicator() for _ in range(100)])
    assert (status["status"], status["success_count"]) == ("complete", 100)


# ADD-03
@pytest.mark.parametrize("version", ["2.0", "2.1"])
def test_a_bundle_is_taken_like_an_envelope(room: Room, version: str) -> None:
    bundle: dict[str, Any] = {"type": "bundle", "id": f"bundle--{uuid.uuid4()}", "objects": [indicator(name="x")]}
    if version == "2.0":
        bundle |= {"spec_version": "2.0", "objects": [old_form(name="x")]}
    assert room.post(json.dumps(bundle).encode())["success_count"] == 1
    assert room.names() == ["x"]
    assert room.manifest()[0]["media_type"] == f"application/stix+json;version={version}"


# ADD-04, ADD-05, ADD-06, ADD-07, ADD-31
@pytest.mark.parametrize(
    ("into", "partner", "headers", "status"),
    [
        (RW, None, {}, 401),
        (RO, "ro", {}, 403),
        (UNKNOWN, "rw", {}, 404),
        (HIDDEN, "rw", {}, 404),
        (RW, "rw", {"Accept": "text/html"}, 406),
        (RW, "rw", {"Content-Type": "text/html"}, 415),
        (RW, "rw", {"Content-Encoding": "br"}, 415),
    ],
)
def test_add_objects_fails_as_the_table_says_and_stores_nothing(
    hub: World, into: str, partner: str | None, headers: dict[str, str | None], status: int
) -> None:
    sent = indicator()
    assert hub.post([sent], partner, into, headers=headers).status_code == status
    for reader in ("rw", "admin", "partner_b"):
        for place in (RW, RO, WO, HIDDEN):
            assert hub.get(f"/api1/collections/{place}/objects/{sent['id']}/", reader).status_code in (403, 404)


# ADD-13, ADD-14
@pytest.mark.parametrize(
    "bad",
    [
        {"type": "x"},
        {"type": "bundle", "id": f"bundle--{uuid.UUID(int=1, version=4)}", "objects": [indicator()]},
        {"objects": [indicator()]},
        "text",
        5,
        None,
        True,
        [],
        [indicator()],
        {},
        indicator("indicator--not-a-uuid"),
        indicator(modified="yesterday"),
        {**indicator(), "spec_version": "3.0"},
        {**indicator(), "type": "malware"},
        {**indicator(), "id": 5},
    ],
    ids=lambda bad: json.dumps(bad)[:40],
)
def test_a_bad_object_among_good_ones_fails_alone(room: Room, bad: object) -> None:
    status = room.post([indicator(name="one"), bad, indicator(name="two")])
    assert [status[f"{what}_count"] for what in ("total", "success", "failure")] == [3, 2, 1]
    assert status["failures"][0]["message"]
    assert room.names() == ["one", "two"]


# ADD-15
def test_a_stix_version_that_the_collection_does_not_take_is_a_failure(hub: World) -> None:
    status = hub.post([old_form(), indicator()], into=WO).json
    assert (status["success_count"], status["failure_count"]) == (1, 1)
    assert "2.0" in status["failures"][0]["message"]


# ADD-15, MSV-05, MSV-06: the STIX type decides, not the absence of times
@pytest.mark.parametrize(
    ("sent", "version"),
    [
        (old_form(), "2.0"),
        ({key: value for key, value in observable().items() if key != "spec_version"}, "2.1"),
        (indicator(), "2.1"),
        ({**old_form(), "id": f"x-acme--{uuid.uuid4()}", "type": "x-acme"}, "2.0"),
        ({key: value for key, value in statement().items() if key != "spec_version"}, "2.0"),
    ],
    ids=["indicator without", "observable without", "indicator with", "custom without", "marking without"],
)
def test_the_stix_version_of_an_object_follows_from_its_type(room: Room, sent: dict[str, Any], version: str) -> None:
    # Somebody has to carry the marking, or nobody gets to see its definition.
    carrier = indicator(object_marking_refs=[sent["id"]]) if sent["type"] == "marking-definition" else indicator()
    room.store(sent, carrier)
    (record,) = room.manifest(f"?match[id]={sent['id']}")
    assert record["media_type"] == f"application/stix+json;version={version}"
    assert room.objects(f"?match[id]={sent['id']}") == [sent]


# ADD-16, ADD-17
def test_an_exact_duplicate_is_a_success_that_changes_nothing(room: Room) -> None:
    room.store(*FT6)
    before, mark = room.manifest("?match[version]=all"), room.get("objects/?match[version]=all").headers[LAST]
    status = room.post([*FT6, dict(reversed(FT6[0].items()))])
    assert (status["success_count"], status["failure_count"]) == (7, 0)
    assert {each["message"] for each in status["successes"]} == {"already present"}
    assert room.manifest("?match[version]=all") == before
    assert room.get(f"objects/?match[version]=all&added_after={mark}").data == b"{}"


# ADD-17, VER-04
def test_an_observable_posted_again_is_no_news(room: Room) -> None:
    first = room.post([observable()])["successes"][0]
    again = room.post([observable()])["successes"][0]
    assert again == {**first, "message": "already present"}
    assert len(room.manifest("?match[version]=all")) == 1


# ADD-18
def test_a_duplicate_inside_one_request_is_counted_twice_and_stored_once(room: Room) -> None:
    sent = indicator()
    status = room.post([sent, sent, observable(), observable()])
    assert (status["total_count"], status["success_count"]) == (4, 4)
    assert status["successes"][2]["version"] == status["successes"][3]["version"]
    assert len(room.manifest("?match[version]=all")) == 2


# ADD-19
def test_other_content_under_the_same_version_is_refused_and_the_first_stays(room: Room) -> None:
    sent = indicator(name="first")
    room.store(sent)
    status = room.post([{**sent, "name": "second"}])
    assert (status["failure_count"], status["success_count"]) == (1, 0)
    assert sent["id"] in status["failures"][0]["message"]
    assert room.objects("?match[version]=all") == [sent]


# ADD-19: the same instant in other digits is the same version
def test_the_same_instant_in_other_digits_is_the_same_version(room: Room) -> None:
    id_ = indicator()["id"]
    room.store(indicator(id_, "2020-01-01T00:00:00Z"))
    assert room.post([indicator(id_, "2020-01-01T00:00:00.000Z")])["failure_count"] == 1


# ADD-20
def test_a_new_version_stands_beside_the_old_ones(room: Room) -> None:
    room.store(FT6[0])
    room.store(FT6[1])
    assert room.names("?match[version]=all") == ["A1", "A2"]
    assert room.names() == ["A2"]


# ADD-21, MVR-02, VER-06
def test_last_is_the_newest_by_version_and_not_by_arrival(room: Room) -> None:
    id_ = indicator()["id"]
    for time in ("2020-01-01T00:00:00.1Z", "2020-01-01T00:00:00.02Z", "2020-01-01T00:00:00Z"):
        room.store(indicator(id_, time, name=time))
    assert room.names() == ["2020-01-01T00:00:00.1Z"]
    assert room.names("?match[version]=first") == ["2020-01-01T00:00:00Z"]
    assert [each["version"] for each in room.manifest("?match[version]=first,last")] == [
        "2020-01-01T00:00:00.1Z",
        "2020-01-01T00:00:00Z",
    ]


# ADD-22, AFT-02
def test_arrival_counts_and_not_the_times_in_the_object(room: Room) -> None:
    before = now_position()
    room.store(indicator(modified="2015-01-01T00:00:00Z", created="2015-01-01T00:00:00Z"))
    room.store(indicator(modified="2999-01-01T00:00:00Z"))
    dates = [parse_position(each["date_added"]) for each in room.manifest()]
    assert before <= dates[0] < dates[1] < now_position() + 1_000_000
    assert not room.objects("?added_after=2998-01-01T00:00:00Z")


# ADD-09
@pytest.mark.parametrize(("size", "status"), [(1_000_000, 202), (1_000_001, 413), (5_000_000, 413)])
def test_the_limit_holds_for_a_body_of_unknown_length(room: Room, size: int, status: int) -> None:
    body = envelope(indicator(x_padding="?"))
    body = body.replace(b'"?"', b'"' + b"x" * (size - len(body) + 1) + b'"')
    assert len(body) == size
    answer = send(room, body, **CHUNKED)
    assert answer.status_code == status
    assert len(room.objects()) == (status == 202)


# ADD-09: no more than the limit is read
def test_a_body_without_end_is_not_read_to_the_end(room: Room) -> None:
    class Endless(io.RawIOBase):
        taken = 0

        def read(self, size: int = -1) -> bytes:
            Endless.taken += size
            return b" " * size

    answer = room.world.request(
        "POST",
        f"{room.url}/objects/",
        headers={"Content-Type": MT},
        environ_overrides={"wsgi.input": Endless(), **CHUNKED},
    )
    assert answer.status_code == 413
    assert Endless.taken < 1_200_000


# ADD-09: a body that is announced as too large is not read at all
def test_a_body_announced_as_too_large_is_not_read(room: Room) -> None:
    class Unread(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise AssertionError("the body was read")

    answer = room.world.request(
        "POST",
        f"{room.url}/objects/",
        headers={"Content-Type": MT},
        environ_overrides={"wsgi.input": Unread(), "CONTENT_LENGTH": "1000001"},
    )
    assert answer.status_code == 413


# ADD-09, ADD-33: what arrived parses, but the client meant to send more
@pytest.mark.parametrize("terminated", [False, True])
def test_a_body_shorter_than_announced_is_refused(room: Room, terminated: bool) -> None:
    body = envelope(indicator())
    environ: dict[str, object] = {"CONTENT_LENGTH": str(len(body) + 10)}
    answer = send(room, body, **environ, **({"wsgi.input_terminated": True} if terminated else {}))
    assert answer.status_code == 400
    assert answer.json["error_code"] == "bad-request"
    assert not room.objects()


# ADD-11, ADD-09: what the WSGI server raises of its own, and what it raises as an HTTP status
@pytest.mark.parametrize(
    ("fault", "status"),
    [(OSError("reset"), 400), (ValueError("bad chunk"), 400), (ClientDisconnected(), 400), (RequestTimeout(), 408)],
    ids=repr,
)
def test_a_connection_that_breaks_while_the_body_is_read_is_no_fault_of_the_server(
    room: Room, fault: Exception, status: int
) -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise fault

    answer = room.world.request(
        "POST",
        f"{room.url}/objects/",
        headers={"Content-Type": MT},
        environ_overrides={"wsgi.input": Broken(), **CHUNKED},
    )
    assert answer.status_code == status
    assert not room.objects()


# ADD-09: a length that is smaller than the body ends the body
def test_what_stands_behind_the_announced_length_is_not_read(room: Room) -> None:
    body = envelope(indicator(name="within"))
    answer = send(room, body + b"{" * 2_000_000, CONTENT_LENGTH=str(len(body)))
    assert answer.status_code == 202
    assert room.names() == ["within"]


# ADD-26, CUS-06, CUS-07
def test_unknown_properties_of_the_envelope_are_ignored(room: Room) -> None:
    body = {"x_acme_note": {"a": 1}, "more": True, "next": "x", "id": 5, "foo": None, "objects": [indicator(name="n")]}
    assert room.post(json.dumps(body).encode())["success_count"] == 1
    assert room.names() == ["n"]


# ADD-27, CUS-08
def test_custom_types_and_properties_are_kept(room: Room) -> None:
    custom = {**indicator(), "type": "x-acme-thing", "id": f"x-acme-thing--{uuid.uuid4()}", "any": {"x": [None]}}
    plain = {**malware(), "x_acme": {"y": []}, "custom_without_prefix": "z"}
    room.store(custom, plain)
    assert room.objects() == [custom, plain]


# ADD-29
def test_a_gzip_body_is_taken(room: Room) -> None:
    body = gzip.compress(envelope(indicator(name="zipped")))
    for coding in ("gzip", "GZIP", "x-gzip"):
        answer = room.world.post(body, into=room.id, headers={"Content-Encoding": coding})
        assert answer.status_code == 202
    assert room.names() == ["zipped"]


# ADD-30
def test_posts_of_the_same_object_at_once_store_one(room: Room) -> None:
    sent = [indicator(name="same"), observable()]
    statuses: list[int] = []
    failures: list[int] = []

    def post() -> None:
        answer = room.world.app.test_client().post(
            f"{room.url}/objects/",
            json={"objects": sent},
            headers={"Accept": MT, "Content-Type": MT, "Authorization": room.world.basic("rw")},
        )
        statuses.append(answer.status_code)
        failures.append(answer.json["failure_count"])

    threads = [threading.Thread(target=post) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [202] * 20
    assert failures == [0] * 20
    assert len(room.manifest("?match[version]=all")) == 2


# ADD-30
def test_the_same_object_in_two_collections_is_two_records(hub: World) -> None:
    sent = indicator()
    for into in (RW, WO):
        assert "message" not in hub.post([sent], into=into).json["successes"][0]
    assert len(hub.objects("admin", RW, f"?match[id]={sent['id']}")) == 1
    assert len(hub.objects("admin", WO, f"?match[id]={sent['id']}")) == 1


# ADD-32: see test_status.py; here the duplicate of one's own post is told, which is no secret
def test_a_writer_is_told_of_its_own_duplicates(hub: World) -> None:
    sent = indicator()
    assert "message" not in hub.post([sent], "wo", WO).json["successes"][0]
    assert hub.post([sent], "wo", WO).json["successes"][0]["message"] == "already present"


# ADD-33, ADD-10: a 422 in the middle of a body leaves nothing of it
@pytest.mark.parametrize("tail", [b", {", b", NaN]}", b"]} x", b"], }", b'], "objects": []}'])
def test_a_refused_body_leaves_nothing_behind(room: Room, tail: bytes) -> None:
    body = b'{"objects": [' + json.dumps(indicator()).encode() + tail
    assert room.world.post(body, into=room.id).status_code == 422
    assert not room.objects()


# ADD-08, POL-11: the operator may take fewer objects in one request
def test_a_collection_may_limit_the_objects_of_one_post(make_hub: MakeHub) -> None:
    text = collection(EMPTY, "Small", readers=["rw"], writers=["rw"]) + "[limits]\nmax_objects = 2\n"
    hub = make_hub(collections={"small": text})
    assert hub.post([indicator() for _ in range(3)], into=EMPTY).status_code == 422
    assert not hub.objects(of=EMPTY)
    assert hub.post([indicator() for _ in range(2)], into=EMPTY).status_code == 202


# VER-07
def test_one_version_in_two_stix_versions_is_two_records(room: Room) -> None:
    room.store(old_form(), indicator(TWIN))
    records = room.manifest(f"?match[id]={TWIN}&match[spec_version]=2.0,2.1")
    assert [each["media_type"][-3:] for each in records] == ["2.0", "2.1"]
    assert len({each["version"] for each in records}) == 1


# ADD-09: a server takes chunks apart and leaves what lies below them as it is
@pytest.mark.parametrize("coding", ["gzip, chunked", "gzip", "deflate, chunked", "chunked, gzip"])
def test_a_transfer_coding_that_nobody_decodes_is_refused(room: Room, coding: str) -> None:
    answer = send(room, envelope(indicator()), **(CHUNKED | {"HTTP_TRANSFER_ENCODING": coding}))
    assert answer.status_code == 415
    assert "Transfer-Encoding" in answer.json["description"]
    assert not room.objects()

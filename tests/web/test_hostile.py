"""What nobody sends by accident: a clear TAXII error, nothing stored, no trace of the inside, and soon.

ADD-10, ADD-12, ADD-28, ADD-29, ADD-33, TYPE-10, EP-19, EP-20, POL-10, POL-11. Odd URLs and query strings that are
short are data: tests/cases/taxii/urls.toml, match.toml and paging.toml.
"""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.web.rooms import Room
from tests.world import EMPTY, MT, RW, A, World, indicator

#: Seconds within which any of these has its answer, on a slow machine.
SOON = 5.0


def post(room: Room, body: bytes, **headers: str) -> TestResponse:
    started = time.monotonic()
    answer = room.world.post(
        body, into=room.id, headers={name.replace("_", "-"): each for name, each in headers.items()}
    )
    assert time.monotonic() - started < SOON
    return answer


def with_one(inside: bytes) -> bytes:
    """An envelope whose one object has this text somewhere in it."""
    return b'{"objects": [' + json.dumps(indicator(x_hole="?")).encode().replace(b'"?"', inside) + b"]}"


# ADD-10, ADD-12, TYPE-10, ADD-33
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"}",
        b"[]",
        b'"x"',
        b"null",
        b"5",
        b"true",
        b"NaN",
        b"{}",
        b'{"objects"}',
        b'{"objects": }',
        b'{"objects": null}',
        b'{"objects": {}}',
        b'{"objects": "x"}',
        b'{"objects": 1}',
        b'{"objects": []}',
        b'{"objects": [}',
        b'{"objects": [,]}',
        b'{"objects": [{}],}',
        b"{'objects': [{}]}",
        b'{"objects": [{}]} {"objects": [{}]}',
        b'{"objects": [{}]}\x00',
        b'{"Objects": [{}]}',
        b'{"object": [{}]}',
        b'\xef\xbb\xbf{"objects": [{}]}',
        b'\xff\xfe{\x00"\x00',
        '{"objects": [{}]}'.encode("utf-16"),
        '{"objects": [{}]}'.encode("utf-32"),
        b"<xml/>",
        b"objects=%5B%5D",
        b"\x00" * 1000,
        b"// comment\n{}",
        b'{"objects": [{}], "objects": [{}]}',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_body_that_is_no_envelope_is_answered_422(room: Room, body: bytes) -> None:
    answer = post(room, body)
    assert answer.status_code == 422
    assert answer.json["error_code"] == "bad-content"
    assert not room.objects()


# TYPE-10, ADD-28
@pytest.mark.parametrize(
    "inside",
    [
        b'{"a": 1, "a": 2}',
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"-1e999",
        b'"\\ud800"',
        b'{"\\udfff": 1}',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\xc0\xaf"',
        b'"\x01"',
        b'"\n"',
        b"01",
        b"+1",
        b".5",
        b"0x10",
        b"1_000",
        b"undefined",
        b'"\\x41"',
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"[" * 100_000,
        b"9" * 900_000,
        b"0." + b"9" * 900_000,
        b"1" + b"0" * 400,
        b'"' + b"\\u0041" * 5 + b"\\",
    ],
    ids=lambda inside: repr(inside[:20]),
)
def test_json_that_others_read_differently_is_answered_422(room: Room, inside: bytes) -> None:
    answer = post(room, with_one(inside))
    assert answer.status_code == 422
    assert len(answer.data) < 1000
    assert not room.objects()


# ADD-28: large, but lawful
@pytest.mark.parametrize(
    "inside",
    [
        b"{" + b",".join(b'"%d":1' % number for number in range(60_000)) + b"}",
        b"[" + b"1," * 300_000 + b"1]",
        b'"' + b"x" * 900_000 + b'"',
        b'"' + b"\\u00e9" * 100_000 + b'"',
    ],
    ids=["keys", "members", "string", "escapes"],
)
def test_a_large_object_is_stored_or_refused_and_soon(room: Room, inside: bytes) -> None:
    answer = post(room, with_one(inside))
    assert answer.status_code == 202
    assert answer.json["total_count"] == 1
    assert len(room.objects()) == answer.json["success_count"]


# ADD-28, POL-11
@pytest.mark.parametrize("member", [b"[]", b"{}", b"0", b"null", b'""'])
def test_a_body_of_very_many_members_is_refused(room: Room, member: bytes) -> None:
    body = b'{"objects": [' + b",".join([member] * 150_000) + b"]}"
    answer = post(room, body)
    assert answer.status_code == 422
    assert not room.objects()


def change(**changes: Any) -> dict[str, Any]:
    return {**indicator(), **changes}


# ADD-13, ADD-28, STAT-21
@pytest.mark.parametrize(
    "bad",
    [
        change(id=None),
        change(id={}),
        change(id="x" * 10_000),
        change(id="indicator--" + "0" * 36),
        change(id="indicator--../../etc/passwd"),
        change(id="INDICATOR--1efc6673-9d95-46c3-a09c-c29f926da9af"),
        change(id="indicator--1efc6673-9d95-46c3-a09c-c29f926da9af\n"),
        change(id="indicator--1EFC6673-9D95-46C3-A09C-C29F926DA9AF"),
        change(id="indicator--\u0661efc6673-9d95-46c3-a09c-c29f926da9af"),
        change(type=None),
        change(type=["indicator"]),
        change(type="a" * 300 + "!"),
        change(type="-" * 28 + "!"),
        change(type=""),
        change(modified=5),
        change(modified=None),
        change(modified="2020-02-30T00:00:00Z"),
        change(modified="2020-01-01T00:00:00+00:00"),
        change(modified="2020-01-01 00:00:00Z"),
        change(modified="2020-01-01T24:00:00Z"),
        change(modified="0000-01-01T00:00:00Z"),
        change(modified="99999-01-01T00:00:00Z"),
        change(modified="\u0662020-01-01T00:00:00Z"),
        change(created="never"),
        change(spec_version=2.1),
        change(spec_version="2.1.0"),
        change(spec_version={}),
        change(object_marking_refs="x"),
        change(object_marking_refs=["x"]),
        change(object_marking_refs=[[]]),
        change(object_marking_refs={"$gt": ""}),
        change(granular_markings=[{"selectors": ["nope.[0]"], "marking_ref": "x"}]),
        change(granular_markings=5),
        change(created_by_ref={}),
        {"$where": "1", "type": "indicator", "id": {"$gt": ""}},
    ],
    ids=lambda bad: json.dumps(bad)[-60:],
)
def test_an_object_of_wrong_types_is_a_failure_with_a_message(room: Room, bad: dict[str, Any]) -> None:
    status = room.post([bad, indicator(name="good")])
    assert (status["success_count"], status["failure_count"]) == (1, 1)
    (failure,) = status["failures"]
    assert 0 < len(failure["message"]) < 1000
    assert "Traceback" not in failure["message"]
    assert room.names("?match[version]=all") == ["good"]


# ADD-28: names that mean something to a database are text like any other
def test_names_that_look_like_operators_are_text(room: Room) -> None:
    sent = indicator(name="'; DROP TABLE records; --", x_a={"$where": "1", "a.b": 1, "": 2, "\0": 3, "__proto__": {}})
    room.store(sent)
    assert room.objects() == [sent]


# ADD-28: far future and deep past are versions like others, and block nobody
def test_a_version_in_the_year_9999_does_not_block_the_collection(room: Room) -> None:
    sent = indicator(modified="9999-12-31T23:59:59.999999Z", name="far")
    room.store(sent, indicator(created="0001-01-01T00:00:00Z", modified="0001-01-01T00:00:00Z", name="deep"))
    room.store(indicator(name="next"))
    assert room.names() == ["far", "deep", "next"]


# ADD-29
def test_a_gzip_bomb_is_answered_413(room: Room) -> None:
    bomb = gzip.compress(b'{"objects": [' + b" " * 50_000_000 + b"]}")
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        assert post(room, bomb, Content_Encoding="gzip").status_code == 413
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert not room.objects()


# ADD-29
@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (b"not gzip at all", "gzip", 422),
        (b"", "gzip", 422),
        (gzip.compress(with_one(b"1"))[:-10], "gzip", 422),
        (gzip.compress(with_one(b"1"))[:-4], "gzip", 422),
        (gzip.compress(with_one(b"1")) + b"tail", "gzip", 422),
        (gzip.compress(with_one(b"1")) * 2, "gzip", 422),
        (gzip.compress(with_one(b"1")), "", 422),
        (with_one(b"1"), "gzip", 422),
        (gzip.compress(gzip.compress(with_one(b"1"))), "gzip", 422),
        (with_one(b"1"), "deflate", 415),
        (with_one(b"1"), "br", 415),
        (with_one(b"1"), "gzip, gzip", 415),
        (with_one(b"1"), "x", 415),
    ],
)
def test_a_body_in_the_wrong_coding_is_refused(room: Room, body: bytes, coding: str, status: int) -> None:
    assert post(room, body, Content_Encoding=coding).status_code == status
    assert not room.objects()


# ADD-29: exactly the limit after decoding is within it
@pytest.mark.parametrize(("size", "status"), [(1_000_000, 202), (1_000_001, 413)])
def test_the_limit_holds_for_the_decoded_body(room: Room, size: int, status: int) -> None:
    body = with_one(b'"?"')
    body = body.replace(b'"?"', b'"' + b"x" * (size - len(body) + 1) + b'"')
    assert len(body) == size
    assert post(room, gzip.compress(body), Content_Encoding="gzip").status_code == status


# ADD-09, ADD-11: a Content-Length that is none
@pytest.mark.parametrize("length", ["-1", "x", "1.5", "", "0", "99999999999999999999"])
def test_an_impossible_length_is_refused(room: Room, length: str) -> None:
    answer = room.world.request(
        "POST",
        f"{room.url}/objects/",
        headers={"Content-Type": MT},
        data=with_one(b"1"),
        environ_overrides={"CONTENT_LENGTH": length},
    )
    assert answer.status_code in (400, 413, 422)
    assert not room.objects()


# POL-10, EP-19
@pytest.mark.parametrize(
    "query",
    [
        "match[id]=" + "a" * 100_000,
        "match[id]=" + "a," * 50_000 + "a",
        "&".join(f"match[x{number}]=1" for number in range(10_000)),
        "&".join(f"x{number}=1" for number in range(10_000)),
        "&" * 100_000,
        "=" * 100_000,
        "match[version]=" + ",".join(f"2020-01-01T00:00:00.{number}Z" for number in range(1, 5000)),
        "match[type]=" + "," * 100_000,
        "limit=" + "9" * 100_000,
        "added_after=2020-01-01T00:00:00." + "1" * 100_000 + "Z",
        "next=" + "A" * 100_000,
        "%" * 1000,
        "match%5Bid%5D%00=1&%00=%00",
        "match[id]=%00&match[type]=%00",
        "match[[id]]=1&match[]=1&match=1&match[id=1",
        "match[id]=" + "%F0%9F%92%80" * 1000,
        "match[type]=' OR 1=1 --",
        'match[type]={"$gt": ""}',
        "match[type][$ne]=x",
    ],
    ids=lambda query: query[:30],
)
@pytest.mark.parametrize("resource", ["objects/", "manifest/", f"objects/{A}/", f"objects/{A}/versions/"])
def test_an_odd_query_string_is_answered_soon_and_never_5xx(hub: World, resource: str, query: str) -> None:
    started = time.monotonic()
    answer = hub.get(f"/api1/collections/{EMPTY}/{resource}?{query}")
    assert time.monotonic() - started < SOON
    assert answer.status_code in (200, 400, 404, 414)
    assert "objects" not in (answer.json or {})
    assert len(answer.data) < 2000


# EP-19
@pytest.mark.parametrize("header", ["Accept", "Accept-Encoding", "Content-Type", "Content-Encoding", "Authorization"])
@pytest.mark.parametrize(
    "value",
    [
        "\xff\xfe",
        ";" * 5000,
        "," * 5000,
        '"' * 4999,
        "a/b;" * 2000,
        "*/*;q=" + "9" * 500,
        "x;q=nan",
        "gzip;q=inf",
        "=",
        "\t",
    ],
    ids=lambda value: repr(value[:10]),
)
def test_an_odd_header_is_answered_soon_and_never_5xx(hub: World, header: str, value: str) -> None:
    started = time.monotonic()
    headers: dict[str, str | None] = {"Content-Type": MT, header: value}
    answers = [
        hub.get(f"/api1/collections/{EMPTY}/objects/", headers=headers),
        hub.post(b"{", into=EMPTY, headers=headers),
    ]
    assert time.monotonic() - started < SOON
    assert all(answer.status_code < 500 for answer in answers)


# EP-19
def test_a_path_of_many_parts_is_not_found(hub: World) -> None:
    for path in ("/a" * 3000 + "/", "/" * 5000, f"/api1/collections/{RW}" + "/objects" * 500 + "/"):
        assert hub.get(path).status_code == 404

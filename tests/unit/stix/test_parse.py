"""Bodies of POST requests: what is taken apart, what is refused."""

from __future__ import annotations

import json
import time
from typing import Any

import orjson
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from taxii_server.errors import BadContent
from taxii_server.stix.parse import (
    _QUICK_BYTES,
    DEFAULT_LIMITS,
    MAX_DEPTH,
    MAX_MEMBERS,
    JsonLimits,
    _quick_items,
    _Root,
    read_envelope,
)


def _nested(levels: int) -> bytes:
    return b'{"objects":[' + b'{"a":' * levels + b"1" + b"}" * levels + b"]}"


HOSTILE = {
    "empty body": (b"", "root"),
    "white space": (b" \n", "root"),
    "a list": (b"[]", "root"),
    "a string": (b'"x"', "root"),
    "null": (b"null", "root"),
    "a number": (b"5", "root"),
    "an unfinished object": (b"{", "not JSON"),
    "an unfinished list": (b'{"objects":[{"a":1}', "not JSON"),
    "a missing colon": (b'{"objects" [1]}', "not JSON"),
    "a missing value": (b'{"objects":}', "not JSON"),
    "a trailing comma in the list": (b'{"objects":[{},]}', "not JSON"),
    "a trailing comma in the root": (b'{"objects":[{}],}', "not JSON"),
    "a name without quotes": (b"{objects:[{}]}", "not JSON"),
    "a number as name": (b'{1:2,"objects":[{}]}', "not JSON"),
    "text behind the root": (b'{"objects":[{}]} {}', "not JSON"),
    "a comment": (b'{"objects":[{}] /* */}', "not JSON"),
    "a line break in a string": (b'{"objects":[{"a":"b\nc"}]}', "not JSON"),
    "a NUL in a string": (b'{"objects":[{"a":"b\x00c"}]}', "not JSON"),
    "a leading zero": (b'{"objects":[{"a":01}]}', "not JSON"),
    "UTF-16": ('{"objects":[{}]}'.encode("utf-16-le"), "not JSON"),
    "UTF-16 with its mark": ('{"objects":[{}]}'.encode("utf-16"), "not UTF-8"),
    "a byte order mark": (b'\xef\xbb\xbf{"objects":[{}]}', "byte order mark"),
    "a broken byte": (b'{"objects":[{"a":"\xff"}]}', "not UTF-8"),
    "an encoded surrogate": (b'{"objects":[{"a":"\xed\xa0\x80"}]}', "not UTF-8"),
    "an overlong encoding": (b'{"objects":[{"a":"\xc0\xaf"}]}', "not UTF-8"),
    "no objects": (b'{"more":false}', "no `objects`"),
    "objects is null": (b'{"objects":null}', "not a list"),
    "objects is an object": (b'{"objects":{"type":"x"}}', "not a list"),
    "objects is a text": (b'{"objects":"[]"}', "not a list"),
    "objects is empty": (b'{"objects":[ ]}', "empty"),
    "objects twice": (b'{"objects":[{}],"objects":[{}]}', "'objects' occurs twice"),
    "objects twice, once escaped": (b'{"objects":[{}],"objec\\u0074s":[{}]}', "'objects' occurs twice"),
    "a name twice in the root": (b'{"id":1,"id":1,"objects":[{}]}', "'id' occurs twice"),
    "a name twice in a member": (b'{"objects":[{"id":"a","id":"a"}]}', "'id' occurs twice"),
    "a name twice, deep": (b'{"objects":[{"a":[{"b":{"c":1,"d":2,"c":1}}]}]}', "'c' occurs twice"),
    "a name twice outside objects": (b'{"x":{"y":1,"y":2},"objects":[{}]}', "'y' occurs twice"),
    "NaN": (b'{"objects":[{"a":NaN}]}', "NaN"),
    "Infinity": (b'{"objects":[{"a":Infinity}]}', "Infinity"),
    "minus Infinity": (b'{"objects":[{"a":-Infinity}]}', "-Infinity"),
    "NaN outside objects": (b'{"x":NaN,"objects":[{}]}', "NaN"),
    "a float beyond IEEE 754": (b'{"objects":[{"a":1e999}]}', "too large"),
    "an integer beyond IEEE 754": (b'{"objects":[{"a":-' + b"9" * 310 + b"}]}", "too large"),
    "a lone high surrogate": (b'{"objects":[{"a":"\\ud800"}]}', "surrogate"),
    "a lone low surrogate": (b'{"objects":[{"a":"\\uDC00\\ud83d"}]}', "surrogate"),
    "a lone surrogate as name": (b'{"objects":[{"\\udfff":1}]}', "surrogate"),
    "a lone surrogate outside objects": (b'{"x":"\\ud800","objects":[{}]}', "surrogate"),
    "depth 100,000 in objects": (_nested(100_000), "too deeply"),
    "depth 100,000 never closed": (b'{"objects":' + b"[" * 100_000, "too deeply"),
    "depth 100,000 in the root": (b'{"x":' * 100_000, "too deeply"),
    "one level too deep": (_nested(MAX_DEPTH + 1), "too deeply"),
    "an integer of 1 MB": (b'{"objects":[{"a":' + b"1" * 1_000_000 + b"}]}", "1000000 characters"),
    "a float of 1 MB": (b'{"objects":[{"a":0.' + b"1" * 1_000_000 + b"}]}", "1000002 characters"),
    "too many members": (b'{"objects":[' + b"[]," * MAX_MEMBERS + b"[]]}", "more than 100000"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_are_refused_quickly(name: str) -> None:
    body, message = HOSTILE[name]
    started = time.perf_counter()
    with pytest.raises(BadContent, match=message):
        read_envelope(body)
    assert time.perf_counter() - started < 5


ACCEPTED = {
    "the deepest nesting": _nested(MAX_DEPTH),
    "many brackets side by side": b'{"objects":[' + b"[" * 100 + b"[]," * 10_000 + b"[]" + b"]" * 100 + b"]}",
    "brackets in a text": b'{"objects":[{"a":"' + b"[{" * 10_000 + b'\\"]"}]}',
    "200,000 names": b'{"objects":[{' + b",".join(b'"k%d":1' % number for number in range(200_000)) + b"}]}",
    "a surrogate pair": b'{"objects":[{"a":"\\ud83d\\ude00"}]}',
    "an escaped backslash before ud800": b'{"objects":[{"a":"\\\\ud800"}]}',
    "an integer beyond 64 bits": b'{"objects":[{"a":123456789012345678901234567890}]}',
    "an integer of 309 digits": b'{"objects":[{"a":' + b"1" * 309 + b"}]}",
    "a text of 1 MB": b'{"objects":[{"a":"' + b"x" * 1_000_000 + b'"}]}',
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_unusual_bodies_are_taken_as_they_are(name: str) -> None:
    body = ACCEPTED[name]
    (item,) = read_envelope(body)
    assert item.raw == body.removeprefix(b'{"objects":[').removesuffix(b"]}")
    orjson.loads(item.raw)  # other parts read stored text with it


def test_numbers_order_and_escapes_keep_their_text() -> None:
    member = rb'{"b": 1.0, "a": 1e2, "c": -0.0, "d": 0.10000000000000000555, "e": "\u00e9\/ \n"}'
    (item,) = read_envelope(b'{"objects": [ ' + member + b" ]}")
    assert item.raw == member
    assert item.value == {"b": 1.0, "a": 100.0, "c": 0.0, "d": 0.1, "e": "é/ \n"}


def test_line_breaks_and_indentation_between_tokens_are_dropped() -> None:
    member = b'{\r\n\t"a" : "x  y\\n z" ,\n\n    "b": [\n        1,\n        2\n    ]\n}'
    (item,) = read_envelope(b'{\n"objects":\n[' + member + b"\n]\n}\n")
    assert item.raw == b'{"a" : "x  y\\n z" ,"b": [1,2]}'


def test_members_that_are_no_objects_are_returned_in_their_place() -> None:
    items = read_envelope(b'{"objects":[null,{"type":"x"},[1],"text",7,true]}')
    assert [item.value for item in items] == [None, {"type": "x"}, [1], "text", 7, True]
    assert [item.raw for item in items] == [b"null", b'{"type":"x"}', b"[1]", b'"text"', b"7", b"true"]


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ('"type":"bundle","spec_version":"2.0",', "2.0"),
        ('"type":"bundle",', None),
        ('"spec_version":"2.0",', None),
        ('"type":"bundle","spec_version":2,', None),
    ],
)
def test_only_a_bundle_gives_its_members_a_spec_version(root: str, expected: str | None) -> None:
    (item,) = read_envelope(("{" + root + '"objects":[{}]}').encode())
    assert item.bundle_spec == expected
    (item,) = read_envelope(('{"objects":[{}],' + root.rstrip(",") + "}").encode())
    assert item.bundle_spec == expected


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


def _typed(value: Any) -> Any:
    """Tells 1, 1.0 and true apart, which Python calls equal, and keeps the order of members."""
    if isinstance(value, dict):
        return [(name, _typed(member)) for name, member in value.items()]
    if isinstance(value, list):
        return [_typed(member) for member in value]
    return (type(value), value)


@settings(deadline=None)
@given(
    objects=st.lists(_JSON, min_size=1, max_size=4),
    extra=st.dictionaries(_TEXT.filter(lambda name: name not in {"objects", "type"}), _JSON, max_size=2),
    indent=st.sampled_from([None, 0, 2, "\t"]),
    ascii_only=st.booleans(),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_any_json_comes_apart_into_its_members(
    objects: list[Any], extra: dict[str, Any], indent: int | str | None, ascii_only: bool, newline: str
) -> None:
    text = json.dumps(extra | {"objects": objects}, indent=indent, ensure_ascii=ascii_only)
    items = read_envelope(text.replace("\n", newline).encode())
    assert _typed([item.value for item in items]) == _typed(objects)
    assert _typed([json.loads(item.raw) for item in items]) == _typed(objects)


_OFTEN = st.sampled_from(["a", "objects", "spec_version", "type", "bundle", "2.0"])
_FRAME = st.dictionaries(_OFTEN | _TEXT, _JSON | _OFTEN | st.just({"objects": []}), max_size=4)
#: what would be written in another way, or is no JSON, among what would not
_PIECE = st.sampled_from(
    ['"a":1,', '{"a":1,"a":1}', "[]", "[[[", "]]]", " ", "\n", "1.0", "1.00", "1e5", "-0", "-0.0", "9" * 20, "\\u0061"]
)


@settings(deadline=None, max_examples=250)
@given(
    _FRAME,
    st.lists(_JSON | _FRAME, min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from([0, 0, 1, 5]), _PIECE), max_size=2),
    st.builds(JsonLimits, depth=st.sampled_from([4, 8, 200]), members=st.sampled_from([2, 5])),
)
def test_what_is_read_quickly_is_what_is_read_with_care(
    frame: dict[str, Any], objects: list[Any], changes: list[tuple[int, int, str]], limits: JsonLimits
) -> None:
    root = frame | {"objects": objects}
    try:
        text = orjson.dumps(root).decode()
    except TypeError:  # an integer beyond 64 bits
        text = json.dumps(root, ensure_ascii=False, separators=(",", ":"))
    for place, gone, piece in changes:
        text = text[:place] + piece + text[place + gone :]
    quick = _quick_items(text.encode(), limits)
    event(f"quick: {quick is not None}")
    if quick is not None:
        careful = _Root(text, limits).items()
        assert [each.bundle_spec for each in quick] == [each.bundle_spec for each in careful]
        assert [each.raw for each in quick] == [each.raw for each in careful]
        assert _typed([each.value for each in quick]) == _typed([each.value for each in careful])


def test_a_body_without_white_space_is_read_quickly() -> None:
    body = '{"type":"bundle","objects":[{"b":"é","a":[1.5,{}]},{}],"spec_version":"2.0"}'.encode()
    assert _quick_items(body, DEFAULT_LIMITS) == read_envelope(body)
    assert _quick_items(body.replace(b"1.5", b"1.50"), DEFAULT_LIMITS) is None
    assert _quick_items(body.replace(b'"b"', b'"%s"' % (b"b" * 1000)), DEFAULT_LIMITS) is not None
    assert _quick_items(body.replace(b'"b"', b'"%s"' % (b"b" * _QUICK_BYTES)), DEFAULT_LIMITS) is None
    assert _quick_items(body, DEFAULT_LIMITS) == _Root(body.decode(), DEFAULT_LIMITS).items()


@settings(deadline=None)
@given(st.binary(max_size=40) | st.text(alphabet='{}[]",:\\u0d8 1e.-objects', max_size=60).map(str.encode))
def test_any_bytes_are_members_or_bad_content(body: bytes) -> None:
    try:
        items = read_envelope(body)
    except BadContent:
        return
    assert items


@settings(deadline=None)
@given(st.text(alphabet='{}[]",:\\u0d8 1e.-\n', max_size=40))
def test_what_is_taken_is_what_the_standard_library_reads(member: str) -> None:
    body = '{"objects":[' + member + "]}"
    try:
        items = read_envelope(body.encode())
    except BadContent:
        return
    assert [item.value for item in items] == json.loads(body)["objects"]
    for item in items:
        orjson.loads(item.raw)

"""The body of a POST taken apart: one value and one piece of original text per object.

Why not json.loads: it accepts NaN, lone surrogates and two members of one name, and forgets the text; what is
stored must be the posted text, so that numbers, key order and escapes survive. Why not orjson: it turns integers
beyond 64 bits into floats and keeps the last of two equal names without a word. So the C scanner of the standard
library reads member after member of `objects`, tells where each one ends, and hooks refuse what is not I-JSON.
Only a body that orjson writes again as it stood has nothing of that: there orjson reads it, in half the time.
"""

from __future__ import annotations

import json
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import orjson

from taxii_server.errors import BadContent

#: How deep lists and objects may be nested in one member; STIX itself needs less than ten.
MAX_DEPTH = 200

#: Members of one envelope; the largest known bundle has a quarter of it, and a body of `[],[],` would fill memory.
MAX_MEMBERS = 100_000

#: Values of one body, counted by commas and brackets. In 100 MB of objects from a MISP there are two million; made of
#: nothing but brackets, the same 100 MB would take gigabytes once they are read.
MAX_VALUES = 3_000_000

#: Characters of one number; a 64-bit integer has 20.
MAX_NUMBER_CHARS = 1000

#: Digits that always fit the range of a double.
DOUBLE_DIGITS = 308

#: Bytes of a body that show how it is written.
_BEGINNING = 200

#: orjson reads so many in 6 ms, in one call, and no other thread runs meanwhile.
_QUICK_BYTES = 4_000_000

_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

#: Opening brackets count +1, closing ones -1; every other ASCII character is dropped.
_STEPS = bytes.maketrans(b"[{]}", bytes([1, 1, 255, 255]))
_NO_BRACKETS = bytes(code for code in range(256) if code not in b"[{]}")


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """How much of a body is read, as max_json_depth, max_objects_per_post and max_json_values say."""

    depth: int = MAX_DEPTH
    members: int = MAX_MEMBERS
    values: int = MAX_VALUES


DEFAULT_LIMITS = JsonLimits()


@dataclass(frozen=True, slots=True)
class Item:
    """One member of `objects`: its value, its posted text (UTF-8), and the spec_version of its bundle.

    `raw` is the posted text except for line breaks and indentation between its tokens.
    """

    value: Any
    raw: bytes
    bundle_spec: str | None


def read_envelope(body: bytes, limits: JsonLimits = DEFAULT_LIMITS) -> list[Item]:
    """The members of `objects` of a TAXII envelope (TAXII 2.1, 3.7) or a STIX bundle, in order.

    Other properties of the root are ignored, but have to be I-JSON (RFC 7493) like everything else. Members
    that are not objects are returned as well: they fail one by one, not the request.

    Raises BadContent for a body that is not UTF-8, not I-JSON, beyond the limits, or whose root is not an object
    with a list `objects` of at least one member.
    """
    if body.count(b",") + body.count(b"[") + body.count(b"{") > limits.values:
        most = f"{limits.values} values (max_json_values)"
        raise BadContent(f"the body has more than {most}; send it in several requests")
    items = _quick_items(body, limits)
    if items is not None:
        return items
    text = _decoded(body)
    try:
        return _Root(text, limits).items()
    except json.JSONDecodeError as error:
        raise BadContent(f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from error
    except RecursionError as error:
        raise _too_deep(limits.depth) from error


def _quick_items(body: bytes, limits: JsonLimits) -> list[Item] | None:
    """The members of a body that has nothing which orjson would write in another way; None for any other one.

    Such a body has no name twice, no number that was changed, no lone surrogate and no white space between its tokens.
    """
    # Two signs that it would be in vain: spaces behind colons, and escapes.
    if len(body) > _QUICK_BYTES or b'": ' in body[:_BEGINNING] or b"\\u" in body:
        return None
    try:
        root = orjson.loads(body)
        members = root["objects"]
        if not isinstance(members, list) or not 0 < len(members) <= limits.members:
            return None
        frame = orjson.dumps({**root, "objects": []})
        texts = [orjson.dumps(member) for member in members]
    except (ValueError, TypeError, KeyError):
        return None
    before, _, after = frame.partition(b'"objects":[]')
    if body != b"".join((before, b'"objects":[', b",".join(texts), b"]", after)):
        return None
    if any(text.count(b"[") + text.count(b"{") > limits.depth for text in (frame, *texts)):
        return None
    bundle_spec = _bundle_spec(root)
    return [Item(member, text, bundle_spec) for member, text in zip(members, texts, strict=True)]


def _bundle_spec(root: dict[str, Any]) -> str | None:
    spec = root.get("spec_version") if root.get("type") == "bundle" else None
    return spec if isinstance(spec, str) else None


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is, in I-JSON (RFC 7493). Raises BadContent for anything else."""
    text = _decoded(body)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise BadContent(f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from error
    except RecursionError as error:
        raise BadContent("the body is nested too deeply") from error
    if not isinstance(value, dict):
        raise BadContent("the root of the body is not an object")
    _refuse_lone_surrogates(value)
    return value


def _decoded(body: bytes) -> str:
    if body.startswith(b"\xef\xbb\xbf"):
        raise BadContent("the body begins with a byte order mark; send JSON in UTF-8 without one (RFC 8259, 8.1)")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadContent(f"the body is not UTF-8 (byte {error.start})") from error


def _too_deep(limit: int) -> BadContent:
    return BadContent(f"the body is nested too deeply: at most {limit} levels inside one object (max_json_depth)")


class _Root:
    """A cursor over the root object of a body."""

    def __init__(self, text: str, limits: JsonLimits) -> None:
        self._text = text
        self._limits = limits
        self._position = 0
        # Without such an escape the decoder cannot have made a surrogate: UTF-8 holds none.
        self._surrogates = _SURROGATE.search(text) is not None

    def items(self) -> list[Item]:
        root = self._members()
        if "objects" not in root:
            raise BadContent("the body has no `objects`: an envelope or a bundle with at least one object is expected")
        objects = root["objects"]
        if not isinstance(objects, _Slices):
            raise BadContent("`objects` is not a list")
        if not objects.members:
            raise BadContent("`objects` is empty: at least one object is expected")
        bundle_spec = _bundle_spec(root)
        return [Item(value, raw, bundle_spec) for value, raw in objects.members]

    def _members(self) -> dict[str, Any]:
        """The members of the root, `objects` as slices when it is a list."""
        if self._peek() != "{":
            raise BadContent("the root of the body is not an object: an envelope or a bundle is expected")
        members: dict[str, Any] = {}
        for _ in self._until("}"):
            if self._peek() != '"':
                raise self._error("Expecting property name enclosed in double quotes")
            name = self._value()[0]
            if self._peek() != ":":
                raise self._error("Expecting ':' delimiter")
            self._position += 1
            if name in members:
                raise _twice(name)
            is_list = self._peek() == "["
            members[name] = self._slices() if name == "objects" and is_list else self._value()[0]
        if self._peek():
            raise self._error("Extra data")
        return members

    def _slices(self) -> _Slices:
        members: list[tuple[Any, bytes]] = []
        for _ in self._until("]"):
            if len(members) == self._limits.members:
                most = f"{self._limits.members} members (max_objects_per_post)"
                raise BadContent(f"`objects` has more than {most}; send them in several requests")
            value, text = self._value()
            members.append((value, _without_lines(text).encode("utf-8")))
        return _Slices(members)

    def _until(self, close: str) -> Iterator[None]:
        """Stops before each member of the list or object that opens here; ends behind the closing bracket."""
        self._position += 1
        if self._peek() != close:
            yield
            while self._peek() == ",":
                self._position += 1
                yield
            if self._peek() != close:
                raise self._error("Expecting ',' delimiter")
        self._position += 1

    def _value(self) -> tuple[Any, str]:
        """The value at the cursor and its text."""
        start = _SPACE.match(self._text, self._position).end()  # type: ignore[union-attr]
        value, self._position = _DECODER.raw_decode(self._text, start)
        text = self._text[start : self._position]
        most = self._limits.depth
        if text.count("[") + text.count("{") > most and _depth(text) > most:
            raise _too_deep(most)
        if self._surrogates and _SURROGATE.search(text):
            _refuse_lone_surrogates(value)
        return value, text

    def _peek(self) -> str:
        """The next character that is no white space, empty at the end; the cursor moves there."""
        self._position = _SPACE.match(self._text, self._position).end()  # type: ignore[union-attr]
        return self._text[self._position : self._position + 1]

    def _error(self, message: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(message, self._text, self._position)


@dataclass(frozen=True, slots=True)
class _Slices:
    members: list[tuple[Any, bytes]]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _twice(Counter(name for name, _ in pairs).most_common(1)[0][0])
    return members


def _twice(name: str) -> BadContent:
    return BadContent(f"the name {name[:60]!r} occurs twice in one object (I-JSON, RFC 7493, 2.3)")


def _integer(text: str) -> int:
    # Integers of any size are kept; those beyond every double are refused, as other parsers cannot read them.
    if len(text) > DOUBLE_DIGITS:
        _float(text)
    return int(text)


def _float(text: str) -> float:
    if len(text) > MAX_NUMBER_CHARS:
        raise BadContent(f"a number has {len(text)} characters, at most {MAX_NUMBER_CHARS} are expected")
    number = float(text)
    if math.isinf(number):
        raise BadContent(f"the number {text[:60]} is too large (I-JSON, RFC 7493, 2.2)")
    return number


def _no_constant(text: str) -> Any:
    raise BadContent(f"{text} is not a JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_no_constant
)


def _without_lines(text: str) -> str:
    """The same tokens without line breaks and what surrounds them.

    Safe because a JSON string cannot hold a line break: white space next to one is never part of a string.
    """
    if "\n" in text or "\r" in text:
        return "".join(line.strip(" \t") for line in text.replace("\r", "\n").split("\n"))
    return text


def _depth(text: str) -> int:
    """How deep a valid JSON text is nested."""
    brackets = _STRING.sub("", text).encode("utf-8").translate(_STEPS, _NO_BRACKETS)
    return max(accumulate(array("b", brackets)), default=0)


def _refuse_lone_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadContent("a string holds a lone surrogate (I-JSON, RFC 7493, 2.1)") from error

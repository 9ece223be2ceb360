"""One digest for all texts of one JSON value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taxii_server.stix.canonical import digest

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_JSON = st.recursive(
    st.none() | st.booleans() | _NUMBER | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)
_OBJECT = st.dictionaries(_TEXT, _JSON, max_size=5)


def _turned(value: Any) -> Any:
    """The same value with every member in the opposite place and whole numbers written the other way."""
    if isinstance(value, dict):
        return {name: _turned(value[name]) for name in reversed(value)}
    if isinstance(value, list):
        return [_turned(member) for member in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**53:
        return float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


@settings(deadline=None)
@given(_OBJECT)
def test_order_and_form_of_numbers_do_not_matter(value: dict[str, Any]) -> None:
    assert digest(_turned(value)) == digest(value)


@settings(deadline=None)
@given(_OBJECT)
def test_white_space_and_escapes_do_not_matter(value: dict[str, Any]) -> None:
    assert digest(json.loads(json.dumps(value, indent=3))) == digest(value)


def _comparable(value: Any) -> Any:
    """Python calls true and 1 equal; JSON does not."""
    if isinstance(value, dict):
        return {name: _comparable(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_comparable(member) for member in value]
    return (isinstance(value, bool), value)


@settings(deadline=None)
@given(_OBJECT, _OBJECT)
def test_equal_digests_mean_equal_values(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (digest(one) == digest(other)) == (_comparable(one) == _comparable(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "1.0"),
        ("1", "1e0"),
        ("0", "-0.0"),
        ("100", "1E2"),
        ("10000000000000000", "1e16"),
        ("10000000000000000000000", "1e22"),
        ("0.1", "0.10"),
        ('"\\u00e9"', '"é"'),
        ('"\\/"', '"/"'),
    ],
)
def test_equal(one: str, other: str) -> None:
    for frame in ('{"a":%s}', '{"a":[%s]}', '{"a":[0,%s,0]}', '{"a":{"b":%s},"c":123456789012345678901234567890}'):
        assert digest(json.loads(frame % one)) == digest(json.loads(frame % other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "true"),
        ("0", "false"),
        ("1", '"1"'),
        ("null", '""'),
        ("[]", "{}"),
        ("9007199254740993", "9007199254740992"),
        ("123456789012345678901234567890", "123456789012345678901234567891"),
        ("0.1", "0.2"),
        ("[1,2]", "[2,1]"),
        ('"e5,1.0,"', '"e5,1,"'),
    ],
)
def test_not_equal(one: str, other: str) -> None:
    assert digest(json.loads(f'{{"a":{one}}}')) != digest(json.loads(f'{{"a":{other}}}'))

"""One form for all texts of the same JSON value."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import orjson

_NESTED = frozenset({dict, list})


def canonical_bytes(value: dict[str, Any] | list[Any]) -> bytes:
    """The same bytes for equal JSON objects or lists, whatever the key order, white space, escapes or form of numbers.

    1, 1.0 and 1e0 are equal; integers of any size compare exactly; other numbers compare as IEEE 754 doubles.
    Made for comparing, not for sending.
    """
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        if not _holds_whole_float(value):
            return text
    except TypeError:  # an integer beyond 64 bits
        pass
    plain = _whole_numbers(value)
    try:
        return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")


def digest(value: dict[str, Any] | list[Any]) -> bytes:
    """SHA-256 over `canonical_bytes`."""
    return sha256(canonical_bytes(value)).digest()


def _holds_whole_float(value: dict[str, Any] | list[Any]) -> bool:
    members = value.values() if isinstance(value, dict) else value
    # All types at once, and no look at the text: 1.5 us less an object.
    kinds = set(map(type, members))
    if float in kinds and any(isinstance(each, float) and each.is_integer() for each in members):
        return True
    return not kinds.isdisjoint(_NESTED) and any(_holds_whole_float(each) for each in members if type(each) in _NESTED)


def _whole_numbers(value: Any) -> Any:
    """A copy in which floats without a fraction are integers."""
    if isinstance(value, dict):
        return {name: _whole_numbers(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(member) for member in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value

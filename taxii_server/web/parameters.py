"""The query string of a read: its form is checked here, its meaning in service (TAXII 2.1, 3.4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from taxii_server.errors import BadQuery
from taxii_server.service.query import Filters, VersionChoice
from taxii_server.stix.filters import KINDS, Condition, read_condition
from taxii_server.times import asked_instant_key, format_position, parse_instant

_SPEC_VERSION = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}")
_INTEGER = re.compile(r"[0-9]+")
_MATCH = re.compile(r"match\[.*\]")
_PAGING = frozenset({"added_after", "limit", "next"})
#: No page is larger than this, whatever is asked for; longer digits are not even read.
_HUGE = 10**9

#: The match fields by endpoint (TAXII 2.1, tables of 5.3 to 5.8), and the optional ones (stix/filters.py).
_STANDARD = frozenset({"id", "type", "version", "spec_version"})
OPTIONAL_FIELDS = frozenset(KINDS)
EVERY_FIELD = _STANDARD | OPTIONAL_FIELDS
#: Of one object, read and deleted. Nothing is deleted by what it says.
OBJECT_FIELDS = frozenset({"version", "spec_version"}) | OPTIONAL_FIELDS
DELETE_FIELDS = frozenset({"version", "spec_version"})
VERSIONS_FIELDS = frozenset({"spec_version"})


class Limits(NamedTuple):
    """What the settings say about query strings."""

    max_values: int
    reject_unknown_match: bool
    max_parameters: int = 32


class ReadParameters(NamedTuple):
    """The parameters of one request. `filters` is None when no match field was given."""

    filters: Filters | None
    added_after: int | None
    limit: int | None
    next: str | None


def read_parameters(raw: bytes, fields: frozenset[str], limits: Limits, *, paging: bool = True) -> ReadParameters:
    """The parameters that an endpoint with these match fields defines.

    Raises BadQuery for a malformed one. Others are ignored: parameters that no endpoint defines, and
    match fields that this endpoint does not (unless the settings say to reject unknown ones).
    """
    if raw.count(b"&") >= limits.max_parameters:
        raise BadQuery("query string", f"more than {limits.max_parameters} parameters (max_query_parameters)")
    given = _pairs(raw)
    if limits.reject_unknown_match:
        for name in given:
            if _MATCH.fullmatch(name) and _field(name) not in EVERY_FIELD:
                known_names = f"{', '.join(sorted(_STANDARD))}; optional ones: {', '.join(KINDS)}"
                raise BadQuery(name, f"unknown match field (known: {known_names})")
    once: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for name, values in given.items():
        if (field := _field(name)) in fields:
            lists[field] = _values(name, _once(name, values), limits.max_values)
        elif paging and name in _PAGING:
            once[name] = _once(name, values)
    return ReadParameters(
        filters=_filters(lists) if lists else None,
        added_after=_read(once, "added_after", _added_after),
        limit=_read(once, "limit", _limit),
        next=once.get("next"),
    )


def _field(name: str) -> str:
    """The match field that a parameter names; empty for every other parameter."""
    return name[6:-1] if name.startswith("match[") and name.endswith("]") else ""


def _pairs(raw: bytes) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    for pair in raw.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            given.setdefault(_decode(name), []).append(_decode(value))
    return given


def _decode(raw: bytes) -> str:
    try:
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise BadQuery("query string", "not UTF-8") from None


def _once(name: str, values: list[str]) -> str:
    if len(values) > 1:
        raise BadQuery(name, "given more than once; list several values of a match field with commas")
    if not values[0]:
        raise BadQuery(name, "has no value")
    return values[0]


def _read(once: Mapping[str, str], name: str, read: Callable[[str], int]) -> int | None:
    return read(once[name]) if name in once else None


def _added_after(text: str) -> int:
    try:
        instant = parse_instant(_with_plus(text))
        # The answer to an empty page names this instant in UTC: an offset must not push it out of the calendar.
        format_position(instant)
    except ValueError:
        raise BadQuery("added_after", "not a timestamp such as 2026-01-31T12:00:00.000000Z") from None
    return instant


def _with_plus(text: str) -> str:
    """A '+' before the offset that was not percent-encoded arrives as a space: 2020-01-01T00:00:00 00:00."""
    return "+".join(text.rsplit(" ", 1)) if re.search(r"\d \d\d:?\d\d$", text) else text


def _limit(text: str) -> int:
    if not _INTEGER.fullmatch(text) or not text.strip("0"):
        raise BadQuery("limit", "not a whole number greater than 0")
    return _HUGE if len(text.lstrip("0")) > 9 else int(text)


def _values(name: str, text: str, max_values: int) -> tuple[str, ...]:
    values = tuple(text.split(","))
    if len(values) > max_values:
        raise BadQuery(name, f"more than {max_values} values (max_ids_per_match); ask in several requests")
    if any(not value or value != value.strip() for value in values):
        raise BadQuery(name, "has an empty value or a space around one")
    return values


def _filters(lists: Mapping[str, tuple[str, ...]]) -> Filters:
    spec_versions = lists.get("spec_version")
    for value in spec_versions or ():
        if not _SPEC_VERSION.fullmatch(value):
            raise BadQuery("match[spec_version]", "not of the form 2.1")
    return Filters(
        ids=_distinct(lists.get("id")),
        types=_distinct(lists.get("type")),
        spec_versions=_distinct(spec_versions),
        versions=_versions(lists["version"]) if "version" in lists else None,
        conditions=tuple([_condition(name, lists[name]) for name in sorted(OPTIONAL_FIELDS.intersection(lists))]),
    )


def _condition(name: str, texts: tuple[str, ...]) -> Condition:
    try:
        return read_condition(name, texts)
    except ValueError as error:
        raise BadQuery(f"match[{name}]", str(error)) from None


def _versions(values: tuple[str, ...]) -> VersionChoice:
    keys: list[str] = []
    words: list[str] = []
    for value in values:
        if value in ("first", "last", "all"):
            words.append(value)
            continue
        try:
            keys.append(asked_instant_key(_with_plus(value)))
        except ValueError:
            raise BadQuery(
                "match[version]", "a value is neither first, last, all nor a timestamp such as 2026-01-31T12:00:00.000Z"
            ) from None
    if len(set(words)) < len(words) or len(set(keys)) < len(keys):
        raise BadQuery("match[version]", "the same version is given twice")
    if "all" in words and len(values) > 1:
        raise BadQuery("match[version]", "'all' stands alone")
    return VersionChoice("first" in words, "last" in words, "all" in words, tuple(sorted(keys)))


def _distinct(values: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(sorted(set(values)))

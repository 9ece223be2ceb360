"""Copies of any object: made up ones with any granular markings, and those of real feeds."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stix2
from hypothesis import given, settings
from hypothesis import strategies as st

from taxii_server.errors import InvalidObject
from taxii_server.model import Removal
from taxii_server.stix.derive import Maker, can_derive, derive, hub_identity, takes_away
from taxii_server.stix.parse import Item, read_envelope
from taxii_server.stix.selectors import path_of, resolves, selector_of
from taxii_server.stix.validate import read_object, read_spec_version
from taxii_server.stix.whole import fixed_properties

DATA = Path(os.environ.get("TAXII_TEST_DATA", "/work/shared/data"))
BOTH = frozenset({"2.0", "2.1"})

UUID = "45eee277-2d76-4079-91d0-0061a443bac6"
RED, GREEN = f"marking-definition--1{UUID[1:]}", f"marking-definition--2{UUID[1:]}"
MAKER = Maker(b"secret", hub_identity(b"secret"))
CREATED, MODIFIED = "2020-01-01T00:00:00.000Z", "2020-01-02T00:00:00.000Z"

INDICATOR = {
    "type": "indicator",
    "spec_version": "2.1",
    "id": f"indicator--{UUID}",
    "created": "2016-03-29T20:52:52.716Z",
    "modified": "2016-03-29T20:52:52.716Z",
    "created_by_ref": f"identity--{UUID}",
    "pattern": "[file:name = 'a']",
    "pattern_type": "stix",
    "valid_from": "2016-03-29T20:52:52Z",
    "object_marking_refs": [GREEN],
}


def _without(value: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: member for name, member in value.items() if name not in names}


REQUIRED = {"type", "spec_version", "id", "created", "modified", "pattern", "pattern_type", "valid_from", "revoked"}
REQUIRED |= {"object_marking_refs"}


def _parts(place: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every part of an object and where it stands."""
    members = place.items() if isinstance(place, dict) else enumerate(place) if isinstance(place, list) else ()
    for step, member in members:
        yield (*path, step), member
        yield from _parts(member, (*path, step))


def _leaves(place: Any) -> list[str]:
    return [part for _, part in _parts(place) if isinstance(part, str)]


def _named(structure: Any, prefix: str) -> Any:
    """The structure with a text of its own in each of its leaves."""
    if isinstance(structure, dict):
        return {name: _named(member, f"{prefix}.{name}") for name, member in structure.items()}
    if isinstance(structure, list):
        return [_named(member, f"{prefix}.{index}") for index, member in enumerate(structure)]
    return f"<{prefix}>"


LEAF = st.just("")
NAMES = st.sampled_from(["a_1", "b_2", "c_3", "0"])
CUSTOM = st.recursive(
    LEAF,
    lambda inside: st.lists(inside, min_size=1, max_size=4) | st.dictionaries(NAMES, inside, min_size=1, max_size=3),
    max_leaves=8,
)
REFERENCE = st.fixed_dictionaries(
    {"source_name": LEAF, "description": LEAF}, optional={"external_id": LEAF, "x_more": CUSTOM}
)
OPTIONAL = st.fixed_dictionaries(
    {},
    optional={
        "name": LEAF,
        "description": LEAF,
        "labels": st.lists(LEAF, min_size=1, max_size=4),
        "external_references": st.lists(REFERENCE, min_size=1, max_size=3),
        "kill_chain_phases": st.lists(st.just({"kill_chain_name": "", "phase_name": ""}), min_size=1, max_size=3),
        "x_one": CUSTOM,
        "x_two": CUSTOM,
    },
)


@st.composite
def marked_indicators(draw: st.DrawFn) -> dict[str, Any]:
    """A valid indicator, every optional leaf another text, with markings and languages on any of its parts."""
    value = INDICATOR | {"revoked": draw(st.booleans())} | _named(draw(OPTIONAL), "leaf")
    # Mostly what may go, so that there are copies to look at.
    rare = [selector_of(path) for path, _ in _parts(value) if path[0] in REQUIRED]
    usual = [selector_of(path) for path, _ in _parts(value) if path[0] not in REQUIRED]
    selectors = st.sampled_from(usual * 20 + rare)
    marks = st.sampled_from([{"marking_ref": RED}, {"marking_ref": RED}, {"marking_ref": GREEN}, {"lang": "fr"}])
    entry = st.tuples(marks, st.lists(selectors, min_size=1, max_size=4, unique=True))
    markings = draw(st.lists(entry, min_size=1, max_size=5))
    return value | {"granular_markings": [mark | {"selectors": names} for mark, names in markings]}


def _expected_leaves(value: dict[str, Any], hidden: list[tuple[str | int, ...]]) -> list[str]:
    """The texts that stay, told in another way than the code does: leaf by leaf."""

    def covered(path: tuple[str | int, ...]) -> bool:
        return any(path[: len(each)] == each for each in hidden)

    def broken(path: tuple[str | int, ...]) -> bool:
        if path[0] == "external_references" and len(path) > 1:
            item = value["external_references"][path[1]]
            names = {name for name in item if not covered((*path[:2], name))}
            return "source_name" not in names or not names & {"description", "external_id"}
        if path[0] == "kill_chain_phases" and len(path) > 1:
            item = value["kill_chain_phases"][path[1]]
            return any(covered((*path[:2], name)) for name in item)
        return False

    def touched(path: tuple[str | int, ...]) -> bool:
        return any(each[:2] == path[:2] for each in hidden)

    return [
        part
        for path, part in _parts(value)
        if isinstance(part, str) and not covered(path) and not (touched(path) and broken(path))
    ]


@settings(max_examples=250, deadline=None)
@given(marked_indicators())
def test_any_marked_object_has_a_valid_copy_without_the_marked_parts(value: dict[str, Any]) -> None:
    read_object(Item(value, b"", None), "structure", BOTH)
    hidden = [
        path
        for marking in value["granular_markings"]
        if marking.get("marking_ref") == RED
        for selector in marking["selectors"]
        if (path := path_of(selector, value)) is not None
    ]
    removal = Removal(markings=frozenset({RED}))
    assert takes_away(value, removal) == bool(hidden)
    if not hidden:
        return
    derived = derive(value, removal, MAKER, CREATED, MODIFIED)
    assert (derived is not None) == can_derive(value, removal, "2.1")
    assert (derived is None) == any(path[0] in REQUIRED for path in hidden)
    if derived is None:
        return
    copy = json.loads(derived.content)

    # Exactly the texts that may stay, in their order; no text of a removed part anywhere.
    new = ("granular_markings", "id", "created", "modified", "created_by_ref")
    left = _expected_leaves(_without(value, *new), hidden)
    assert _leaves(_without(copy, *new)) == left
    gone = set(_leaves(_without(value, *new))) - set(left)
    assert not [text for text in gone if text.encode() in derived.content]

    # Nothing is empty, every selector names what it named before, and no marking of removed parts stays.
    assert all(part not in ([], {}) for _, part in _parts(copy))
    for marking in copy.get("granular_markings", []):
        assert marking.get("marking_ref") != RED
        assert all(resolves(selector, copy) for selector in marking["selectors"])
    assert _marked_leaves(copy, set(left)) == _marked_leaves(value, set(left))

    # Valid for others.
    stix2.parse(_without(copy, "granular_markings"), allow_custom=True)
    stix2.parse(json.loads(derived.relation))


def _marked_leaves(value: dict[str, Any], left: set[str]) -> set[tuple[str, str]]:
    """(text, its marking or language) of those texts of a marked object that stay and are told apart by their text."""
    found = set()
    for marking in value.get("granular_markings", []):
        for selector in marking["selectors"]:
            path = path_of(selector, value)
            assert path is not None
            if path != ("created_by_ref",):
                part: Any = value
                for step in path:
                    part = part[step]
                texts = [part] if isinstance(part, str) else _leaves(part)
                mark = marking.get("marking_ref") or marking["lang"]
                found |= {(text, mark) for text in texts if text in left and text.startswith("<")}
    return found


@settings(max_examples=100, deadline=None)
@given(marked_indicators())
def test_ni_24_any_other_secrets_in_any_object_give_the_same_copy(value: dict[str, Any]) -> None:
    hidden = [
        path_of(selector, value)
        for marking in value["granular_markings"]
        if marking.get("marking_ref") == RED
        for selector in marking["selectors"]
    ]
    other = json.loads(json.dumps(value))
    for path, part in list(_parts(other)):
        optional = isinstance(part, str) and part.startswith("<")
        if optional and any(each and path[: len(each)] == each for each in hidden):
            place: Any = other
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = f"another {part}"
    if hidden:
        one, two = (
            derive(each, Removal(markings=frozenset({RED})), MAKER, CREATED, MODIFIED) for each in (value, other)
        )
        assert one == two


FILES = sorted(path for folder in ("markings", "oasis") for path in DATA.glob(f"{folder}/*.json*"))


def _real(path: Path) -> Iterator[dict[str, Any]]:
    body = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    root = json.loads(body)
    wrapped = body if "objects" in root else b'{"objects":' + (body if isinstance(root, list) else b"[" + body + b"]")
    for item in read_envelope(wrapped if "objects" in root else wrapped + b"}"):
        try:
            yield read_object(item, "structure", BOTH).value
        except InvalidObject:
            continue


@pytest.mark.skipif(not FILES, reason=f"no data in {DATA}")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_real_objects_lose_each_of_their_markings_and_properties(path: Path) -> None:
    for value in _real(path):
        spec_version = read_spec_version(value, None)
        for marking in {each["marking_ref"] for each in value.get("granular_markings", []) if "marking_ref" in each}:
            _check_real(value, Removal(markings=frozenset({marking})))
        fixed = fixed_properties(value, spec_version)
        for name in value.keys() - {"created_by_ref"}:
            copy = _check_real(value, Removal(properties=frozenset({name})))
            assert (copy is None) == (name in fixed), (value["id"], name)
            assert copy is None or name not in copy


def _check_real(value: dict[str, Any], removal: Removal) -> dict[str, Any] | None:
    derived = derive(value, removal, MAKER, CREATED, MODIFIED)
    if derived is None:
        return None
    copy: dict[str, Any] = json.loads(derived.content)
    read_object(Item(copy, derived.content, None), "structure", BOTH)
    if derived.relation:
        read_object(Item(json.loads(derived.relation), derived.relation, None), "schema", BOTH)
    try:
        read_object(Item(value, b"", None), "schema", BOTH)
    except InvalidObject:
        return copy
    read_object(Item(copy, derived.content, None), "schema", BOTH)
    return copy


@pytest.mark.skipif(not FILES, reason=f"no data in {DATA}")
def test_the_example_of_oasis_loses_its_parts_one_by_one() -> None:
    value = next(each for each in _real(DATA / "markings/oasis-using-granular-markings.json") if "pattern" in each)
    white, green, amber = (marking["marking_ref"] for marking in value["granular_markings"])
    first, second, third = (
        derive(value, Removal(markings=frozenset({each})), MAKER, CREATED, MODIFIED) for each in (white, green, amber)
    )
    assert first is not None
    assert "description" not in json.loads(first.content)
    assert second is not None
    assert json.loads(second.content)["indicator_types"] == ["malicious-activity"]
    assert third is None  # it marks the pattern

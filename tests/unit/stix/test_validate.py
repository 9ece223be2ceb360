"""One object: what is read off it, what is refused with which words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from taxii_server.errors import InvalidObject
from taxii_server.stix import schema, validate
from taxii_server.stix.parse import Item, read_envelope
from taxii_server.stix.validate import Checked, Strictness, read_object

UUID = "45eee277-2d76-4079-91d0-0061a443bac6"
MARKING = f"marking-definition--{UUID}"
BOTH = frozenset({"2.0", "2.1"})

INDICATOR: dict[str, Any] = {
    "type": "indicator",
    "spec_version": "2.1",
    "id": f"indicator--{UUID}",
    "created": "2016-03-29T20:52:52.716Z",
    "modified": "2016-03-29T20:52:52.7160Z",
    "pattern": "[file:name = 'a']",
    "pattern_type": "stix",
    "valid_from": "2016-03-29T20:52:52Z",
    "external_references": [{"source_name": "s", "url": "https://example.org/"}],
}


def _read(value: Any, strictness: Strictness = "structure", bundle_spec: str | None = None) -> Checked:
    return read_object(Item(value, json.dumps(value).encode(), bundle_spec), strictness, BOTH, "me")


def _without(*names: str) -> dict[str, Any]:
    return {name: member for name, member in INDICATOR.items() if name not in names}


def _sco(**more: Any) -> dict[str, Any]:
    return {"type": "ipv4-addr", "id": f"ipv4-addr--{UUID}", "value": "10.0.0.1"} | more


@pytest.mark.parametrize("strictness", ["structure", "schema"])
def test_a_good_object_gives_its_columns(strictness: Strictness) -> None:
    checked = _read(INDICATOR | {"created_by_ref": f"identity--{UUID}"}, strictness)
    assert (checked.id, checked.type, checked.spec_version) == (f"indicator--{UUID}", "indicator", "2.1")
    assert checked.version == "2016-03-29T20:52:52.7160Z"
    assert checked.version_key == "2016-03-29T20:52:52.716"
    assert len(checked.digest) == 32
    assert (checked.hard_refs, checked.soft_refs, checked.marking_definition) == ((), (), None)


def test_the_posted_text_is_handed_on() -> None:
    text = json.dumps(INDICATOR | {"x_number": 1.50, "x_big": 10**30}).replace("1.5", "1.50")
    (item,) = read_envelope(b'{"objects":[' + text.encode() + b"]}")
    assert read_object(item, "schema", BOTH).raw == text.encode()


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "type missing": (_without("type"), "type", "missing"),
    "type upper case": (INDICATOR | {"type": "Indicator"}, "type", "'Indicator' is not a STIX type"),
    "type not a text": (INDICATOR | {"type": ["indicator"]}, "type", "a list"),
    "type empty": (INDICATOR | {"type": ""}, "type", "not a STIX type"),
    "type with two hyphens": (INDICATOR | {"type": "x--y", "id": f"x--y--{UUID}"}, "type", "'x--y'"),
    "type too long": (INDICATOR | {"type": "a" * 251}, "type", "250"),
    "type that makes patterns explode": (INDICATOR | {"type": "a" * 249 + "!"}, "type", "not a STIX type"),
    "bundle": ({"type": "bundle", "id": f"bundle--{UUID}", "objects": []}, "type", "bundle"),
    "id missing": (_without("id"), "id", "missing"),
    "id not a text": (INDICATOR | {"id": 5}, "id", "5 is not"),
    "id of another type": (INDICATOR | {"id": f"malware--{UUID}"}, "id", "indicator--UUID"),
    "id upper case": (INDICATOR | {"id": f"indicator--{UUID.upper()}"}, "id", "lower case"),
    "id without hyphens": (INDICATOR | {"id": f"indicator--{UUID.replace('-', '')}"}, "id", "lower case"),
    "id with more behind": (INDICATOR | {"id": f"indicator--{UUID}\n"}, "id", "lower case"),
    "id with a fullwidth digit": (INDICATOR | {"id": f"indicator--\uff11{UUID[1:]}"}, "id", "lower case"),
    "spec_version unknown": (INDICATOR | {"spec_version": "3.0"}, "spec_version", "'3.0'"),
    "spec_version a number": (INDICATOR | {"spec_version": 2.1}, "spec_version", "2.1 is not"),
    "created null": (INDICATOR | {"created": None}, "created", "null"),
    "created without zone": (INDICATOR | {"created": "2016-03-29T20:52:52.716"}, "created", "timestamp"),
    "created on no day": (INDICATOR | {"created": "2016-02-30T20:52:52.716Z"}, "created", "2016-02-30"),
    "modified null": (INDICATOR | {"modified": None}, "modified", "null"),
    "modified null without created": (_without("created") | {"modified": None}, "modified", "null"),
    "modified a number": (INDICATOR | {"modified": 20160329}, "modified", "20160329"),
    "modified endless": (INDICATOR | {"modified": f"2016-03-29T20:52:52.{'1' * 99}Z"}, "modified", "characters"),
    "revoked a text": (INDICATOR | {"revoked": "false"}, "revoked", "'false'"),
    "revoked null": (INDICATOR | {"revoked": None}, "revoked", "null"),
    "creator no identity": (INDICATOR | {"created_by_ref": MARKING}, "created_by_ref", "identity--UUID"),
    "labels a text": (INDICATOR | {"labels": "tlp:red"}, "labels", "'tlp:red'"),
    "labels empty": (INDICATOR | {"labels": []}, "labels", "an empty list"),
    "label a number": (INDICATOR | {"labels": ["a", 1]}, "labels[1]", "found 1"),
    "confidence a text": (INDICATOR | {"confidence": "90"}, "confidence", "'90'"),
    "confidence true": (INDICATOR | {"confidence": True}, "confidence", "true"),
    "confidence 101": (INDICATOR | {"confidence": 101}, "confidence", "0 to 100"),
    "extensions a list": (INDICATOR | {"extensions": []}, "extensions", "an empty list"),
    "extension a text": (INDICATOR | {"extensions": {"x": "y"}}, "extensions.x", "'y'"),
    "markings a text": (INDICATOR | {"object_marking_refs": MARKING}, "object_marking_refs", "a list"),
    "markings empty": (INDICATOR | {"object_marking_refs": []}, "object_marking_refs", "an empty list"),
    "marking upper case": (
        INDICATOR | {"object_marking_refs": [MARKING, MARKING.upper()]},
        "object_marking_refs[1]",
        "lower case",
    ),
    "marking of another type": (
        INDICATOR | {"object_marking_refs": [f"identity--{UUID}"]},
        "object_marking_refs[0]",
        "marking-definition--UUID",
    ),
    "granular an object": (INDICATOR | {"granular_markings": {}}, "granular_markings", "a list"),
    "granular a text": (INDICATOR | {"granular_markings": ["x"]}, "granular_markings[0]", "an object"),
    "granular without selectors": (
        INDICATOR | {"granular_markings": [{"marking_ref": MARKING}]},
        "granular_markings[0].selectors",
        "missing",
    ),
    "granular that selects nothing": (
        INDICATOR | {"granular_markings": [{"marking_ref": MARKING, "selectors": ["pattern", "name"]}]},
        "granular_markings[0].selectors[1]",
        "'name' selects nothing",
    ),
    "granular with a number as selector": (
        INDICATOR | {"granular_markings": [{"marking_ref": MARKING, "selectors": [1]}]},
        "granular_markings[0].selectors[0]",
        "a text",
    ),
    "granular with both": (
        INDICATOR | {"granular_markings": [{"marking_ref": MARKING, "lang": "en", "selectors": ["pattern"]}]},
        "granular_markings[0]",
        "exactly one",
    ),
    "granular with neither": (
        INDICATOR | {"granular_markings": [{"selectors": ["pattern"]}]},
        "granular_markings[0]",
        "exactly one",
    ),
    "granular with a bad marking": (
        INDICATOR | {"granular_markings": [{"marking_ref": "red", "selectors": ["pattern"]}]},
        "granular_markings[0].marking_ref",
        "'red'",
    ),
    "granular with a bad language": (
        INDICATOR | {"granular_markings": [{"lang": 1, "selectors": ["pattern"]}]},
        "granular_markings[0].lang",
        "a text",
    ),
}


@pytest.mark.parametrize("strictness", ["structure", "schema"])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_object_is_refused_with_its_property(name: str, strictness: Strictness) -> None:
    value, path, message = BAD[name]
    with pytest.raises(InvalidObject) as refusal:
        _read(value, strictness)
    assert refusal.value.property_path == path
    assert message in str(refusal.value)
    assert len(str(refusal.value)) < 350


@pytest.mark.parametrize("value", [None, 5, "indicator", [], [INDICATOR], True])
def test_a_member_that_is_no_object_is_refused(value: Any) -> None:
    with pytest.raises(InvalidObject, match="a STIX object is expected, found"):
        _read(value)


def test_an_object_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "OBJECT_MAX_BYTES", 300)
    with pytest.raises(InvalidObject, match="bytes, at most 300"):
        _read(INDICATOR)


GOOD = {
    "custom type without x-": INDICATOR | {"type": "tool2", "id": f"tool2--{UUID}"},
    "custom type of one letter": INDICATOR | {"type": "x", "id": f"x--{UUID}"},
    "type of 250 characters": INDICATOR | {"type": "a" * 250, "id": f"{'a' * 250}--{UUID}"},
    "UUID of no version": INDICATOR | {"id": "indicator--00000000-0000-0000-0000-000000000000"},
    "UUID version 7": INDICATOR | {"id": "indicator--0190163d-8694-739b-aea5-966c26f8ad91"},
    "selector into a list": INDICATOR
    | {"granular_markings": [{"marking_ref": MARKING, "selectors": ["external_references.[0].source_name"]}]},
    "language marking": INDICATOR | {"granular_markings": [{"lang": "fr", "selectors": ["pattern"]}]},
    "confidence 50.0": INDICATOR | {"confidence": 50.0},
    "any confidence in STIX 2.0": _without("spec_version") | {"confidence": "high", "extensions": []},
    "modified before created": INDICATOR | {"created": "2020-01-01T00:00:00Z"},
    "unknown properties": INDICATOR | {"Any Name": {"a": [1, None]}},
    "seven digits": INDICATOR | {"modified": "2016-03-29T20:52:52.7160001Z"},
}


@pytest.mark.parametrize("name", GOOD)
def test_structure_takes_what_real_feeds_hold(name: str) -> None:
    assert _read(GOOD[name]).id == GOOD[name]["id"]


@pytest.mark.parametrize(
    ("value", "bundle_spec", "expected"),
    [
        (INDICATOR, None, "2.1"),
        (INDICATOR, "2.0", "2.1"),
        (_without("spec_version"), None, "2.0"),
        (_without("spec_version"), "2.1", "2.1"),
        (_without("spec_version"), "2.0", "2.0"),
        (_sco(), None, "2.1"),
        (_sco(), "2.0", "2.0"),
        (_without("spec_version", "created", "modified"), None, "2.0"),
        ({"type": "x-thing", "id": f"x-thing--{UUID}"}, None, "2.0"),
        (
            {"type": "x-thing", "id": f"x-thing--{UUID}", "extensions": {"e": {"extension_type": "new-sco"}}},
            None,
            "2.1",
        ),
        (
            {"type": "x-thing", "id": f"x-thing--{UUID}", "extensions": {"e": {"extension_type": "new-sdo"}}},
            None,
            "2.0",
        ),
        ({"type": "marking-definition", "id": MARKING, "created": "2020-01-01T00:00:00Z"}, None, "2.0"),
    ],
)
def test_spec_version(value: dict[str, Any], bundle_spec: str | None, expected: str) -> None:
    assert _read(value, bundle_spec=bundle_spec).spec_version == expected


def test_a_version_that_the_collection_does_not_take_is_refused() -> None:
    with pytest.raises(InvalidObject, match=r"spec_version: this is a STIX 2\.0 object, the collection takes 2\.1"):
        read_object(Item(_without("spec_version"), b"", None), "structure", frozenset({"2.1"}))
    with pytest.raises(InvalidObject, match="collection takes no version"):
        read_object(Item(INDICATOR, b"", None), "structure", frozenset())
    with pytest.raises(InvalidObject, match=r"'1\.2' is not a version"):
        _read(_without("spec_version"), bundle_spec="1.2")


@pytest.mark.parametrize(
    ("value", "version", "key"),
    [
        (INDICATOR, "2016-03-29T20:52:52.7160Z", "2016-03-29T20:52:52.716"),
        (_without("modified"), "2016-03-29T20:52:52.716Z", "2016-03-29T20:52:52.716"),
        (_without("created"), "2016-03-29T20:52:52.7160Z", "2016-03-29T20:52:52.716"),
        (_without("created", "modified"), None, None),
        (_sco(), None, None),
    ],
)
def test_the_version_is_modified_else_created_else_none(
    value: dict[str, Any], version: str | None, key: str | None
) -> None:
    checked = _read(value)
    assert (checked.version, checked.version_key) == (version, key)


SCHEMA_REFUSES: dict[str, tuple[dict[str, Any], str, str]] = {
    "a required property": (_without("pattern"), "pattern", "missing"),
    "created": (_without("created"), "created", "missing"),
    "a wrong type": (INDICATOR | {"pattern": 5}, "pattern", "5 is not of type"),
    "null": (INDICATOR | {"description": None}, "description", "null is no value in STIX: leave the property out"),
    "a UUID of no version": (
        INDICATOR | {"id": "indicator--00000000-0000-0000-0000-000000000000"},
        "id",
        "has no UUID of a version that there is",
    ),
    "a UUID of version 7 of another variant": (
        INDICATOR | {"id": "indicator--0190163d-8694-739b-cea5-966c26f8ad91"},
        "id",
        "has no UUID of a version that there is",
    ),
    "a UUID of version 7 in STIX 2.0": (
        _without("spec_version") | {"id": "indicator--0190163d-8694-739b-aea5-966c26f8ad91", "labels": ["benign"]},
        "id",
        "or of STIX 2.0: that is 4",
    ),
    "a UUID of version 7, and something else": (
        INDICATOR | {"id": "indicator--0190163d-8694-739b-aea5-966c26f8ad91", "pattern": 5},
        "pattern",
        "5 is not of type",
    ),
    "a reference to another type": (
        INDICATOR
        | {"type": "sighting", "id": f"sighting--{UUID}", "sighting_of_ref": f"indicator--{UUID}"}
        | {"where_sighted_refs": [f"malware--{UUID}"]},
        "where_sighted_refs[0]",
        "does not match",
    ),
    "deep": (
        INDICATOR | {"external_references": [{"url": "https://example.org/"}]},
        "external_references[0].source_name",
        "missing",
    ),
    "an extension without its id": (
        INDICATOR | {"extensions": {"x": {"extension_type": "new-sdo"}}},
        "extensions.x",
        "no property of this name",
    ),
    "a property of the draft": (INDICATOR | {"severity": 1}, "", "forbids"),
    "a custom object": (
        {"type": "x-thing", "spec_version": "2.1", "id": f"x-thing--{UUID}", "created": "2020-01-01T00:00:00.000Z"},
        "modified",
        "missing",
    ),
    "an observable": ({"type": "ipv4-addr", "id": f"ipv4-addr--{UUID}"}, "value", "missing"),
    "a TLP of another colour": (
        {
            "type": "marking-definition",
            "spec_version": "2.1",
            "id": "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9",
            "created": "2017-01-20T00:00:00.000Z",
            "name": "TLP:WHITE",
            "definition_type": "tlp",
            "definition": {"tlp": "clear"},
        },
        "definition.tlp",
        '"clear" is not one of "white"',
    ),
    "a TLP marking of another time": (
        {
            "type": "marking-definition",
            "spec_version": "2.1",
            "id": "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9",
            "created": "2020-01-20T00:00:00.000Z",
            "name": "TLP:WHITE",
            "definition_type": "tlp",
            "definition": {"tlp": "white"},
        },
        "definition_type",
        "everybody knows them",
    ),
    "labels of a STIX 2.0 indicator": (
        _without("spec_version") | {"modified": "2016-03-29T20:52:52.716Z"},
        "labels",
        "missing",
    ),
    "an observable at the top of STIX 2.0": (_sco(spec_version="2.0"), "created", "missing"),
}


@pytest.mark.parametrize("fraction", ["", ".1", ".12345", ".123456789"])
def test_the_schema_takes_any_number_of_digits(fraction: str) -> None:
    time = f"2016-05-12T08:17:27{fraction}Z"
    assert _read(INDICATOR | {"created": time, "modified": time}, "schema").version == time


@pytest.mark.parametrize("version", "12345678")
def test_the_schema_takes_every_version_of_uuids(version: str) -> None:
    """RFC 9562 has more of them than RFC 4122, which STIX 2.1, 2.9, names."""
    uuid = f"0190163d-8694-{version}39b-aea5-966c26f8ad91"
    checked = _read(
        {
            "type": "sighting",
            "spec_version": "2.1",
            "id": f"sighting--{uuid}",
            "created": "2016-03-29T20:52:52.716Z",
            "modified": "2016-03-29T20:52:52.716Z",
            "created_by_ref": f"identity--{uuid}",
            "sighting_of_ref": f"indicator--{uuid}",
            "where_sighted_refs": [f"identity--{uuid}"],
            "object_marking_refs": [f"marking-definition--{uuid}"],
            "extensions": {f"extension-definition--{uuid}": {"extension_type": "property-extension"}},
        },
        "schema",
    )
    assert checked.id == f"sighting--{uuid}"


def test_what_is_harmless_costs_no_walk_through_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[Any] = []
    monkeypatch.setattr(schema, "_with_older_uuids", lambda value: walks.append(value) or value)
    _read(INDICATOR | {"modified": "2016-05-12T08:17:27.123456Z", "Capital": 1}, "schema")
    assert walks == []
    with pytest.raises(InvalidObject):
        _read(INDICATOR | {"pattern": 5}, "schema")
    assert len(walks) == 1


def test_the_schema_takes_custom_properties_of_any_name() -> None:
    extension = {"extension_type": "property-extension", "a": 1, "Capital": {"b": 2}}
    extensions = {f"extension-definition--{UUID}": extension}
    _read(INDICATOR | {"z": 1, "Capital": {"A": 2}, "x_b": [0.5], "extensions": extensions}, "schema")


@pytest.mark.parametrize(
    "value",
    [
        INDICATOR | {"granular_markings": [{"lang": "fr", "selectors": ["pattern"]}]},
        _sco()
        | {"hashes": {"SHA-256": "0" * 64}}
        | {"granular_markings": [{"marking_ref": MARKING, "selectors": ["hashes.SHA-256"]}]},
    ],
)
def test_the_schema_takes_the_granular_markings_of_the_standard(value: dict[str, Any]) -> None:
    _read(value, "schema")


@pytest.mark.parametrize("marking", [{"selectors": ["pattern"]}, {"lang": "fr"}, {"lang": "fr", "selectors": ["No"]}])
def test_the_schema_takes_no_other_granular_markings(marking: dict[str, Any]) -> None:
    with pytest.raises(InvalidObject, match="granular_markings"):
        _read(INDICATOR | {"granular_markings": [marking]}, "schema")


def test_a_custom_object_without_times_is_held_to_what_is_asked_of_observables() -> None:
    value = {"type": "x-thing", "spec_version": "2.1", "id": f"x-thing--{UUID}", "value": "anything"}
    assert _read(value, "schema").version is None


@pytest.mark.parametrize("name", SCHEMA_REFUSES)
def test_the_schema_refuses_what_structure_takes(name: str) -> None:
    value, path, message = SCHEMA_REFUSES[name]
    _read(value, "structure")
    with pytest.raises(InvalidObject) as refusal:
        _read(value, "schema")
    assert refusal.value.property_path == path
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    "value",
    [
        _sco(),
        _without("spec_version", "modified")
        | {"labels": ["benign"], "modified": "2016-03-29T20:52:52.716Z", "valid_from": "2016-03-29T20:52:52Z"},
        INDICATOR | {"type": "x-thing", "id": f"x-thing--{UUID}"},
        INDICATOR | {"x_big": 10**300, "x_negative": -(10**30), "x_float": 1e308},
        {
            "type": "x-thing",
            "spec_version": "2.1",
            "id": f"x-thing--{UUID}",
            "extensions": {f"extension-definition--{UUID}": {"extension_type": "new-sco"}},
        },
        {
            "type": "extension-definition",
            "spec_version": "2.1",
            "id": f"extension-definition--{UUID}",
            "created": "2016-03-29T20:52:52.716Z",
            "modified": "2016-03-29T20:52:52.716Z",
            "created_by_ref": f"identity--{UUID}",
            "name": "n",
            "schema": "https://example.org/",
            "version": "1.0.0",
            "extension_types": ["new-sdo"],
        },
    ],
)
def test_the_schema_takes_good_objects(value: dict[str, Any]) -> None:
    assert _read(value, "schema").value == value


def test_deep_and_broad_objects_are_read() -> None:
    deep: Any = 1
    for _ in range(195):
        deep = [deep]
    assert _read(INDICATOR | {"x_deep": deep, "x_broad": list(range(10_000))}, "schema").id == INDICATOR["id"]


def test_any_value_in_any_place_is_taken_or_refused_in_our_words() -> None:
    names = [*INDICATOR, "revoked", "labels", "confidence", "lang", "object_marking_refs", "granular_markings"]
    strange: list[Any] = [None, 0, -1.5, 10**40, "", "x", [], {}, [None], [[]], [{}], {"a": 1}, {"": {"": None}}, True]
    messages = []
    for name in [*names, "extensions", "created_by_ref", "definition", "definition_type", "name"]:
        for found in strange:
            for base in (INDICATOR, _sco(), {"type": "marking-definition", "id": MARKING}):
                for strictness in ("structure", "schema"):
                    try:
                        _read(base | {name: found}, strictness)  # type: ignore[arg-type]
                    except InvalidObject as error:
                        messages.append(str(error))
    assert max(map(len, messages)) < 350


def test_a_marking_definition_carries_its_payload() -> None:
    value = {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": MARKING,
        "created": "2020-01-01T00:00:00.000Z",
        "definition_type": "statement",
        "definition": {"statement": "Copyright"},
    }
    assert _read(value).marking_definition == f'{{"id":"{MARKING}","kind":"statement","submitter":"me"}}'

"""Copies without the parts that a reader may not see (policy design, B.5, C7, C8, C11)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import stix2

from taxii_server.model import Removal
from taxii_server.stix.derive import Derived, Maker, can_derive, derive, hub_identity, takes_away
from taxii_server.stix.parse import Item
from taxii_server.stix.references import read_references
from taxii_server.stix.validate import read_object
from taxii_server.stix.whole import fixed_properties

DATA = Path(os.environ.get("TAXII_TEST_DATA", "/work/shared/data"))
BOTH = frozenset({"2.0", "2.1"})

UUID = "45eee277-2d76-4079-91d0-0061a443bac6"
RED, GREEN = f"marking-definition--1{UUID[1:]}", f"marking-definition--2{UUID[1:]}"
CREATOR = f"identity--3{UUID[1:]}"
MAKER = Maker(b"secret", hub_identity(b"secret"))
CREATED, MODIFIED = "2020-01-01T00:00:00.000Z", "2020-01-02T00:00:00.000Z"
TIMES = {"created": "2016-03-29T20:52:52.716Z", "modified": "2016-03-29T20:52:52.716Z"}


def _object(of_type: str, **more: Any) -> dict[str, Any]:
    return {"type": of_type, "spec_version": "2.1", "id": f"{of_type}--{UUID}", **TIMES, **more}


INDICATOR = _object(
    "indicator",
    created_by_ref=CREATOR,
    name="Name",
    description="The secret",
    pattern="[file:name = 'a']",
    pattern_type="stix",
    valid_from="2016-03-29T20:52:52Z",
    labels=["a", "b", "c"],
    object_marking_refs=[GREEN],
)


def _ref(number: int, of_type: str = "malware") -> str:
    return f"{of_type}--{number:08x}{UUID[8:]}"


def _marked(value: dict[str, Any], *selectors: str, others: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The object with these parts under a marking that is not readable, and other markings before it."""
    return value | {"granular_markings": [*(others or []), {"marking_ref": RED, "selectors": list(selectors)}]}


def _derived(value: dict[str, Any], maker: Maker = MAKER, **removal: Any) -> Derived | None:
    return derive(value, Removal(**removal or {"markings": frozenset({RED})}), maker, CREATED, MODIFIED)


def _copy(value: dict[str, Any], **removal: Any) -> dict[str, Any]:
    derived = _derived(value, **removal)
    assert derived is not None
    copy: dict[str, Any] = json.loads(derived.content)
    assert (derived.id, derived.type) == (copy["id"], copy["type"])
    return copy


def _without(value: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: member for name, member in value.items() if name not in names}


def _rest(copy: dict[str, Any]) -> dict[str, Any]:
    """The copy without what is new in every copy."""
    return _without(copy, "id", "created", "modified", "created_by_ref", "type", "spec_version")


# What a copy is


def test_a_copy_has_an_id_a_creator_and_dates_of_its_own_and_the_rest_in_the_order_of_the_original() -> None:
    derived = _derived(_marked(INDICATOR, "description"))
    assert derived is not None
    expected = _without(INDICATOR, "description") | {
        "id": derived.id,
        "created_by_ref": MAKER.identity,
        "created": CREATED,
        "modified": MODIFIED,
    }
    assert derived.content == json.dumps(expected, separators=(",", ":")).encode()
    assert derived.id.startswith("indicator--")
    assert derived.id[25] == "5"
    assert derived.id[30] in "89ab"
    assert derived.spec_version == "2.1"


def test_a_creator_is_appended_when_there_was_none() -> None:
    copy = _copy(_marked(_without(INDICATOR, "created_by_ref"), "description"))
    assert list(copy)[-1] == "created_by_ref"


def test_only_the_creator_goes() -> None:
    copy = _copy(INDICATOR, creator=True)
    assert _rest(copy) == _rest(INDICATOR)
    assert copy["created_by_ref"] == MAKER.identity
    assert CREATOR not in json.dumps(copy)
    assert copy == _copy(INDICATOR, properties=frozenset({"created_by_ref"}))
    assert copy == _copy(_marked(INDICATOR, "created_by_ref"))


def test_a_revoked_object_has_a_revoked_copy() -> None:
    assert _copy(_marked(INDICATOR | {"revoked": True}, "description"))["revoked"] is True


def test_confidence_language_extensions_and_custom_properties_stay() -> None:
    kept = {
        "confidence": 40,
        "lang": "fr",
        "external_references": [{"source_name": "s"}],
        "extensions": {f"extension-definition--{UUID}": {"extension_type": "property-extension", "a": 1.5}},
        "x_custom": {"a": [], "b": {}, "c": None},
    }
    copy = _copy(_marked(INDICATOR | kept, "description"))
    assert {name: copy[name] for name in kept} == kept


def test_integers_beyond_64_bits_survive() -> None:
    derived = _derived(_marked(INDICATOR | {"x_big": 2**70, "x_name": "\u00e9"}, "description"))
    assert derived is not None
    assert b'"x_big":1180591620717411303424,"x_name":"\xc3\xa9"' in derived.content


def test_a_part_that_is_null_can_be_removed_and_can_stay() -> None:
    copy = _copy(_marked(INDICATOR | {"x_a": {"b": None, "c": None}}, "x_a.c"))
    assert copy["x_a"] == {"b": None}


def test_the_original_is_not_changed() -> None:
    value = _marked(INDICATOR, "labels.[1]", others=[{"marking_ref": GREEN, "selectors": ["labels.[2]"]}])
    before = json.dumps(value)
    _copy(value)
    assert json.dumps(value) == before


# Ids


def test_ids_depend_on_the_object_the_secret_and_the_place_of_what_was_removed() -> None:
    value = _marked(INDICATOR, "description")
    copies = [
        _derived(value),
        _derived(value, Maker(b"other", MAKER.identity)),
        _derived(value | {"id": f"indicator--{UUID[:-1]}0"}),
        _derived(_marked(INDICATOR, "name")),
        _derived(_marked(INDICATOR, "labels")),
        _derived(_marked(INDICATOR, "labels.[0]")),
        _derived(_marked(INDICATOR, "labels.[1]")),
        _derived(INDICATOR, creator=True),
        _derived(_object("report", name="N", published=CREATED, object_refs=[_ref(1), _ref(2)]), references={_ref(1)}),
        _derived(_object("report", name="N", published=CREATED, object_refs=[_ref(1), _ref(2)]), references={_ref(2)}),
    ]
    assert None not in copies
    assert len({copy.id for copy in copies if copy}) == len(copies)
    assert len({copy.relation_id for copy in copies if copy}) == len(copies)


def test_the_same_parts_give_the_same_copy_however_they_were_named() -> None:
    copies = [
        _derived(_marked(INDICATOR, "description", "labels")),
        _derived(_marked(INDICATOR, "labels", "labels.[1]", "description")),
        _derived(INDICATOR, properties=frozenset({"labels", "description"})),
        _derived(INDICATOR, properties=frozenset({"labels", "description", "x_absent"}), creator=True),
        _derived(_marked(INDICATOR, "labels"), markings=frozenset({RED}), properties=frozenset({"description"})),
    ]
    assert copies[0] is not None
    assert copies == [copies[0]] * 5


def test_a_new_version_of_the_original_is_a_new_version_of_the_copy() -> None:
    first, second = INDICATOR, INDICATOR | {"description": "another", "name": "New name", "modified": MODIFIED}
    one, two = _derived(_marked(first, "description")), _derived(_marked(second, "description"))
    assert one is not None
    assert two is not None
    assert one.id == two.id
    assert one.content != two.content


@pytest.mark.parametrize(
    ("one", "two", "selector"),
    [
        ({"description": "x"}, {"description": "something much longer"}, "description"),
        ({"description": "x"}, {"description": {"not": ["even", "text"]}}, "description"),
        ({"labels": ["a", "x"]}, {"labels": ["a", "yy"]}, "labels.[1]"),
        ({"labels": ["x"]}, {"labels": ["y", "z"]}, "labels"),
        ({"x_a": {"b": [1, {"c": "x", "d": 1}]}}, {"x_a": {"b": [1, {"c": "yyy", "d": 1}]}}, "x_a.b.[1].c"),
    ],
)
def test_ni_24_another_secret_gives_the_same_copy(one: dict[str, Any], two: dict[str, Any], selector: str) -> None:
    first, second = _derived(_marked(INDICATOR | one, selector)), _derived(_marked(INDICATOR | two, selector))
    assert first is not None
    assert first == second


def test_another_hidden_id_gives_the_same_copy_wherever_it_stands() -> None:
    report = _object("report", name="N", published=CREATED)
    copies = [
        _derived(report | {"object_refs": refs}, references=frozenset({_ref(8), _ref(9, "ipv4-addr")}))
        for refs in (
            [_ref(1), _ref(2), _ref(9, "ipv4-addr")],
            [_ref(8), _ref(1), _ref(2)],
            [_ref(1), _ref(8), _ref(2), _ref(9, "ipv4-addr"), _ref(8)],
        )
    ]
    assert copies[0] is not None
    assert copies == [copies[0]] * 3


def test_the_hub_has_one_identity_per_secret() -> None:
    assert hub_identity(b"a") == hub_identity(b"a") != hub_identity(b"b")
    stix2.v20.Identity(id=hub_identity(b"a"), name="Hub", identity_class="organization")
    stix2.v21.Identity(id=hub_identity(b"a"), name="Hub", identity_class="organization")


# The relationship to the original


def test_a_relationship_leads_to_the_original() -> None:
    derived = _derived(_marked(INDICATOR, "description"))
    assert derived is not None
    relation = json.loads(derived.relation)
    assert relation == {
        "type": "relationship",
        "spec_version": "2.1",
        "id": derived.relation_id,
        "created_by_ref": MAKER.identity,
        "created": CREATED,
        "modified": MODIFIED,
        "relationship_type": "derived-from",
        "source_ref": derived.id,
        "target_ref": INDICATOR["id"],
        "object_marking_refs": [GREEN],
    }
    read_object(Item(relation, derived.relation, None), "schema", BOTH)
    stix2.parse(relation)


@pytest.mark.parametrize(
    "value",
    [
        _object("relationship", relationship_type="uses", source_ref=_ref(1), target_ref=_ref(2), description="s"),
        _object("sighting", sighting_of_ref=_ref(1), description="s"),
        _object(
            "x-link",
            description="s",
            extensions={f"extension-definition--{UUID}": {"extension_type": "new-sro"}},
        ),
    ],
    ids=lambda value: value["type"],
)
def test_no_relationship_starts_at_a_relationship(value: dict[str, Any]) -> None:
    derived = _derived(value, properties=frozenset({"description"}))
    assert derived is not None
    assert derived.content
    assert (derived.relation_id, derived.relation) == ("", b"")


# STIX 2.0


def test_a_stix_2_0_object_has_a_stix_2_0_copy() -> None:
    value = {
        "type": "indicator",
        "id": f"indicator--{UUID}",
        **TIMES,
        "description": "The secret",
        "labels": ["malicious-activity", "b"],
        "pattern": "[file:name = 'a']",
        "valid_from": "2016-03-29T20:52:52Z",
    }
    derived = _derived(_marked(value, "description", "labels.[1]"))
    assert derived is not None
    assert derived.spec_version == "2.0"
    copy, relation = json.loads(derived.content), json.loads(derived.relation)
    assert "spec_version" not in copy
    assert "spec_version" not in relation
    assert copy["labels"] == ["malicious-activity"]
    for each in (copy, relation):
        read_object(Item(each, b"", None), "schema", frozenset({"2.0"}))
        stix2.parse(each, version="2.0")
    assert _derived(_marked(value, "labels")) is None
    assert _derived(_marked(value, "labels.[0]", "labels.[1]")) is None


def test_the_version_that_the_object_was_stored_under_counts() -> None:
    """A bundle may have said it for the object: what STIX 2.1 requires and STIX 2.0 does not decides here."""
    value = _without(_object("malware", name="N", labels=["a", "b"], is_family=False), "spec_version")
    removal = Removal(properties=frozenset({"labels"}))
    assert derive(value, removal, MAKER, CREATED, MODIFIED) is None
    derived = derive(value, removal, MAKER, CREATED, MODIFIED, "2.1")
    assert derived is not None
    assert derived.spec_version == "2.1"
    assert json.loads(derived.relation)["spec_version"] == "2.1"


# Parts


FULL = INDICATOR | {
    "external_references": [
        {"source_name": "cve", "external_id": "CVE-2014-0160"},
        {"source_name": "blog", "url": "https://example.org/", "description": "D", "hashes": {"SHA-256": "ab" * 32}},
    ],
    "kill_chain_phases": [
        {"kill_chain_name": "k", "phase_name": "p1"},
        {"kill_chain_name": "k", "phase_name": "p2"},
    ],
    "extensions": {
        f"extension-definition--{UUID}": {"extension_type": "property-extension", "a": "1", "b": ["2"]},
    },
    "x_list": [["a", "b"], [{"c": "d", "e": "f"}], "g"],
    "x_dict": {"[0]": "zero", "sub": {"k": "v"}},
}
EXTENSION = f"extensions.extension-definition--{UUID}"


@pytest.mark.parametrize(
    ("selectors", "changed"),
    [
        (["name"], {"name": None}),
        (["labels.[1]"], {"labels": ["a", "c"]}),
        (["labels.[2]", "labels.[0]"], {"labels": ["b"]}),
        (["labels"], {"labels": None}),
        (["labels.[0]", "labels.[1]", "labels.[2]"], {"labels": None}),
        (["labels.[0]", "labels"], {"labels": None}),
        (["external_references"], {"external_references": None}),
        (["external_references.[0]"], {"external_references": FULL["external_references"][1:]}),
        (["external_references.[0].source_name"], {"external_references": FULL["external_references"][1:]}),
        (["external_references.[0].external_id"], {"external_references": FULL["external_references"][1:]}),
        (["external_references.[1].source_name"], {"external_references": FULL["external_references"][:1]}),
        (
            ["external_references.[1].url", "external_references.[1].description"],
            {"external_references": FULL["external_references"][:1]},
        ),
        (
            ["external_references.[1].hashes.SHA-256"],
            {
                "external_references": [
                    FULL["external_references"][0],
                    _without(FULL["external_references"][1], "hashes"),
                ]
            },
        ),
        (["external_references.[0]", "external_references.[1].source_name"], {"external_references": None}),
        (["kill_chain_phases.[0].phase_name"], {"kill_chain_phases": FULL["kill_chain_phases"][1:]}),
        (["kill_chain_phases.[1].kill_chain_name"], {"kill_chain_phases": FULL["kill_chain_phases"][:1]}),
        ([f"{EXTENSION}.a"], {"extensions": {EXTENSION[11:]: {"extension_type": "property-extension", "b": ["2"]}}}),
        (
            [f"{EXTENSION}.b.[0]"],
            {"extensions": {EXTENSION[11:]: {"extension_type": "property-extension", "a": "1"}}},
        ),
        ([f"{EXTENSION}.extension_type"], {"extensions": None}),
        (["x_list.[0].[0]"], {"x_list": [["b"], [{"c": "d", "e": "f"}], "g"]}),
        (["x_list.[1].[0].c"], {"x_list": [["a", "b"], [{"e": "f"}], "g"]}),
        (["x_list.[1].[0].c", "x_list.[1].[0].e"], {"x_list": [["a", "b"], "g"]}),
        (["x_list.[0]", "x_list.[1]", "x_list.[2]"], {"x_list": None}),
        (["x_dict.[0]"], {"x_dict": {"sub": {"k": "v"}}}),
        (["x_dict.sub.k"], {"x_dict": {"[0]": "zero"}}),
    ],
    ids=lambda case: "+".join(case) if isinstance(case, list) else "",
)
def test_selected_parts_go(selectors: list[str], changed: dict[str, Any]) -> None:
    value = _marked(FULL, *selectors)
    expected = {name: member for name, member in (_rest(FULL) | changed).items() if member is not None}
    copy = _copy(value)
    assert _rest(copy) == expected
    read_object(Item(copy, b"", None), "schema", BOTH)


@pytest.mark.parametrize(
    ("selectors", "moved"),
    [
        (["labels.[0]"], ["labels.[0]", "labels.[1]"]),
        (["labels.[2]"], ["labels.[0]", "labels.[1]"]),
        (["labels.[1]"], ["labels.[0]", "labels.[1]"]),
        (["labels.[0]", "labels.[1]"], ["labels.[0]"]),
        (["labels"], []),
        (["name"], ["labels.[0]", "labels.[1]", "labels.[2]"]),
    ],
)
def test_the_selectors_of_what_is_left_are_renumbered(selectors: list[str], moved: list[str]) -> None:
    others = [
        {"marking_ref": GREEN, "selectors": ["labels.[0]", "labels.[1]", "labels.[2]"]},
        {"lang": "fr", "selectors": ["labels.[0]", "labels.[1]", "labels.[2]"]},
    ]
    copy = _copy(_marked(INDICATOR, *selectors, others=others))
    expected = [{"marking_ref": GREEN, "selectors": moved}, {"lang": "fr", "selectors": moved}]
    assert copy.get("granular_markings", []) == (expected if moved else [])
    assert "granular_markings" in copy or not moved


def test_deeper_selectors_are_renumbered_at_each_list_that_lost_something() -> None:
    others = [
        {
            "marking_ref": GREEN,
            "selectors": ["x_list.[1].[0].e", "x_list.[2]", "x_list.[1]", "x_list.[0].[1]", "x_dict.[0]", "x_list"],
        }
    ]
    copy = _copy(_marked(FULL, "x_list.[0]", others=others))
    assert copy["granular_markings"] == [
        {"marking_ref": GREEN, "selectors": ["x_list.[0].[0].e", "x_list.[1]", "x_list.[0]", "x_dict.[0]", "x_list"]}
    ]
    copy = _copy(_marked(FULL, "x_list.[0].[0]", others=others))
    assert copy["granular_markings"][0]["selectors"][3] == "x_list.[0].[0]"


def test_selectors_of_an_item_that_broke_go_too() -> None:
    others = [{"lang": "en", "selectors": ["external_references.[1].description", "external_references.[0]"]}]
    copy = _copy(_marked(FULL, "external_references.[1].source_name", others=others))
    assert copy["granular_markings"] == [{"lang": "en", "selectors": ["external_references.[0]"]}]
    copy = _copy(_marked(FULL, "external_references.[0].source_name", others=others))
    assert copy["granular_markings"] == [{"lang": "en", "selectors": ["external_references.[0].description"]}]


@pytest.mark.parametrize(
    "readable", ["description", "labels", "labels.[1]", "x_list.[1].[0].c", "x_list.[1]", "x_list"]
)
def test_unreadable_wins_over_a_readable_marking_of_the_same_part(readable: str) -> None:
    hidden = ["description", "labels", "x_list.[1]"]
    plain = _copy(_marked(FULL, *hidden))
    both = _copy(_marked(FULL, *hidden, others=[{"marking_ref": GREEN, "selectors": [readable]}]))
    assert _without(both, "granular_markings") == plain
    assert both.get("granular_markings", []) == (
        [{"marking_ref": GREEN, "selectors": ["x_list"]}] if readable == "x_list" else []
    )


def test_a_marking_of_the_old_creator_does_not_stay_on_the_new_one() -> None:
    others = [{"marking_ref": GREEN, "selectors": ["created_by_ref"]}]
    assert "granular_markings" not in _copy(_marked(INDICATOR, "description", others=others))


def test_a_removed_text_that_stands_elsewhere_stays_there() -> None:
    assert _copy(_marked(INDICATOR | {"name": "The secret"}, "description"))["name"] == "The secret"


def test_the_selector_of_the_specification_is_understood() -> None:
    """`external_references.[0].source_name` (STIX 2.1, 7.2.3.1), which the stix2 library refuses."""
    value = _object(
        "vulnerability",
        name="CVE-2014-0160",
        external_references=[{"source_name": "cve", "external_id": "CVE-2014-0160"}],
        granular_markings=[{"marking_ref": RED, "selectors": ["external_references.[0].source_name"]}],
    )
    assert _rest(_copy(value)) == {"name": "CVE-2014-0160"}


@pytest.mark.parametrize(
    ("removed", "left"),
    [
        (["latitude"], ["region", "city"]),
        (["longitude"], ["region", "city"]),
        (["precision"], ["region", "latitude", "longitude", "city"]),
        (["region"], ["latitude", "longitude", "precision", "city"]),
        (["city"], ["region", "latitude", "longitude", "precision"]),
        (["latitude", "region"], None),
        (["longitude", "region", "city"], None),
    ],
)
def test_a_location_is_left_with_a_whole_position_or_none(removed: list[str], left: list[str] | None) -> None:
    place = {"region": "africa", "latitude": 1.5, "longitude": 2.5, "precision": 10.0, "city": "c"}
    value = _object("location", **place)
    for derived in (_derived(_marked(value, *removed)), _derived(value, properties=frozenset(removed))):
        if left is None:
            assert derived is None
        else:
            assert derived is not None
            copy = json.loads(derived.content)
            assert list(_rest(copy)) == left
            read_object(Item(copy, b"", None), "schema", BOTH)


# No copy


@pytest.mark.parametrize(
    ("value", "selector"),
    [
        (INDICATOR, "pattern"),
        (INDICATOR, "pattern_type"),
        (INDICATOR, "valid_from"),
        (INDICATOR, "type"),
        (INDICATOR, "id"),
        (INDICATOR, "spec_version"),
        (INDICATOR, "created"),
        (INDICATOR, "modified"),
        (INDICATOR | {"revoked": True}, "revoked"),
        (INDICATOR, "object_marking_refs"),
        (INDICATOR, "object_marking_refs.[0]"),
        (INDICATOR | {"object_marking_refs": [GREEN, RED]}, "object_marking_refs.[0]"),
        (INDICATOR, "granular_markings"),
        (INDICATOR, "granular_markings.[0].selectors"),
        (_object("identity", name="N"), "name"),
        (_object("malware", name="N", is_family=True), "name"),
        (_object("malware-analysis", product="p", result="benign"), "result"),
        (_object("malware-analysis", product="p", analysis_sco_refs=[_ref(1, "file")]), "analysis_sco_refs.[0]"),
        (_object("location", region="africa", city="c"), "region"),
        (_object("location", country="FR", city="c"), "country"),
        (_object("location", latitude=1.5, longitude=2.5), "latitude"),
        (_object("report", name="N", published=CREATED, object_refs=[_ref(1)]), "object_refs"),
        (_object("report", name="N", published=CREATED, object_refs=[_ref(1)]), "object_refs.[0]"),
        (_object("sighting", sighting_of_ref=_ref(1)), "sighting_of_ref"),
        (_object("relationship", relationship_type="uses", source_ref=_ref(1), target_ref=_ref(2)), "target_ref"),
        (
            _object("x-thing", extensions={f"extension-definition--{UUID}": {"extension_type": "new-sdo", "a": 1}}),
            EXTENSION,
        ),
        (
            _object("x-thing", extensions={f"extension-definition--{UUID}": {"extension_type": "new-sdo", "a": 1}}),
            f"{EXTENSION}.extension_type",
        ),
        (
            _object(
                "x-thing",
                extensions={f"extension-definition--{UUID}": {"extension_type": "new-sdo"}, "other": {"a": 1}},
            ),
            EXTENSION,
        ),
    ],
    ids=lambda case: case if isinstance(case, str) else case["type"],
)
def test_nothing_that_an_object_needs_is_removed(value: dict[str, Any], selector: str) -> None:
    assert _derived(_marked(value, selector)) is None
    if "." not in selector:
        assert _derived(_marked(value, "type"), properties=frozenset({selector})) is None


OBSERVED = _object(
    "observed-data", first_observed=CREATED, last_observed=CREATED, number_observed=1, x_secret="s", lang="en"
)
EMBEDDED = {"0": {"type": "ipv4-addr", "value": "10.0.0.1"}, "1": {"type": "domain-name", "value": "a.example"}}


def test_observed_data_keeps_something_observed_and_every_observable_in_it_whole() -> None:
    embedded, listed = OBSERVED | {"objects": EMBEDDED}, OBSERVED | {"object_refs": [_ref(1, "ipv4-addr")]}
    assert _copy(_marked(embedded, "x_secret"))["objects"] == EMBEDDED
    for selector in ("objects", "objects.0", "objects.0.value"):
        assert _derived(_marked(embedded, selector)) is None
    assert _derived(_marked(listed, "object_refs")) is None
    both = embedded | listed
    assert "objects" not in _copy(_marked(both, "objects"))
    assert "object_refs" not in _copy(_marked(both, "object_refs.[0]"))
    assert _derived(_marked(both, "objects.0.value")) is None
    assert _derived(_marked(both, "objects", "object_refs")) is None


@pytest.mark.parametrize(
    "value",
    [
        {"type": "ipv4-addr", "spec_version": "2.1", "id": f"ipv4-addr--{UUID}", "value": "10.0.0.1", "x_a": "s"},
        {"type": "ipv4-addr", "spec_version": "2.1", "id": f"ipv4-addr--{UUID}", **TIMES, "value": "1", "x_a": "s"},
        _object("x-sco", x_a="s", extensions={f"extension-definition--{UUID}": {"extension_type": "new-sco"}}),
        {"type": "x-timeless", "spec_version": "2.1", "id": f"x-timeless--{UUID}", "x_a": "s"},
        _object("marking-definition", definition_type="statement", definition={"statement": "S"}, x_a="s"),
        _object("language-content", object_ref=_ref(1), contents={"de": {"name": "n"}}, x_a="s"),
        _object("extension-definition", name="n", schema="s", version="1.0.0", extension_types=["new-sdo"], x_a="s"),
        {"type": "bundle", "id": f"bundle--{UUID}", "created": CREATED, "x_a": "s"},
    ],
    ids=lambda value: value["type"],
)
def test_some_objects_are_whole_or_hidden(value: dict[str, Any]) -> None:
    assert _derived(_marked(value, "x_a")) is None
    assert _derived(value, properties=frozenset({"x_a"})) is None
    assert _derived(value | {"created_by_ref": CREATOR}, creator=True) is None
    assert fixed_properties(value, "2.1") == value.keys()


def test_a_selector_that_names_nothing_hides_the_object() -> None:
    assert _derived(_marked(INDICATOR, "description", "labels.[3]")) is None
    readable = [{"marking_ref": GREEN, "selectors": ["labels.[3]"]}]
    assert _derived(_marked(INDICATOR, "labels.[0]", others=readable)) is None


def test_an_object_that_needs_no_schema_can_have_a_copy_that_needs_none() -> None:
    value = _marked(INDICATOR | {"kill_chain_phases": "not a list"}, "description")
    assert _copy(value)["kill_chain_phases"] == "not a list"


def test_what_is_needed_is_known_without_a_schema() -> None:
    report = _object("report", name="N", published=CREATED, object_refs=[_ref(1)])
    assert _derived(_marked(report | {"name": 5}, "object_refs.[0]")) is None
    cve = {"source_name": "cve", "external_id": "CVE-2014-0160", "url": "https://example.org/"}
    value = INDICATOR | {"kill_chain_phases": "not a list", "external_references": [cve]}
    assert "external_references" not in _copy(_marked(value, "external_references.[0].external_id"))


def test_an_object_that_the_hub_would_not_take_has_no_copy() -> None:
    assert _derived(_marked(INDICATOR | {"labels": [1], "kill_chain_phases": "not a list"}, "description")) is None
    readable = [{"lang": "fr", "selectors": ["granular_markings.[0]"]}]
    assert _derived(_marked(INDICATOR, "description", others=readable)) is None


def test_a_copy_that_the_schema_refuses_is_none() -> None:
    """The identity of this maker is of a form that no schema takes; the hub itself would take it."""
    name = f"extension-definition--{UUID}"
    value = INDICATOR | {"extensions": {name: {"extension_type": "property-extension", "a": "s"}}}
    # The schemas refuse every marking with a language; that must not make the check blind.
    others = [{"lang": "fr", "selectors": ["name"]}]
    assert _copy(_marked(value, f"{EXTENSION}.a", others=others))
    no_ref = Maker(b"s", f"identity--{UUID[:14]}9{UUID[15:]}")  # version 9: the schema knows 1 to 5
    assert _derived(_marked(value, f"{EXTENSION}.a", others=others), no_ref) is None


# Properties


@pytest.mark.parametrize("name", ["description", "name", "labels"])
def test_properties_go_by_name(name: str) -> None:
    value = INDICATOR | {"granular_markings": [{"lang": "fr", "selectors": [name, "pattern"]}]}
    copy = _copy(value, properties=frozenset({name, "x_absent"}))
    assert _rest(copy) == _rest(_without(INDICATOR, name)) | {
        "granular_markings": [{"lang": "fr", "selectors": ["pattern"]}]
    }


# References


REPORT = _object("report", name="N", published=CREATED, object_refs=[_ref(1), _ref(2), _ref(3)])


def _hide(*ids: str) -> dict[str, Any]:
    return {"references": frozenset(ids)}


def test_hidden_ids_leave_the_list_and_nothing_else() -> None:
    value = REPORT | {
        "description": f"about {_ref(2)}",
        "x_other_refs": [_ref(3)],
        "x_ids": [_ref(2)],
        "x_made_by_refs": [_ref(2)],
        "external_references": [{"source_name": "s", "url": "https://example.org", "x_refs": [_ref(2)]}],
        "granular_markings": [
            {"marking_ref": GREEN, "selectors": ["object_refs.[2]", "object_refs.[1]", "object_refs.[0]"]},
            {"lang": "fr", "selectors": ["object_refs.[1]"]},
        ],
    }
    assert _rest(_copy(value, **_hide(_ref(2)))) == _rest(value) | {
        "object_refs": [_ref(1), _ref(3)],
        "granular_markings": [{"marking_ref": GREEN, "selectors": ["object_refs.[1]", "object_refs.[0]"]}],
    }


def test_references_are_compared_as_the_reader_of_references_does() -> None:
    value = REPORT | {"object_refs": [_ref(1), f" malware--{_ref(0xABCDEF)[9:].upper()} "]}
    assert read_references(value)[1] == (_ref(1), _ref(0xABCDEF))
    assert _copy(value, **_hide(_ref(0xABCDEF)))["object_refs"] == [_ref(1)]


def test_lists_at_any_depth_are_filtered() -> None:
    value = INDICATOR | {
        "extensions": {EXTENSION[11:]: {"extension_type": "property-extension", "seen_refs": [_ref(1), _ref(2)]}},
        "x_deep": [
            {"a_refs": [_ref(1)]},
            {"b": {"c_refs": [_ref(2), _ref(1)]}},
            {"nested_refs": [[_ref(1)], [_ref(3)]]},
        ],
    }
    copy = _copy(value, **_hide(_ref(1)))
    assert copy["extensions"][EXTENSION[11:]]["seen_refs"] == [_ref(2)]
    assert copy["x_deep"] == [{"b": {"c_refs": [_ref(2)]}}, {"nested_refs": [[_ref(3)]]}]


def test_a_list_that_becomes_empty_is_dropped_or_hides_the_object() -> None:
    sighting = _object("sighting", sighting_of_ref=_ref(1), where_sighted_refs=[_ref(2, "identity")])
    assert "where_sighted_refs" not in _copy(sighting, **_hide(_ref(2, "identity")))
    assert _derived(REPORT, **_hide(_ref(1), _ref(2), _ref(3))) is None


@pytest.mark.parametrize(
    "more",
    [
        {"x_ref": _ref(1)},
        {"x_list": [{"a_ref": _ref(1).upper().replace("MALWARE", "malware")}]},
        {"x_ref": [_ref(1)]},
        {"x_ref": {"any": f"{_ref(1)} "}},
        {"x_refs": [{"any": _ref(1)}]},
        {"x_refs": _ref(1)},
    ],
    ids=lambda more: json.dumps(more)[:30],
)
def test_an_id_that_stays_somewhere_hides_the_object(more: dict[str, Any]) -> None:
    assert _copy(REPORT, **_hide(_ref(1)))
    assert _derived(REPORT | more, **_hide(_ref(1))) is None


def test_required_references_hide_the_object() -> None:
    value = _object("relationship", relationship_type="uses", source_ref=_ref(1), target_ref=_ref(2))
    assert _derived(value, **_hide(_ref(2))) is None
    assert _derived(_object("sighting", sighting_of_ref=_ref(1)), **_hide(_ref(1))) is None


@pytest.mark.parametrize("of_type", ["note", "opinion"])
def test_notes_and_opinions_are_hidden_with_one_of_their_objects(of_type: str) -> None:
    value = _object(of_type, content="c", opinion="agree", object_refs=[_ref(1), _ref(2)], authors=["a"])
    assert _derived(value, **_hide(_ref(2))) is None
    assert "authors" not in _copy(value, properties=frozenset({"authors"}), **_hide(_ref(3)))


def test_a_hidden_id_in_a_part_that_goes_anyway_leaves_no_trace() -> None:
    value = _marked(REPORT | {"x_refs": [_ref(8), _ref(9)]}, "x_refs.[0]")
    marked = {"markings": frozenset({RED})}
    assert _derived(value, **marked) == _derived(value, **marked, **_hide(_ref(8)))
    value = _marked(REPORT | {"x_a": {"b_refs": [_ref(8)]}}, "x_a")
    assert _derived(value, **marked) == _derived(value, **marked, **_hide(_ref(8)))


def test_marked_and_hidden_references_of_one_list() -> None:
    value = _marked(REPORT, "object_refs.[0]", others=[{"marking_ref": GREEN, "selectors": ["object_refs.[2]"]}])
    copy = _copy(value, markings=frozenset({RED}), **_hide(_ref(2)))
    assert copy["object_refs"] == [_ref(3)]
    assert copy["granular_markings"] == [{"marking_ref": GREEN, "selectors": ["object_refs.[0]"]}]


# When nothing is to be removed


@pytest.mark.parametrize(
    ("removal", "touched"),
    [
        ({}, False),
        ({"markings": frozenset({RED})}, True),
        ({"markings": frozenset({GREEN})}, False),
        ({"creator": True}, True),
        ({"properties": frozenset({"x_absent"})}, False),
        ({"properties": frozenset({"x_absent", "name"})}, True),
        ({"references": frozenset({_ref(1)})}, True),
        ({"references": frozenset({_ref(2)})}, True),
        ({"references": frozenset({_ref(3), RED, GREEN, CREATOR})}, False),
    ],
)
def test_takes_away(removal: dict[str, Any], touched: bool) -> None:
    value = _marked(INDICATOR | {"x_refs": [_ref(1)], "x_ref": _ref(2)}, "description")
    assert takes_away(value, Removal(**removal)) is touched
    if touched:
        assert (_derived(value, **removal) is None) == ("references" in removal and _ref(2) in removal["references"])
    else:
        assert can_derive(value, Removal(**removal), "2.1")
        with pytest.raises(ValueError, match="touches nothing"):
            derive(value, Removal(**removal), MAKER, CREATED, MODIFIED)


def test_no_creator_to_strip() -> None:
    assert not takes_away(_without(INDICATOR, "created_by_ref"), Removal(creator=True))

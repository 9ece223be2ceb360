"""The values that policy rules may look at."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taxii_server.model import Traits
from taxii_server.stix.traits import MAX_TRIED_MARKINGS, MAX_TRIED_SELECTORS, read_traits
from taxii_server.stix.whole import fixed_properties
from taxii_server.tlp import TLP_2_IDS

UUID = "45eee277-2d76-4079-91d0-0061a443bac6"
M1, M2 = f"marking-definition--1{UUID[1:]}", f"marking-definition--2{UUID[1:]}"


def test_every_trait() -> None:
    value = {
        "type": "identity",
        "id": f"identity--{UUID}",
        "revoked": True,
        "object_marking_refs": [M2, M1, M2],
        "granular_markings": [
            {"marking_ref": M2, "selectors": ["name"]},
            {"marking_ref": M2, "selectors": ["id"]},
            {"lang": "fr", "selectors": ["name"]},
        ],
        "created_by_ref": f"identity--{UUID}",
        "labels": ["TLP:Red", "a", "tlp:red"],
        "confidence": 50.0,
        "extensions": {"e2": {"b": "x", "a": "y", "c": 1, "d": ["z"]}, "e1": {}, "e0": "no"},
        "identity_class": "organization",
        "name": "N",
    }
    assert read_traits(value, collection="c", submitter="s", spec_version="2.1") == Traits(
        collection="c",
        submitter="s",
        id=f"identity--{UUID}",
        type="identity",
        spec_version="2.1",
        revoked=True,
        markings=(M1, M2),
        granular=(M2,),
        creator=f"identity--{UUID}",
        labels=("a", "tlp:red"),
        confidence=50,
        extensions=("e1", "e2"),
        extension_values=(("e2", "a", "y"), ("e2", "b", "x")),
        identity_class="organization",
        properties=tuple(sorted(value)),
        defines=None,
        firm_granular=(M2,),
        fixed_properties=tuple(sorted(value)),
    )


def test_absent_values_are_empty() -> None:
    value = {"type": "marking-definition", "id": M1}
    assert read_traits(value, collection="c", submitter="s", spec_version="2.0") == Traits(
        collection="c",
        submitter="s",
        id=M1,
        type="marking-definition",
        spec_version="2.0",
        properties=("id", "type"),
        defines=M1,
        fixed_properties=("id", "type"),
    )


@pytest.mark.parametrize("confidence", ["high", None, True, -1, 101, 50.5, [], 10**40])
def test_a_custom_confidence_of_stix_2_0_is_none(confidence: object) -> None:
    value = {"type": "x-a", "id": f"x-a--{UUID}", "confidence": confidence}
    assert read_traits(value, collection="c", submitter="s", spec_version="2.0").confidence is None


TLP_AMBER = {
    "type": "marking-definition",
    "spec_version": "2.1",
    "id": "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421",
    "created": "2022-10-01T00:00:00.000Z",
    "name": "TLP:AMBER",
    "extensions": {
        "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d": {
            "extension_type": "property-extension",
            "tlp_2_0": "amber",
        }
    },
}


def test_a_copy_of_a_tlp_definition_defines_it() -> None:
    traits = read_traits(TLP_AMBER, collection="c", submitter="s", spec_version="2.1")
    assert traits.defines == TLP_AMBER["id"]


@pytest.mark.parametrize(
    "smuggled",
    [
        {"x_customer": "Harbour Water plc"},
        {"name": "TLP:AMBER for Harbour Water plc"},
        {"definition_type": "statement", "definition": {"statement": "Harbour Water plc"}},
        {"definition_type": "tlp", "definition": {"tlp": "amber", "customer": "Harbour Water plc"}},
        {"extensions": {**TLP_AMBER["extensions"], "extension-definition--1": {"customer": "Harbour Water plc"}}},  # type: ignore[dict-item]
        {"extensions": {next(iter(TLP_AMBER["extensions"])): {"tlp_2_0": "amber", "customer": "x"}}},
        {"external_references": [{"source_name": "Harbour Water plc"}]},
    ],
    ids=lambda smuggled: next(iter(smuggled)),
)
def test_a_copy_of_a_tlp_definition_with_more_in_it_is_an_object_like_any_other(smuggled: dict[str, object]) -> None:
    traits = read_traits(TLP_AMBER | smuggled, collection="c", submitter="s", spec_version="2.1")
    assert traits.defines is None


INDICATOR = {
    "type": "indicator",
    "spec_version": "2.1",
    "id": f"indicator--{UUID}",
    "created": "2016-03-29T20:52:52.716Z",
    "modified": "2016-03-29T20:52:52.716Z",
    "created_by_ref": f"identity--{UUID}",
    "name": "N",
    "description": "D",
    "labels": ["a"],
    "pattern": "[file:name = 'a']",
    "pattern_type": "stix",
    "valid_from": "2016-03-29T20:52:52Z",
    "x_a": {"b": "c"},
}


def _traits(value: dict[str, object], spec_version: str = "2.1") -> Traits:
    return read_traits(value, collection="c", submitter="s", spec_version=spec_version)


def _marked(*parts: tuple[str, list[str]]) -> dict[str, object]:
    return INDICATOR | {"granular_markings": [{"marking_ref": ref, "selectors": names} for ref, names in parts]}


ALWAYS_FIXED = ("created", "id", "modified")


@pytest.mark.parametrize(
    ("value", "spec_version", "fixed"),
    [
        (INDICATOR, "2.1", {"spec_version", "pattern", "pattern_type", "valid_from"}),
        (INDICATOR, "2.0", {"spec_version", "pattern", "valid_from", "labels"}),
        (INDICATOR | {"revoked": False, "object_marking_refs": [M1]}, "2.0", {"spec_version", "pattern", "valid_from"}
         | {"labels", "revoked", "object_marking_refs"}),
        (INDICATOR | {"type": "x-custom"}, "2.1", {"spec_version"}),
        (INDICATOR | {"type": "location", "region": "r"}, "2.1", {"spec_version", "region"}),
        (INDICATOR | {"type": "location", "region": "r", "country": "FR"}, "2.1", {"spec_version"}),
        (INDICATOR | {"type": "location", "latitude": 1, "longitude": 1}, "2.1", {"spec_version", "latitude"}
         | {"longitude"}),
        (INDICATOR | {"type": "location", "region": "r"}, "2.0", {"spec_version"}),
        (INDICATOR | {"type": "malware", "is_family": True}, "2.1", {"spec_version", "is_family", "name"}),
        (INDICATOR | {"type": "malware", "is_family": False}, "2.1", {"spec_version", "is_family"}),
        (INDICATOR | {"type": "x-new", "extensions": {"e": {"extension_type": "new-sdo"}}}, "2.1", {"spec_version"}
         | {"extensions"}),
    ],
)  # fmt: skip
def test_fixed_properties(value: dict[str, object], spec_version: str, fixed: set[str]) -> None:
    assert _traits(value, spec_version).fixed_properties == tuple(sorted({*ALWAYS_FIXED, "type", *fixed}))


NAMES = ["created", "modified", "name", "region", "country", "latitude", "longitude", "pattern", "x" * 1000]
TYPES = ["indicator", "location", "malware", "url", "x-a", "marking-definition"]
EXTENSIONS = [None, [], {"e": {"extension_type": "new-sdo"}}, {"e": {"extension_type": "new-sco"}}, {"e": {}}]


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(TYPES),
    st.sampled_from(["2.0", "2.1"]),
    st.lists(st.sampled_from(NAMES), unique=True),
    st.dictionaries(st.just("is_family"), st.sampled_from([True, False, None, 1])),
    st.dictionaries(st.just("extensions"), st.sampled_from(EXTENSIONS)),
)
def test_names_that_are_kept_are_those_of_the_object(
    of_type: str, spec_version: str, names: list[str], is_family: dict[str, object], extensions: dict[str, object]
) -> None:
    value = {"type": of_type, "id": f"{of_type}--{UUID}", **dict.fromkeys(names, "v"), **is_family, **extensions}
    traits = _traits(value, spec_version)
    assert traits.properties == tuple(sorted(value))
    assert traits.fixed_properties == tuple(sorted(fixed_properties(value, spec_version)))


def test_every_property_of_an_observable_is_fixed() -> None:
    for of_type in ("ipv4-addr", "marking-definition", "language-content", "extension-definition"):
        value = _marked((M1, ["description"])) | {"type": of_type}
        assert _traits(value).fixed_properties == tuple(sorted(value))
        assert _traits(value).firm_granular == (M1,)


@pytest.mark.parametrize(
    ("parts", "firm"),
    [
        ([(M1, ["description"]), (M2, ["name", "labels.[0]"])], ()),
        ([(M1, ["description"]), (M2, ["name", "pattern"])], (M2,)),
        ([(M1, ["description"]), (M1, ["id"])], (M1,)),
        ([(M1, ["pattern"]), (M2, ["type"])], (M1, M2)),
        ([(M1, ["x_a.z"])], (M1,)),
    ],
)
def test_firm_granular_markings(parts: list[tuple[str, list[str]]], firm: tuple[str, ...]) -> None:
    assert _traits(_marked(*parts)).firm_granular == firm


def test_markings_that_cannot_go_together_are_all_firm() -> None:
    value = _marked((M1, ["region"]), (M2, ["country"])) | {"type": "location", "region": "r", "country": "FR"}
    assert _traits(value).firm_granular == (M1, M2)
    # A third one that is firm alone changes nothing for the two.
    third = f"marking-definition--3{UUID[1:]}"
    markings = [*value["granular_markings"], {"marking_ref": third, "selectors": ["id"]}]  # type: ignore[misc]
    assert _traits(value | {"granular_markings": markings}).firm_granular == (M1, M2, third)


def test_of_levels_that_cannot_go_together_the_lowest_stay() -> None:
    clear, green, amber = (TLP_2_IDS[level] for level in ("clear", "green", "amber"))
    report = {"type": "report", "object_refs": ["x--1", "x--2", "x--3"]}
    items = [(amber, ["object_refs.[0]"]), (green, ["object_refs.[1]"]), (M1, ["object_refs.[2]"])]
    assert _traits(_marked(*items) | report).firm_granular == (green,)
    assert _traits(_marked(*items, (clear, ["labels"])) | report).firm_granular == (clear, green)
    assert _traits(_marked(*items[:2]) | report).firm_granular == ()
    # Without those of TLP the others still cannot go together.
    both = [(M1, ["object_refs.[0]", "object_refs.[1]"]), (M2, ["object_refs.[2]"]), (green, ["labels"])]
    assert _traits(_marked(*both) | report).firm_granular == tuple(sorted((M1, M2, green)))


@pytest.mark.parametrize(
    ("parts", "covered"),
    [
        ([(M1, ["description"])], ()),
        ([(M1, ["description"]), (M2, ["name"])], ()),
        ([(M1, ["description"]), (M2, ["description"])], (M1, M2)),
        # A list goes with its only item.
        ([(M1, ["labels"]), (M2, ["labels.[0]"])], (M1, M2)),
        ([(M1, ["labels"]), (M2, ["labels.[0]", "name"])], (M1,)),
        ([(M1, ["labels", "description"]), (M2, ["labels.[0]"])], (M2,)),
        # A required property takes both along, and is in every copy.
        ([(M1, ["pattern"]), (M2, ["pattern"])], ()),
    ],
)
def test_granular_markings_that_others_cover(parts: list[tuple[str, list[str]]], covered: tuple[str, ...]) -> None:
    assert _traits(_marked(*parts)).covered_granular == covered


def test_a_language_is_not_firm() -> None:
    value = INDICATOR | {"granular_markings": [{"lang": "fr", "selectors": ["pattern"]}]}
    assert _traits(value).firm_granular == ()


def test_with_too_many_markings_or_selectors_all_are_firm() -> None:
    refs = [f"marking-definition--{number:08x}{UUID[8:]}" for number in range(MAX_TRIED_MARKINGS + 1)]
    assert _traits(_marked(*((ref, ["description"]) for ref in refs))).firm_granular == tuple(refs)
    assert _traits(_marked(*((ref, ["description"]) for ref in refs[1:]))).firm_granular == ()
    assert _traits(_marked((M1, ["description"] * MAX_TRIED_SELECTORS))).firm_granular == ()
    assert _traits(_marked((M1, ["description"] * MAX_TRIED_SELECTORS), (M2, ["name"]))).firm_granular == (M1, M2)

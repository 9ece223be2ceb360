"""The values that policy rules may look at."""

from __future__ import annotations

import pytest

from taxii_server.model import Traits
from taxii_server.stix.traits import read_traits

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

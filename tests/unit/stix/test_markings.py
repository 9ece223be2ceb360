"""What a posted marking-definition means, and what hides because it is not understood."""

from __future__ import annotations

import json
from typing import Any

import pytest

from taxii_server.stix.markings import (
    ACS_EXTENSION,
    IEP_EXTENSION,
    PAP_EXTENSION,
    TLP_2_EXTENSION,
    read_marking_definition,
)

ID = "marking-definition--45eee277-2d76-4079-91d0-0061a443bac6"

IEP: dict[str, Any] = {
    "extension_type": "property-extension",
    "encrypt_in_transit": "may",
    "permitted_actions": "externally-visible-direct-actions",
    "affected_party_notifications": "may",
    "tlp": "amber",
    "provider_attribution": "may",
    "unmodified_resale": "must-not",
    "iep_id": "0224bfdf-ea3a-49c3-96f6-66d908bb1845",
    "iep_version": 2.0,
    "description": "d",
    "start_date": "2022-10-01T00:00:00Z",
}

FOR_ALL = {
    "privilege_action": "DSPLY",
    "privilege_scope": {"entity": ["ALL"], "permitted_nationalities": ["ALL"]},
    "rule_effect": "permit",
}
ACS: dict[str, Any] = {
    "extension_type": "property-extension",
    "identifier": "isa:guide.19001.ACS3-76342cc9-1440-4031-84a3-d498c404cab3",
    "create_date_time": "2018-05-27T14:10:26.723Z",
    "responsible_entity_custodian": "USA.DOJ.FBI",
    "policy_reference": "urn:isa:policy:acs:ns:v3.0?privdefault=deny&sharedefault=permit",
    "access_privilege": [FOR_ALL],
    "control_set": {"classification": "U"},
}


def _meaning(**members: Any) -> dict[str, Any]:
    payload = json.loads(read_marking_definition({"type": "marking-definition", "id": ID, **members}, "me"))
    assert payload.pop("submitter") == "me"
    assert payload.pop("id") == ID
    return dict(payload)


def _extension(extension_id: str, extension: Any, **members: Any) -> dict[str, Any]:
    return _meaning(extensions={extension_id: extension}, **members)


def _reason(meaning: dict[str, Any]) -> str:
    assert set(meaning) == {"kind", "reason"}
    assert meaning["kind"] == "unknown"
    return str(meaning["reason"])


def test_a_statement_is_a_statement() -> None:
    assert _meaning(definition_type="statement", definition={"statement": "Copyright"}) == {"kind": "statement"}


@pytest.mark.parametrize(
    "members",
    [
        {"definition_type": "statement", "definition": {"statement": "TLP:RED"}},
        {"definition_type": "statement", "definition": {"statement": "marked tlp amber"}},
        {"definition_type": "statement", "definition": {"statement": "a"}, "name": "TLP-RED"},
        {"definition_type": "tlp", "definition": {"tlp": "red"}},
        {"extensions": {TLP_2_EXTENSION: {"extension_type": "property-extension", "tlp_2_0": "clear"}}},
        {"extensions": {PAP_EXTENSION: {"extension_type": "property-extension", "pap": "clear"}}, "name": "TLP:CLEAR"},
    ],
)
def test_what_calls_itself_tlp_under_another_id_is_unknown(members: dict[str, Any]) -> None:
    assert "only the fixed TLP ids" in _reason(_meaning(**members))


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"definition_type": "statement"},
        {"definition_type": "statement", "definition": {"statement": 5}},
        {"definition_type": "statement", "definition": {"statement": "a", "rel_to": ["FR"]}},
        {"definition_type": "statement", "definition": {"statement": "a"}, "extensions": {"x": {}}},
        {"definition_type": "ais", "definition": {"consent": "everyone", "proprietary": "false", "tlp": "white"}},
        {"definition_type": ["statement"], "definition": {"statement": "a"}},
        {"extensions": {}},
        {"extensions": []},
        {"extensions": "x"},
        {"extensions": {PAP_EXTENSION: {"pap": "red"}, IEP_EXTENSION: IEP}},
        {"extensions": {PAP_EXTENSION: "red"}},
        {"extensions": {PAP_EXTENSION: {"pap": "red", "rel_to": "FR"}}},
        {"extensions": {PAP_EXTENSION.replace("f8d", "f8e"): {"pap": "red"}}},
    ],
)
def test_what_is_not_understood_is_unknown(members: dict[str, Any]) -> None:
    assert _reason(_meaning(**members))


def test_pap_is_neutral() -> None:
    pap = {"extension_type": "property-extension", "pap": "amber"}
    assert _extension(PAP_EXTENSION, pap, name="PAP:AMBER") == {"kind": "neutral"}


@pytest.mark.parametrize(("tlp", "level"), [("white", "clear"), ("green", "green"), ("amber", "amber"), ("red", "red")])
def test_iep_gives_its_level(tlp: str, level: str) -> None:
    expected = {"kind": "iep", "tlp": level, "start_date": "2022-10-01T00:00:00Z"}
    assert _extension(IEP_EXTENSION, IEP | {"tlp": tlp}, name=f"TLP:{tlp} IEP") == expected


def test_iep_gives_its_dates_and_attribution() -> None:
    iep = IEP | {"end_date": "2022-11-01T00:00:00Z", "provider_attribution": "must-not"}
    meaning = _extension(IEP_EXTENSION, iep)
    assert (meaning["end_date"], meaning["attribution"]) == ("2022-11-01T00:00:00Z", "must-not")


@pytest.mark.parametrize(
    "change",
    [
        {"tlp": "amber+strict"},
        {"tlp": "AMBER"},
        {"tlp": ["amber"]},
        {"start_date": "2022-13-01T00:00:00Z"},
        {"start_date": None},
        {"end_date": "2022-09-30T00:00:00Z"},
        {"end_date": 5},
        {"provider_attribution": "no"},
        {"iep_version": "2.0"},
        {"iep_version": 3},
        {"permitted_actions": ["none"]},
        {"encrypt_in_transit": "never"},
        {"rel_to": "FR"},
    ],
)
def test_iep_outside_its_text_is_unknown(change: dict[str, Any]) -> None:
    assert "IEP" in _reason(_extension(IEP_EXTENSION, IEP | change))


@pytest.mark.parametrize("name", sorted(set(IEP) - {"tlp"}))
def test_iep_without_a_value_gives_what_it_has(name: str) -> None:
    meaning = _extension(IEP_EXTENSION, {key: value for key, value in IEP.items() if key != name})
    expected = {"kind": "iep", "tlp": "amber", "start_date": "2022-10-01T00:00:00Z"}
    assert meaning == {key: value for key, value in expected.items() if key != name}


def test_iep_without_a_level_is_unknown() -> None:
    assert "tlp" in _reason(_extension(IEP_EXTENSION, {key: value for key, value in IEP.items() if key != "tlp"}))


@pytest.mark.parametrize(
    ("control", "facts"),
    [
        ({}, {}),
        ({"formal_determination": ["NO-PII-PRESENT"]}, {}),
        ({"formal_determination": ["PUBREL"]}, {"tlp": "clear"}),
        ({"formal_determination": ["NF"]}, {"rel_to": ["US"]}),
        ({"permitted_nationalities": ["USA", "GBR"]}, {"rel_to": ["GB", "US"]}),
        ({"permitted_nationalities": ["USA", "GBR"], "formal_determination": ["NF"]}, {"rel_to": ["US"]}),
        ({"permitted_nationalities": ["GBR"], "formal_determination": ["NF"]}, {"rel_to": []}),
    ],
)
def test_acs_that_is_understood(control: dict[str, Any], facts: dict[str, Any]) -> None:
    acs = ACS | {"control_set": {"classification": "U", **control}}
    assert _extension(ACS_EXTENSION, acs) == {"kind": "acs", **facts}


def test_acs_that_permits_by_default_needs_no_privilege() -> None:
    acs = {name: value for name, value in ACS.items() if name != "access_privilege"}
    acs["policy_reference"] = "urn:isa:policy:acs:ns:v3.0?privdefault=permit&sharedefault=permit"
    assert _extension(ACS_EXTENSION, acs) == {"kind": "acs"}
    assert _reason(_extension(ACS_EXTENSION, acs | {"access_privilege": [FOR_ALL]}))


def _controls(**controls: Any) -> dict[str, Any]:
    return {"control_set": {"classification": "U", **controls}}


@pytest.mark.parametrize(
    "change",
    [
        {"control_set": None},
        {"control_set": {}},
        *({"control_set": {"classification": found}} for found in ("C", "S", "TS", "u", ["U"])),
        _controls(formal_determination=["FOUO"]),
        _controls(formal_determination=["AIS"]),
        _controls(formal_determination=["PUBREL", "NF"]),
        _controls(formal_determination="PUBREL"),
        _controls(permitted_nationalities=["FRA"]),
        _controls(permitted_nationalities=[["USA"]]),
        _controls(permitted_organizations=["USA.USG"]),
        _controls(caveat=["CISAPROPRIETARY"]),
        _controls(sensitivity=["LES"]),
        _controls(entity=["GOV"]),
        _controls(shareability=["LE"]),
        {"policy_reference": "urn:isa:policy:acs:ns:v3.0?privdefault=deny&sharedefault=deny"},
        {"policy_reference": None},
        {"further_sharing": [{"sharing_scope": ["USA.USG"], "rule_effect": "permit"}]},
        {"original_classification": {"classified_by": "x"}},
        {"access_privilege": None},
        {"access_privilege": []},
        {"access_privilege": [FOR_ALL | {"privilege_action": "CISAUSES"}]},
        {"access_privilege": [FOR_ALL, FOR_ALL | {"rule_effect": "deny"}]},
        {"access_privilege": [FOR_ALL | {"privilege_scope": {"entity": ["GOV"]}}]},
        {"access_privilege": [FOR_ALL | {"privilege_scope": {"other": ["ALL"]}}]},
        {"access_privilege": [FOR_ALL | {"privilege_scope": "ALL"}]},
        {"access_privilege": [5]},
    ],
)
def test_acs_that_limits_readers_in_ways_unknown_here_is_unknown(change: dict[str, Any]) -> None:
    assert "ACS" in _reason(_extension(ACS_EXTENSION, ACS | change))


def test_the_same_definition_gives_the_same_text() -> None:
    one = read_marking_definition({"id": ID, "extensions": {IEP_EXTENSION: IEP}}, "me")
    turned = dict(reversed(IEP.items()))
    assert read_marking_definition({"extensions": {IEP_EXTENSION: turned}, "id": ID}, "me") == one

"""What a posted marking-definition means to the hub.

Only a meaning that is understood completely is taken; anything else is "unknown", which hides what it marks from
everybody but its submitter until the operator declares the id. The reason is part of the payload, for `explain`.

Decisions, with the text behind each:

* TLP, either version: the fixed ids are built in, a definition posted under one of them changes nothing, and "other
  instances MUST NOT be used" (STIX 2.1, 7.2.1.4). So every posted TLP is unknown, also one that only calls itself
  TLP in its name or statement: taken for a statement, it would let the default of the collection through.
* Statement: free text without any defined behaviour (7.2.1.3); it neither opens nor hides.
* PAP: says what a reader may do, not who may read; neutral.
* FIRST IEP 2.0: its `tlp` is the level, without which it is unknown. Dates and attribution are handed on. Values
  outside the text of the extension make it unknown. What else is missing says nothing about who may read, although the
  extension requires it: definitions without it are met, and without a start one is in force.
* ACS 3.0a: understood only when unclassified, with nothing that limits readers except nationality. See `_read_acs`.
* `ais` (the consent marking of US AIS in STIX 2.0): consent says who may learn the submitter's identity, which this
  hub cannot act on per reader, so it is unknown although it holds a TLP colour. Feeds converted to STIX 2.1 put the
  colour into a TLP marking and the consent into a label (`ais-consent-none`) of the identity: no definition at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from taxii_server.stix.acs import read_acs
from taxii_server.stix.kinds import plain_word, shown
from taxii_server.stix.meaning import Meaning, Unknown
from taxii_server.times import instant_key

TLP_2_EXTENSION = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"
PAP_EXTENSION = "extension-definition--f8d78575-edfd-406e-8e84-6162a8450f5b"
IEP_EXTENSION = "extension-definition--762e2e97-ee51-43e5-a9ea-165fbb862c4a"
ACS_EXTENSION = "extension-definition--3a65884d-005a-4290-8335-cb2d778a83ce"

_CALLS_ITSELF_TLP = re.compile(r"\bTLP(?:\s*[:\-]|\s+(?:WHITE|CLEAR|GREEN|AMBER|RED)\b|\s*$)", re.IGNORECASE)

_IEP_TLP = {"white": "clear", "green": "green", "amber": "amber", "red": "red"}
_IEP_VALUES = {
    "extension_type": frozenset({"property-extension"}),
    "encrypt_in_transit": frozenset({"must", "may"}),
    "permitted_actions": frozenset(
        {
            "none",
            "contact-for-instruction",
            "internally-visible-actions",
            "externally-visible-indirect-actions",
            "externally-visible-direct-actions",
        }
    ),
    "affected_party_notifications": frozenset({"may", "must-not"}),
    "tlp": frozenset(_IEP_TLP),
    "provider_attribution": frozenset({"may", "must", "must-not"}),
    "unmodified_resale": frozenset({"may", "must-not"}),
}
_IEP_KNOWN = frozenset({*_IEP_VALUES, "iep_id", "iep_version", "policy_name", "description", "start_date", "end_date"})
_TLP_COLOURS = ("white", "clear", "green", "amber", "amber+strict", "red")
_TLP_NAME = re.compile(r"TLP:(WHITE|CLEAR|GREEN|AMBER(\+STRICT)?|RED)", re.IGNORECASE)
_TLP_KEYS = frozenset({"type", "spec_version", "id", "created", "name", "definition_type", "definition", "extensions"})


def read_marking_definition(value: Mapping[str, Any], submitter: str) -> str:
    """The meaning of a posted marking-definition as canonical JSON.

    Members: `submitter`, `id`, `kind` (statement, iep, acs, neutral or unknown), and where they apply `tlp` (clear,
    green, amber, red), `rel_to` (sorted ISO 3166 two-letter codes), `start_date` and `end_date` (STIX timestamps),
    `attribution` (must or must-not), `reason` (why unknown). The same definition always gives the same text.
    Never raises for an object that passed `read_object`.
    """
    payload: dict[str, Any] = {"submitter": submitter, "id": value["id"]}
    try:
        kind, facts = _read(value)
        if kind != "iep":  # whose level stands in a property of its own
            _refuse_tlp_in(value.get("name"), "name")
        payload |= {"kind": kind, **facts}
    except Unknown as unknown:
        payload |= {"kind": "unknown", "reason": str(unknown)}
    return orjson.dumps(payload, option=orjson.OPT_SORT_KEYS).decode("utf-8")


def _read(value: Mapping[str, Any]) -> Meaning:
    extensions = value.get("extensions")
    definition_type = value.get("definition_type")
    if extensions:
        if definition_type is not None or "definition" in value:
            raise Unknown("it has a definition and extensions at once")
        if not isinstance(extensions, dict) or len(extensions) != 1:
            raise Unknown("it has more than one extension")
        ((extension_id, extension),) = extensions.items()
        return _read_extension(extension_id, extension)
    if definition_type == "statement":
        return _read_statement(value.get("definition"))
    if definition_type == "tlp":
        raise Unknown("it is a TLP definition, but only the fixed TLP ids mean TLP")
    raise Unknown(f"definition_type {shown(definition_type)} is not understood")


def _read_statement(definition: Any) -> Meaning:
    if not isinstance(definition, dict) or set(definition) != {"statement"}:
        raise Unknown("its definition is not one statement")
    statement = definition["statement"]
    if not isinstance(statement, str):
        raise Unknown("its statement is not a text")
    _refuse_tlp_in(statement, "statement")
    return "statement", {}


def is_plain_tlp(value: Mapping[str, Any]) -> bool:
    """Whether a copy of a TLP definition holds what FIRST and OASIS publish and nothing that was put in besides."""
    definition, extensions = value.get("definition", {}), value.get("extensions", {})
    name = value.get("name", "TLP:")
    return (
        set(value) <= _TLP_KEYS
        and isinstance(definition, dict)
        and all(key == "tlp" and text in _TLP_COLOURS for key, text in definition.items())
        and isinstance(extensions, dict)
        and all(key == TLP_2_EXTENSION and _is_plain_tlp_2(member) for key, member in extensions.items())
        and isinstance(name, str)
        and (name == "TLP:" or _TLP_NAME.fullmatch(name) is not None)
    )


def _is_plain_tlp_2(extension: Any) -> bool:
    return isinstance(extension, dict) and all(
        (key == "extension_type" and text == "property-extension") or (key == "tlp_2_0" and text in _TLP_COLOURS)
        for key, text in extension.items()
    )


def _refuse_tlp_in(text: Any, where: str) -> None:
    if isinstance(text, str) and _CALLS_ITSELF_TLP.search(plain_word(text)):
        raise Unknown(f"its {where} speaks of TLP, but only the fixed TLP ids mean TLP")


def _read_extension(extension_id: str, extension: Any) -> Meaning:
    if not isinstance(extension, dict):
        raise Unknown("its extension is not an object")
    if extension_id == PAP_EXTENSION:
        return _read_pap(extension)
    if extension_id == IEP_EXTENSION:
        return _read_iep(extension)
    if extension_id == ACS_EXTENSION:
        return read_acs(extension)
    if extension_id == TLP_2_EXTENSION:
        raise Unknown("it is a TLP 2.0 definition, but only the fixed TLP ids mean TLP")
    raise Unknown(f"extension {shown(extension_id)} is not understood")


def _read_pap(extension: Mapping[str, Any]) -> Meaning:
    if not set(extension) <= {"extension_type", "pap"} or not isinstance(extension.get("pap"), str):
        raise Unknown("its PAP extension holds more than a PAP colour")
    return "neutral", {}


def _read_iep(extension: Mapping[str, Any]) -> Meaning:
    for name in extension:
        if name not in _IEP_KNOWN:
            raise Unknown(f"IEP property {shown(name)} is not understood")
    for name, expected in _IEP_VALUES.items():
        found = extension.get(name)
        if (name in extension or name == "tlp") and (not isinstance(found, str) or found not in expected):
            raise Unknown(f"IEP {name} is {shown(found)}")
    version = extension.get("iep_version", 2)
    if version != 2 or isinstance(version, bool):
        raise Unknown(f"IEP iep_version is {shown(version)}")
    facts = {"tlp": _IEP_TLP[extension["tlp"]]}
    facts |= {name: _date(extension, name) for name in ("start_date", "end_date") if name in extension}
    if {"start_date", "end_date"} <= facts.keys() and instant_key(facts["end_date"]) < instant_key(facts["start_date"]):
        raise Unknown("IEP end_date is before start_date")
    attribution = extension.get("provider_attribution", "may")
    if attribution != "may":
        facts["attribution"] = attribution
    return "iep", facts


def _date(extension: Mapping[str, Any], name: str) -> str:
    found = extension.get(name)
    try:
        if not isinstance(found, str) or len(found) > 64:
            raise ValueError
        instant_key(found)
    except ValueError as error:
        raise Unknown(f"IEP {name} is {shown(found)}") from error
    return found

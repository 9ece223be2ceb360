"""Access Control Specification 3.0a (US) in STIX: the part of it that this hub understands.

A marking is understood when every statement in it is, and when all of them together let any reader of an allowed
nationality read and the hub share: unclassified, display permitted to all, further sharing permitted by default.
Organisations, categories, caveats, sensitivities, FOUO and AIS limit readers in ways that the hub has no facts
about; they make the marking unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taxii_server.stix.kinds import shown
from taxii_server.stix.meaning import Meaning, Unknown

#: Who wrote it and when; nothing here limits a reader.
_DESCRIPTIVE = frozenset(
    {
        "extension_type",
        "identifier",
        "name",
        "create_date_time",
        "responsible_entity_custodian",
        "responsible_entity_originator",
        "authority_reference",
    }
)
_UNDERSTOOD = _DESCRIPTIVE | {"policy_reference", "control_set", "access_privilege"}

_POLICY = "urn:isa:policy:acs:ns:v3.0?privdefault={}&sharedefault={}"

#: What these determinations say about the content limits nobody.
_HARMLESS_DETERMINATIONS = frozenset(
    {"NO-PII-PRESENT", "PII-NECESSARY-TO-UNDERSTAND-THREAT", "INFORMATION-DIRECTLY-RELATED-TO-CYBERSECURITY-THREAT"}
)

#: GENC codes to ISO 3166 two-letter codes; the operator declares markings that name other countries.
_COUNTRIES = {"USA": "US", "GBR": "GB", "CAN": "CA", "AUS": "AU", "NZL": "NZ"}

_SCOPES = frozenset({"entity", "permitted_nationalities", "permitted_organizations", "shareability"})


def read_acs(extension: Mapping[str, Any]) -> Meaning:
    """("acs", facts): `tlp` clear for what is released to the public, `rel_to` for nationalities or NOFORN.

    Without PUBREL there is no level: the object counts as unmarked, and the default of its collection decides.
    Raises Unknown, naming the part that is not understood.
    """
    for name in extension:
        if name not in _UNDERSTOOD:
            raise Unknown(f"ACS {shown(name)} is not understood")
    facts = _read_control_set(extension.get("control_set"))
    policy = extension.get("policy_reference")
    if policy == _POLICY.format("permit", "permit"):
        if "access_privilege" in extension:
            raise Unknown("ACS access_privilege beside privdefault=permit is not understood")
    elif policy == _POLICY.format("deny", "permit"):
        _require_display_for_all(extension.get("access_privilege"))
    else:
        raise Unknown(f"ACS policy_reference {shown(policy)} does not permit further sharing")
    return "acs", facts


def _read_control_set(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise Unknown("ACS control_set is missing")
    if found.get("classification") != "U":
        raise Unknown(f"ACS classification is {shown(found.get('classification'))}, only U is understood")
    for name in found:
        if name not in {"classification", "formal_determination", "permitted_nationalities"}:
            raise Unknown(f"ACS control {shown(name)} is not understood")
    determinations = set(_texts("formal_determination", found.get("formal_determination", [])))
    for determination in sorted(determinations - _HARMLESS_DETERMINATIONS - {"PUBREL", "NF"}):
        raise Unknown(f"ACS formal_determination {shown(determination)} is not understood")
    rel_to: set[str] | None = None
    if "permitted_nationalities" in found:
        rel_to = set()
        for nationality in _texts("permitted_nationalities", found["permitted_nationalities"]):
            if nationality not in _COUNTRIES:
                raise Unknown(f"ACS nationality {shown(nationality)} is not understood")
            rel_to.add(_COUNTRIES[nationality])
    if "NF" in determinations:
        rel_to = {"US"} if rel_to is None else rel_to & {"US"}
    if "PUBREL" in determinations:
        if rel_to is not None:
            raise Unknown("ACS PUBREL contradicts a limit of nationality")
        return {"tlp": "clear"}
    return {} if rel_to is None else {"rel_to": sorted(rel_to)}


def _require_display_for_all(privileges: Any) -> None:
    """One permit for DSPLY whose scope is ALL, and no deny anywhere; permits for other actions do not matter."""
    if not isinstance(privileges, list):
        raise Unknown("ACS denies every access by default")
    displayed = False
    for privilege in privileges:
        if not isinstance(privilege, dict) or privilege.get("rule_effect") != "permit":
            raise Unknown("ACS access_privilege holds a deny")
        if privilege.get("privilege_action") == "DSPLY":
            scope = privilege.get("privilege_scope")
            if not isinstance(scope, dict) or not set(scope) <= _SCOPES or any(s != ["ALL"] for s in scope.values()):
                raise Unknown("ACS permits display to some readers only")
            displayed = True
    if not displayed:
        raise Unknown("ACS denies display by default")


def _texts(name: str, found: Any) -> list[str]:
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise Unknown(f"ACS {name} is not a list of texts")
    return found

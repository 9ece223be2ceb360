"""The scene of the leak hunts: partners with different clearances, boxes, a view over them, and objects.

alice posts most of what is hidden. bob (amber, FR), carol (green, a joint team of FR and PL), dave (clear, a
vendor) and eve (amber+strict, a rival vendor) look at it from different places. sam is suspended.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from taxii_server.stix.markings import IEP_EXTENSION
from tests.leaks.hub import Texts, Value
from tests.world import audiences, collection

CLEAR = "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487"
GREEN = "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb"
AMBER = "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421"
STRICT = "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003"
RED = "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"
WHITE_1 = "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9"
AMBER_1 = "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"
REL_FR = "marking-definition--11111111-0000-4000-8000-0000000000f0"
REL_FR_PL = "marking-definition--11111111-0000-4000-8000-0000000000f1"
ORCON = "marking-definition--11111111-0000-4000-8000-0000000000f2"
NOBODY_KNOWS = "marking-definition--11111111-0000-4000-8000-0000000000ff"

ALICE_ID = "identity--a11ce000-0000-4000-8000-000000000001"
EVE_ID = "identity--e0e00000-0000-4000-8000-000000000005"

POOL = "aaaaaaaa-0000-4000-8000-000000000001"
ALICE_BOX = "aaaaaaaa-0000-4000-8000-000000000002"
EVE_BOX = "aaaaaaaa-0000-4000-8000-000000000003"
VIEW = "aaaaaaaa-0000-4000-8000-000000000004"
SECRET = "aaaaaaaa-0000-4000-8000-000000000005"
DROP = "aaaaaaaa-0000-4000-8000-000000000006"
ELSEWHERE = "aaaaaaaa-0000-4000-8000-000000000007"
UNKNOWN = "aaaaaaaa-0000-4000-8000-0000000000ff"
SECRET_ALIAS = "secret-alias"

PARTNERS = audiences(
    {
        "alice": f'kind = "le"\nclearance = "red"\ncountry = "FR"\nidentities = ["{ALICE_ID}"]\n',
        "bob": 'kind = "cert"\nclearance = "amber"\ncountry = "FR"\n',
        "carol": 'kind = "cert"\nclearance = "green"\ncountries = ["FR", "PL"]\ngroups = ["ring"]\n',
        "dave": 'kind = "vendor"\nclearance = "clear"\ncountry = "DE"\n',
        "eve": f'kind = "vendor"\nclearance = "amber+strict"\ncountry = "PL"\nidentities = ["{EVE_ID}"]\n',
        "fred": 'kind = "le"\nclearance = "red"\ncountry = "PL"\ngroups = ["ring"]\n',
        "sam": 'kind = "cert"\nclearance = "red"\nsuspended = true\n',
        "root": 'kind = "le"\nclearance = "red"\nadmin = true\n',
    }
)

POLICY = f"""
schema = 1
name = "leaks"

[defaults]
unmarked = "deny"

[groups]
ring = {{}}

[collections.pool]
unmarked = "tlp:green"

[markings]
"{REL_FR}" = {{ name = "REL TO FR", rel_to = ["FR"] }}
"{REL_FR_PL}" = {{ name = "REL TO FR, PL", rel_to = ["FR", "PL"] }}
"{ORCON}" = {{ name = "ORCON", orcon = true }}

[[permit]]
id = "everybody"

[[forbid]]
id = "no-victims-to-vendors"
to = {{ kind = "vendor" }}
what = {{ label = "victim" }}

[[forbid]]
id = "no-persons-to-vendors"
to = {{ kind = "vendor" }}
what = {{ identity_class = "individual" }}

[[select]]
id = "carol-wants-certainty"
to = {{ audience = "carol" }}
drop = {{ confidence_below = 50, type = ["malware"] }}
"""

_ALL = ["alice", "bob", "carol", "dave", "eve", "fred", "sam"]
_BOTH = ["2.0", "2.1"]
_DECLARED = {
    "pool": collection(POOL, "Pool", readers=_ALL, writers=_ALL, accepts=_BOTH),
    "alice-box": collection(ALICE_BOX, "Alice", readers=["alice"], writers=["alice"], owner="alice", accepts=_BOTH),
    "eve-box": collection(EVE_BOX, "Eve", readers=["eve"], writers=["eve"], owner="eve", accepts=_BOTH),
    "view": collection(
        VIEW, "View", readers=["bob", "carol", "fred"], writers=["bob"], accepts=_BOTH,
        sources=["pool", "alice-box", "eve-box"],
    ),
    "secret": collection(SECRET, "Secret", readers=["alice"], writers=["alice"], alias=SECRET_ALIAS, accepts=_BOTH),
    "drop": collection(DROP, "Drop", readers=["alice"], writers=["dave", "eve"]),
    "elsewhere": collection(ELSEWHERE, "Elsewhere", root="api2", readers=["alice", "bob"], writers=["alice"]),
}  # fmt: skip
#: Odd objects get in: what the schema of their type would refuse must not leak either.
COLLECTIONS = {name: text + 'strictness = "structure"\n' for name, text in _DECLARED.items()}

#: The same with copies: without what is not readable, and for carol without tickets.
DERIVING = (
    POLICY.replace("[defaults]", '[defaults]\ngranular = "derive"\nrefs_lists = "derive"')
    + """
[[strip]]
id = "no-tickets-for-carol"
to = { audience = "carol" }
properties = ["x_ticket"]
"""
)

TEXTS = Texts(POLICY, PARTNERS, COLLECTIONS)

_NAMESPACE = uuid.UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")


def id_of(type_: str, number: int | str) -> str:
    """The same id for the same words in every run."""
    return f"{type_}--{uuid.uuid5(uuid.NAMESPACE_URL, f'{type_}/{number}')}"


def time_of(version: int) -> str:
    """The time of a version: a day for each."""
    return f"2020-01-{1 + version:02}T00:00:00.000Z"


def thing(type_: str, number: int | str, *marks: str, version: int = 0, **more: Any) -> Value:
    """A domain object of STIX 2.1 with these markings."""
    value: Value = {
        "type": type_,
        "spec_version": "2.1",
        "id": id_of(type_, number),
        "created": time_of(0),
        "modified": time_of(version),
        "name": f"{type_} {number} v{version}",
    }
    if marks:
        value["object_marking_refs"] = list(marks)
    return {**value, **more}


def indicator(number: int | str, *marks: str, **more: Any) -> Value:
    """An indicator."""
    detail = {"pattern": "[url:value = 'http://x.example/']", "pattern_type": "stix", "valid_from": time_of(0)}
    return {**thing("indicator", number, *marks, **more), **detail}


def malware(number: int | str, *marks: str, **more: Any) -> Value:
    """A malware."""
    return {**thing("malware", number, *marks, **more), "is_family": True}


def relationship(number: int | str, source: str, target: str, *marks: str, **more: Any) -> Value:
    """A relationship."""
    detail = {"relationship_type": "related-to", "source_ref": source, "target_ref": target}
    return {**thing("relationship", number, *marks, **more), **detail}


def report(number: int | str, refs: list[str], *marks: str, **more: Any) -> Value:
    """A report."""
    return {**thing("report", number, *marks, **more), "published": time_of(0), "object_refs": refs}


def note(number: int | str, refs: list[str], *marks: str, **more: Any) -> Value:
    """A note."""
    return {**thing("note", number, *marks, **more), "content": "a text", "object_refs": refs}


def sighting(number: int | str, of: str, *marks: str, where: list[str] | None = None, **more: Any) -> Value:
    """A sighting."""
    value = {**thing("sighting", number, *marks, **more), "sighting_of_ref": of}
    return value if where is None else {**value, "where_sighted_refs": where}


def opinion(number: int | str, refs: list[str], *marks: str, **more: Any) -> Value:
    """An opinion."""
    return {**thing("opinion", number, *marks, **more), "opinion": "agree", "object_refs": refs}


def translation(number: int | str, of: str, *marks: str, **more: Any) -> Value:
    """A language-content."""
    detail = {"object_ref": of, "contents": {"fr": {"name": "un nom"}}}
    return {**thing("language-content", number, *marks, **more), **detail}


def email(address: str, *marks: str, **more: Any) -> Value:
    """An e-mail address with the id that anybody can work out (STIX 2.1, 2.9)."""
    id_ = f"email-addr--{uuid.uuid5(_NAMESPACE, json.dumps({'value': address}, separators=(',', ':')))}"
    value: Value = {"type": "email-addr", "spec_version": "2.1", "id": id_, "value": address}
    if marks:
        value["object_marking_refs"] = list(marks)
    return {**value, **more}


def observed(number: int | str, refs: list[str], *marks: str, **more: Any) -> Value:
    """An observed-data of STIX 2.1."""
    detail = {"first_observed": time_of(0), "last_observed": time_of(0), "number_observed": 1, "object_refs": refs}
    return {**thing("observed-data", number, *marks, **more), **detail}


def part(marking: str, *selectors: str) -> dict[str, Any]:
    """The member that marks these parts of an object."""
    return {"granular_markings": [{"marking_ref": marking, "selectors": list(selectors)}]}


def iep(id_: str, *marks: str, **more: Any) -> Value:
    """A marking-definition with a FIRST IEP policy: clear, in force since 2020, unless `more` says otherwise."""
    policy = {
        "extension_type": "property-extension",
        "iep_id": "a7a21a2e-0000-4000-8000-000000000001",
        "iep_version": 2,
        "policy_name": "p",
        "start_date": "2020-01-01T00:00:00Z",
        "encrypt_in_transit": "may",
        "permitted_actions": "externally-visible-direct-actions",
        "affected_party_notifications": "may",
        "tlp": "white",
        "provider_attribution": "may",
        "unmodified_resale": "may",
        **more,
    }
    value = statement(id_, "", *marks)
    del value["definition_type"], value["definition"]
    return {**value, "extensions": {IEP_EXTENSION: policy}}


def statement(id_: str, text: str, *marks: str, **more: Any) -> Value:
    """A marking-definition with a statement."""
    value: Value = {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": id_,
        "created": time_of(0),
        "definition_type": "statement",
        "definition": {"statement": text},
    }
    if marks:
        value["object_marking_refs"] = list(marks)
    return {**value, **more}

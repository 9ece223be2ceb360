"""The optional match filters of the TAXII 2.1 interoperability document (3.13.2): what each one asks of an object.

A condition is one filter with its values: it holds when one of the values fits (OR); a request asks for all of its
conditions (AND). What it looks at is the text of an object as its reader gets it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from taxii_server.stix.kinds import is_id
from taxii_server.stix.references import is_followed, names_references, read_references
from taxii_server.times import asked_instant_key, instant_key
from taxii_server.tlp import TLP_1_IDS

Kind = Literal["text", "number", "flag", "nested", "tlp", "references", "number-range", "time-range"]
Value = str | int | bool

#: Tier 1 (3.13.2.1) and tier 2 (3.13.2.2): a property of the object itself, a text or a list of texts.
_TEXTS = [
    "account_type",
    "context",
    "data_type",
    "encryption_algorithm",
    "identity_class",
    "name",
    "opinion",
    "pattern",
    "pattern_type",
    "primary_motivation",
    "region",
    "relationship_type",
    "resource_level",
    "result",
    "sophistication",
    "subject",
    "value",
    "aliases",
    "architecture_execution_envs",
    "capabilities",
    "extension_types",
    "implementation_languages",
    "indicator_types",
    "infrastructure_types",
    "labels",
    "malware_types",
    "personal_motivations",
    "report_types",
    "roles",
    "secondary_motivations",
    "sectors",
    "threat_actor_types",
    "tool_types",
]
_NUMBERS = ("confidence", "dst_port", "number", "src_port")
#: Tier 3 (3.13.2.3): a property further inside, and the properties of the object that it may stand in.
_IN_EXTENSIONS = ("extensions", "objects")
_IN_HASHES = ("hashes", "extensions", "external_references", "objects")
_NESTED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(["MD5", "SHA-1", "SHA-256", "SHA-512", "SHA3-256", "SHA3-512", "SSDEEP", "TLSH"], _IN_HASHES),
    **dict.fromkeys(
        ["address_family", "integrity_level", "pe_type", "service_status", "service_type", "socket_type", "start_type"],
        _IN_EXTENSIONS,
    ),
    "external_id": ("external_references",),
    "source_name": ("external_references",),
    "phase_name": ("kill_chain_phases",),
}
#: Calculations (3.13.2.5): name of the filter -> the property it compares.
_NUMBER_RANGES = {f"{name}-{sign}": name for name in _NUMBERS for sign in ("gte", "lte")}
_TIME_RANGES = {
    "modified-gte": "modified",
    "modified-lte": "modified",
    "valid_until-gte": "valid_until",
    "valid_from-lte": "valid_from",
}
REFERENCES = "relationships-all"
REVOKED = "revoked"
TLP = "tlp"

KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(_TEXTS, "text"),
    **dict.fromkeys(_NUMBERS, "number"),
    REVOKED: "flag",
    **dict.fromkeys(_NESTED, "nested"),
    TLP: "tlp",
    REFERENCES: "references",
    **dict.fromkeys(_NUMBER_RANGES, "number-range"),
    **dict.fromkeys(_TIME_RANGES, "time-range"),
}
#: White to red, and the marking-definition of TLP 1 that each one stands for.
LEVELS: Mapping[str, str] = {"white" if level == "clear" else level: id_ for level, id_ in TLP_1_IDS.items()}

_EXPECTED: Mapping[Kind, str] = {
    "number": "a whole number, such as 80",
    "number-range": "a whole number, such as 80",
    "flag": "true or false",
    "tlp": f"one of {', '.join(LEVELS)}",
    "references": "a STIX id, such as identity--f431f809-377b-45e0-aa1c-6a4751cae5ff",
    "time-range": "a timestamp such as 2026-01-31T12:00:00.000Z",
}
_DIGITS_MAX = 15


@dataclass(frozen=True, slots=True)
class Condition:
    """One filter and its values, sorted and without repeats: texts, whole numbers, flags or instants as keys."""

    name: str
    values: tuple[Value, ...]

    @property
    def kind(self) -> Kind:
        """What it compares, and how."""
        return KINDS[self.name]

    @property
    def subject(self) -> str:
        """The property that it speaks of."""
        return _NUMBER_RANGES.get(self.name) or _TIME_RANGES.get(self.name) or self.name

    @property
    def sources(self) -> tuple[str, ...]:
        """The properties of the object itself that its values may stand in; none for what stands anywhere."""
        if self.name == TLP:
            return ("object_marking_refs", "granular_markings")
        if self.name == REFERENCES:
            return ()
        return _NESTED.get(self.name, (self.subject,))

    @property
    def is_least(self) -> bool:
        """For ranges: whether the value is the least that fits, not the greatest."""
        return self.name.endswith("-gte")

    @property
    def bound(self) -> Value:
        """For ranges: the widest of the values, since one of them is enough."""
        return min(self.values) if self.is_least else max(self.values)


def read_condition(name: str, texts: Sequence[str]) -> Condition:
    """The condition that these texts of a query ask for.

    Raises ValueError, which says which value is wrong and what is expected.
    """
    kind = KINDS[name]
    values: set[Value] = set()
    for text in texts:
        try:
            values.add(_value(kind, text))
        except ValueError:
            shown = text if len(text) <= 60 else f"{text[:57]}..."
            raise ValueError(f"{shown!r} is not {_EXPECTED[kind]}") from None
    return Condition(name, tuple(sorted(values)))


def _value(kind: Kind, text: str) -> Value:
    if kind in ("number", "number-range"):
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX):
            raise ValueError(text)
        return int(text)
    if kind == "flag":
        return {"true": True, "false": False}[text] if text in ("true", "false") else _refuse(text)
    if kind == "tlp":
        return text if text in LEVELS else _refuse(text)
    if kind == "references":
        return text.lower() if is_id(text.lower()) else _refuse(text)
    if kind == "time-range":
        return asked_instant_key(text)
    return text


def _refuse(text: str) -> Value:
    raise ValueError(text)


# ---- does an object fit


def fits(value: Mapping[str, Any], conditions: Iterable[Condition]) -> bool:
    """Whether all of the conditions hold for this object."""
    return all(holds(value, condition) for condition in conditions)


def holds(value: Mapping[str, Any], condition: Condition) -> bool:
    """Whether one of the values of the condition fits this object."""
    kind, values = condition.kind, condition.values
    if kind == "flag":
        return (value.get(REVOKED) is True) in values
    if kind == "tlp":
        ids = {LEVELS[str(level)] for level in values}
        return any(id_ in ids for _, id_ in markings_of(value))
    if kind == "references":
        followed, kept, creator = references_of(value)
        return any(id_ in followed or id_ in kept or id_ == creator for id_ in values)
    if kind in ("number-range", "time-range"):
        found = instant_of(value, condition.subject) if kind == "time-range" else number_of(value, condition.subject)
        if found is None:
            return False
        bound: Any = condition.bound
        return bool(found >= bound if condition.is_least else found <= bound)
    if kind == "number":
        return number_of(value, condition.name) in values
    if kind == "nested":
        return any(text in values for source in condition.sources for text in nested_of(value, source, condition.name))
    return any(text in values for text in texts_of(value, condition.name))


def texts_of(value: Mapping[str, Any], name: str) -> Iterator[str]:
    """The texts of a property: itself, or the members of its list."""
    found = value.get(name)
    if isinstance(found, str):
        yield found
    elif isinstance(found, list):
        yield from (each for each in found if isinstance(each, str))


def number_of(value: Mapping[str, Any], name: str) -> int | None:
    """The whole number that a property is, None when it is none."""
    found = value.get(name)
    if isinstance(found, bool):
        return None
    if isinstance(found, float) and found.is_integer():
        return int(found)
    return found if isinstance(found, int) else None


def instant_of(value: Mapping[str, Any], name: str) -> str | None:
    """The instant of a timestamp as a key that sorts, None when the property is none."""
    found = value.get(name)
    if not isinstance(found, str):
        return None
    try:
        return instant_key(found)
    except ValueError:
        return None


def nested_of(value: Mapping[str, Any], source: str, name: str) -> Iterator[str]:
    """The texts under this name at any depth inside a property."""
    if source in value:
        for found, text in _named(value[source]):
            if found == name:
                yield text


def all_nested(value: Mapping[str, Any], source: str) -> Iterator[tuple[str, str]]:
    """(name, text) of everything inside a property that a tier 3 filter may ask for there."""
    if source in value:
        for name, text in _named(value[source]):
            if source in _NESTED.get(name, ()):
                yield name, text


def _named(place: Any) -> Iterator[tuple[str, str]]:
    if isinstance(place, dict):
        for name, member in place.items():
            if isinstance(member, str):
                yield name, member
            elif isinstance(member, (dict, list)):
                yield from _named(member)
    elif isinstance(place, list):
        for member in place:
            yield from _named(member)


def markings_of(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The markings of the object and of its parts: the property that each stands in, and its id."""
    for id_ in texts_of(value, "object_marking_refs"):
        yield "object_marking_refs", id_
    granular = value.get("granular_markings")
    for marking in granular if isinstance(granular, list) else ():
        if isinstance(marking, dict) and isinstance(marking.get("marking_ref"), str):
            yield "granular_markings", marking["marking_ref"]


def references_of(value: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str], str | None]:
    """The ids under names that end in `_ref` or `_refs` at any depth.

    First those that a hidden object takes away or hides with it (stix/references.py), then those that stay in any
    case (markings, creators of parts), and the creator of the object. An object may refer to itself.
    """
    hard, soft = read_references({name: member for name, member in value.items() if name != "id"})
    kept: set[str] = set()
    _collect_kept(value, kept, followed=True)
    creator = value.get("created_by_ref")
    return frozenset((*hard, *soft)), frozenset(kept), creator if isinstance(creator, str) else None


def _collect_kept(place: Any, kept: set[str], *, followed: bool, top: bool = True) -> None:
    if isinstance(place, list):
        for member in place:
            _collect_kept(member, kept, followed=followed, top=False)
    elif isinstance(place, dict):
        for name, member in place.items():
            goes_on = followed and is_followed(name)
            if name.endswith(("_ref", "_refs")) and not (goes_on and names_references(name)):
                if not (top and name == "created_by_ref"):
                    kept.update(
                        id_.strip().lower()
                        for id_ in (member if isinstance(member, list) else (member,))
                        if isinstance(id_, str) and is_id(id_.strip().lower())
                    )
            elif isinstance(member, (dict, list)):
                _collect_kept(member, kept, followed=goes_on, top=False)

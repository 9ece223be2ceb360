"""One STIX object as fields that a person reads: the telling ones first, each cut, deep ones as JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taxii_server.web.console import shown

#: What stands at the head of a page already, or has a place of its own.
_ELSEWHERE = frozenset({"type", "id", "spec_version", "object_marking_refs", "created", "modified"})
_FIRST = (
    "name", "value", "description", "opinion", "abstract", "content", "explanation", "pattern", "pattern_type",
    "pattern_version", "indicator_types", "malware_types", "is_family", "aliases", "roles", "identity_class",
    "sectors", "labels", "confidence", "valid_from", "valid_until", "first_seen", "last_seen", "first_observed",
    "last_observed", "number_observed", "published", "relationship_type", "source_ref", "target_ref",
    "sighting_of_ref", "created_by_ref", "kill_chain_phases", "external_references", "object_refs",
)  # fmt: skip
_LAST = ("lang", "revoked", "granular_markings", "extensions", "definition_type", "definition")
_ID = re.compile(r"[a-z][a-z0-9-]{1,249}--[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?Z")
_CODE = frozenset({"pattern", "value", "hashes", "payload_bin", "command_line", "path", "key"})
_MAX_FIELDS, _MAX_ITEMS = 80, 40


@dataclass(frozen=True, slots=True)
class Item:
    """One value. `id` is set when it is the id of an object, `is_code` when every character of it counts."""

    text: str
    id: str = ""
    is_code: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """A property with its values; `rest` says how many are left out."""

    name: str
    items: tuple[Item, ...]
    rest: int = 0


def fields_of(value: Mapping[str, Any]) -> list[Field]:
    """The fields of an object, at most so many."""
    names = [name for name in value if name not in _ELSEWHERE]
    order = {name: place for place, name in enumerate(_FIRST)} | dict.fromkeys(_LAST, 1000)
    names.sort(key=lambda name: order.get(name, 500))
    return [_field(name, value[name]) for name in names[:_MAX_FIELDS]]


def is_id(text: object) -> bool:
    """Whether this is a STIX id."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def title_of(value: Mapping[str, Any]) -> str:
    """What people call the object; empty when it has no name of any kind."""
    for name in ("name", "value", "abstract", "path", "key", "subject", "user_id", "account_login", "display_name"):
        text = value.get(name)
        if isinstance(text, str) and text.strip():
            return text
    kind = value.get("relationship_type")
    if isinstance(kind, str):
        return f"{_kind(value.get('source_ref'))} {kind} {_kind(value.get('target_ref'))}"
    if is_id(value.get("sighting_of_ref")):
        return f"sighting of {_kind(value['sighting_of_ref'])}"
    for name in ("pattern", "opinion", "content", "description"):
        text = value.get(name)
        if isinstance(text, str) and text.strip():
            return text
    hashes = value.get("hashes")
    if isinstance(hashes, dict) and hashes:
        return str(next(iter(hashes.values())))
    number = value.get("number")
    if isinstance(number, int):
        return f"AS{number}"[:40]
    return ""


def _kind(reference: object) -> str:
    return reference.partition("--")[0] if is_id(reference) and isinstance(reference, str) else "?"


def _field(name: str, value: object) -> Field:
    if isinstance(value, list) and value:
        return Field(
            shown.short(name), tuple(_item(name, each) for each in value[:_MAX_ITEMS]), len(value) - _MAX_ITEMS
        )
    if isinstance(value, dict) and value and all(isinstance(each, str) for each in value.values()):
        members = list(value.items())
        items = tuple(_item(name, f"{key}: {text}") for key, text in members[:_MAX_ITEMS])
        return Field(shown.short(name), items, len(members) - _MAX_ITEMS)
    return Field(shown.short(name), (_item(name, value),))


def _item(name: str, value: object) -> Item:
    if isinstance(value, bool):
        return Item("yes" if value else "no")
    if isinstance(value, str):
        if is_id(value):
            return Item(value, id=value)
        if _TIME.fullmatch(value):
            return Item(f"{shown.instant(value)} UTC")
        return Item(shown.clean(value), is_code=name in _CODE)
    if isinstance(value, dict) and name in ("external_references", "kill_chain_phases"):
        texts = [shown.clean(each, 400) for each in value.values() if isinstance(each, str)]
        return Item(" \N{MIDDLE DOT} ".join(texts[:6]))
    return Item(shown.as_json(value, shown.LONG), is_code=isinstance(value, (dict, list)))

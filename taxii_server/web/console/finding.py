"""What somebody types to find an object: an id, or a value or a word."""

from __future__ import annotations

import ipaddress
import json
import re
import uuid
from collections.abc import Callable

from taxii_server.service.copies import Served
from taxii_server.stix.kinds import plain_word

#: STIX 2.1, 2.9: ids of observables are made from their values with this name space.
_NAMESPACE = uuid.UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")
_HASHES = {32: "MD5", 40: "SHA-1", 64: "SHA-256", 128: "SHA-512"}
_HEX = re.compile(r"[0-9a-fA-F]+")
_DEFANGED = (("hxxp", "http"), ("[.]", "."), ("(.)", "."), ("[:]", ":"), ("[at]", "@"), ("[@]", "@"))
MAX_CHARS = 2_000
#: Texts that every object has.
_NO_WORDS = frozenset({"id", "type", "spec_version", "created", "modified", "pattern_type", "pattern_version"})


def refanged(text: str) -> str:
    """The value as it was before somebody made it harmless: `hxxp://x[.]example` and the like."""
    for harmless, real in _DEFANGED:
        text = text.replace(harmless, real)
    return text


def likely_ids(text: str) -> list[str]:
    """Ids of the observables that have this value, where an id follows from the value."""
    values = list(dict.fromkeys((text, text.lower())))
    found: list[str] = []
    for value in values:
        if _HEX.fullmatch(value) and len(value) in _HASHES:
            found.append(_id("file", {"hashes": {_HASHES[len(value)]: value}}))
            found.append(_id("artifact", {"hashes": {_HASHES[len(value)]: value}}))
        kinds = ["url"] if "://" in value else ["email-addr"] if "@" in value else _host_kinds(value)
        found += [_id(kind, {"value": value}) for kind in kinds]
        if not kinds:
            found += [_id(kind, {name: value}) for kind, name in (("mutex", "name"), ("file", "name"))]
    return found


def _host_kinds(value: str) -> list[str]:
    try:
        return [f"ipv{ipaddress.ip_interface(value).version}-addr"]
    except ValueError:
        pass
    if re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", value):
        return ["mac-addr"]
    return ["domain-name"] if "." in value and " " not in value else []


def _id(kind: str, contributing: object) -> str:
    # The canonical form of RFC 8785, which for texts is this.
    name = json.dumps(contributing, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return f"{kind}--{uuid.uuid5(_NAMESPACE, name)}"


def holds(text: str) -> Callable[[Served], bool]:
    """Whether a text of an object (any property that says something) holds this one, capitals aside."""
    wanted = plain_word(text)

    def fits(item: Served) -> bool:
        try:
            return any(wanted in plain_word(each) for each in _texts(json.loads(item.content)))
        except (ValueError, RecursionError):
            return False

    return fits


def _texts(value: object, name: str = "") -> list[str]:
    found: list[str] = []
    left: list[tuple[str, object]] = [(name, value)]
    while left:
        name, value = left.pop()
        if isinstance(value, dict):
            left += value.items()
        elif isinstance(value, list):
            left += [(name, each) for each in value]
        elif isinstance(value, str) and name not in _NO_WORDS and not name.endswith(("_ref", "_refs")):
            found.append(value)
    return found

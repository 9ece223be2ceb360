"""The checks that every object has to pass, whatever its type: what the hub itself relies on.

Versions, ids, markings and the values that policy rules read must have the form that STIX gives them, else an
object could be filed under the wrong version or be read by somebody its marking was meant to keep out. Everything
else is left to the schemas (`stix.schema`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taxii_server.errors import InvalidObject
from taxii_server.stix.kinds import (
    MARKING_DEFINITION,
    TYPE_MAX_CHARS,
    UUID_CHARS,
    UUID_PATTERN,
    is_id,
    is_type,
    shown,
)
from taxii_server.stix.selectors import resolves
from taxii_server.times import instant_key

#: A timestamp is also a database key; seconds with 40 decimals are enough for anybody.
TIMESTAMP_MAX_CHARS = 64


def read_type(value: Mapping[str, Any]) -> str:
    """The type of the object; a bundle is refused, its members are what belongs here."""
    found = _required(value, "type", "a STIX type such as 'indicator'")
    if not is_type(found):
        raise InvalidObject(
            "type",
            f"{shown(found)} is not a STIX type: lower-case letters, digits and single hyphens are expected,"
            f" at most {TYPE_MAX_CHARS} characters",
        )
    if found == "bundle":
        raise InvalidObject("type", "a bundle cannot stand inside `objects`; send its members instead")
    return str(found)


def read_id(value: Mapping[str, Any], of_type: str) -> str:
    """The id of the object: its type, two hyphens, a UUID in lower case (STIX 2.1, 2.9)."""
    found = _required(value, "id", f"{of_type}--UUID")
    uuid = found[len(of_type) + 2 :] if isinstance(found, str) else ""
    if found != f"{of_type}--{uuid}" or len(uuid) != UUID_CHARS or UUID_PATTERN.fullmatch(uuid) is None:
        raise InvalidObject("id", f"{shown(found)} is not the form {of_type}--UUID with a UUID in lower case")
    return str(found)


def read_version(value: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The version and its sortable key: `modified`, else `created`, else None twice (TAXII 2.1, 3.4.1).

    Both have to be dates that exist. Neither is demanded here: observables have none, and ATLAS holds a custom
    object without them. `modified` before `created` (against STIX 2.1, 3.2) occurs in ATLAS too and does no harm:
    only `modified` orders versions.
    """
    created, modified = value.get("created"), value.get("modified")
    created_key = _instant("created", created) if "created" in value else None
    if "modified" not in value:
        return created, created_key
    modified_key = created_key if created_key and modified == created else _instant("modified", modified)
    return modified, modified_key


def check_common(value: Mapping[str, Any], spec_version: str) -> None:
    """The form of the common properties that the hub reads (STIX 2.1, 3.2); absent ones are fine."""
    if "revoked" in value and not isinstance(value["revoked"], bool):
        raise InvalidObject("revoked", f"{shown(value['revoked'])} is not true or false")
    if "created_by_ref" in value and not is_id(value["created_by_ref"], "identity"):
        raise InvalidObject("created_by_ref", f"{shown(value['created_by_ref'])} is not the form identity--UUID")
    if "labels" in value:
        for index, label in enumerate(_list("labels", value["labels"])):
            _text(f"labels[{index}]", label)
    if "object_marking_refs" in value:
        for index, ref in enumerate(_list("object_marking_refs", value["object_marking_refs"])):
            _marking_ref(f"object_marking_refs[{index}]", ref)
    if "granular_markings" in value:
        for index, marking in enumerate(_list("granular_markings", value["granular_markings"])):
            _check_granular(f"granular_markings[{index}]", marking, value)
    if spec_version != "2.0":
        _check_new_in_2_1(value)


def _check_new_in_2_1(value: Mapping[str, Any]) -> None:
    """`confidence` and `extensions`: common properties since STIX 2.1, custom ones of any form before."""
    if "confidence" in value:
        confidence = value["confidence"]
        whole = isinstance(confidence, int) or (isinstance(confidence, float) and confidence.is_integer())
        if isinstance(confidence, bool) or not whole or not 0 <= confidence <= 100:
            raise InvalidObject("confidence", f"{shown(confidence)} is not an integer from 0 to 100")
    if "extensions" in value:
        extensions = value["extensions"]
        if not isinstance(extensions, dict):
            raise InvalidObject("extensions", f"an object is expected, found {shown(extensions)}")
        for name, extension in extensions.items():
            if not isinstance(extension, dict):
                raise InvalidObject(f"extensions.{name[:80]}", f"an object is expected, found {shown(extension)}")


def _check_granular(path: str, marking: Any, value: Mapping[str, Any]) -> None:
    """One granular marking: selectors that resolve, and exactly one of marking_ref and lang (STIX 2.1, 7.2.3)."""
    if not isinstance(marking, dict):
        raise InvalidObject(path, f"an object is expected, found {shown(marking)}")
    selectors = _required(marking, "selectors", "a list of selectors", path)
    for index, selector in enumerate(_list(f"{path}.selectors", selectors)):
        place = f"{path}.selectors[{index}]"
        _text(place, selector)
        if not resolves(selector, value):
            raise InvalidObject(place, f"{shown(selector)} selects nothing that exists in this object")
    if ("marking_ref" in marking) == ("lang" in marking):
        raise InvalidObject(path, "exactly one of marking_ref and lang is expected")
    if "marking_ref" in marking:
        _marking_ref(f"{path}.marking_ref", marking["marking_ref"])
    else:
        _text(f"{path}.lang", marking["lang"])


def _required(value: Mapping[str, Any], name: str, expected: str, path: str = "") -> Any:
    if name not in value:
        raise InvalidObject(f"{path}.{name}" if path else name, f"the property is missing; {expected} is expected")
    return value[name]


def _list(path: str, found: Any) -> list[Any]:
    if not isinstance(found, list) or not found:
        raise InvalidObject(path, f"a list of at least one item is expected, found {shown(found)}")
    return found


def _text(path: str, found: Any) -> None:
    if not isinstance(found, str):
        raise InvalidObject(path, f"a text is expected, found {shown(found)}")


def _marking_ref(path: str, found: Any) -> None:
    if not is_id(found, MARKING_DEFINITION):
        raise InvalidObject(path, f"{shown(found)} is not the form marking-definition--UUID in lower case")


def _instant(name: str, found: Any) -> str:
    if not isinstance(found, str):
        raise InvalidObject(name, f"a timestamp is expected, found {shown(found)}")
    if len(found) > TIMESTAMP_MAX_CHARS:
        raise InvalidObject(name, f"the timestamp has {len(found)} characters, at most {TIMESTAMP_MAX_CHARS} are read")
    try:
        return instant_key(found)
    except ValueError as error:
        raise InvalidObject(name, str(error)) from error

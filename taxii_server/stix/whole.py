"""Which parts of an object can be missing, so that the rest is still an object of its type.

The schemas say it for most properties; here stands what the hub relies on besides, and what holds in collections
that take objects no schema would.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taxii_server.model import NEVER_CUT
from taxii_server.stix.kinds import MARKING_DEFINITION, is_observable
from taxii_server.stix.schema import required_properties
from taxii_server.stix.selectors import Path

#: Of no use in part: a marking or a definition means what all of it says, a translation repeats what was removed.
_WHOLE_TYPES = frozenset({MARKING_DEFINITION, "language-content", "extension-definition", "bundle"})

#: STIX 2.1: types that need one of several groups of properties.
_ONE_OF: Mapping[str, tuple[frozenset[str], ...]] = {
    "location": (frozenset({"region"}), frozenset({"country"}), frozenset({"latitude", "longitude"})),
    "malware-analysis": (frozenset({"result"}), frozenset({"analysis_sco_refs"})),
    "observed-data": (frozenset({"objects"}), frozenset({"object_refs"})),
}


def is_never_cut(value: Mapping[str, Any]) -> bool:
    """True for objects that are delivered whole or not at all.

    A custom object with neither `created` nor `modified` may be an observable.
    """
    return value["type"] in _WHOLE_TYPES or is_observable(value) or ("created" not in value and "modified" not in value)


def fixed_properties(value: Mapping[str, Any], spec_version: str) -> frozenset[str]:
    """The names among its properties without which the object would be none of its type.

    Each one is vital by itself; that two others cannot go together is not said here.
    """
    names = value.keys()
    if is_never_cut(value):
        return frozenset(names)
    of_type = value["type"]
    fixed = NEVER_CUT | required_properties(of_type, spec_version)
    groups = [group for group in _groups(of_type, spec_version) if group <= names]
    if len(groups) == 1:
        fixed |= groups[0]
    if of_type == "malware" and value.get("is_family") is True:
        fixed |= {"name"}
    if _declared(value):
        fixed |= {"extensions"}
    return fixed & names


def may_be_cut(value: Mapping[str, Any], path: Path, fixed: frozenset[str]) -> bool:
    """False for a part that has to stay, and for one inside an observable that stands in observed data.

    `fixed` are the `fixed_properties` of the object; something inside a required one may go.
    """
    if len(path) > 1 and value["type"] == "observed-data" and path[0] == "objects":
        return False
    return path[0] not in (NEVER_CUT if len(path) > 1 else fixed)


def is_whole(value: Mapping[str, Any], copy: Mapping[str, Any], spec_version: str) -> bool:
    """True when a copy that has the `fixed_properties` also has what only together is vital."""
    groups = _groups(value["type"], spec_version)
    if any(group <= value.keys() for group in groups) and not any(group <= copy.keys() for group in groups):
        return False
    return _declared(value) == _declared(copy)


def is_broken(path: Path, rest: Any) -> bool:
    """True when what is left of a part at these steps has lost what such a part needs."""
    if len(path) != 2 or not isinstance(rest, dict):
        return False
    if path[0] == "kill_chain_phases":
        return not {"kill_chain_name", "phase_name"} <= rest.keys()
    if path[0] == "external_references":
        needed = (
            {"external_id"} if rest.get("source_name") in ("cve", "capec") else {"external_id", "description", "url"}
        )
        return "source_name" not in rest or needed.isdisjoint(rest)
    return (
        path[0] == "extensions" and str(path[1]).startswith("extension-definition--") and "extension_type" not in rest
    )


def _groups(of_type: str, spec_version: str) -> tuple[frozenset[str], ...]:
    return _ONE_OF.get(of_type, ()) if spec_version == "2.1" else ()


def _declared(value: Mapping[str, Any]) -> frozenset[str]:
    """The extensions that declare the type of the object (STIX 2.1, 7.3)."""
    extensions = value.get("extensions")
    if not isinstance(extensions, dict):
        return frozenset()
    return frozenset(
        name
        for name, member in extensions.items()
        if isinstance(member, dict) and str(member.get("extension_type", "")).startswith("new-")
    )

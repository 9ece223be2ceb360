"""A copy of an object for readers who may not see all of it (policy design, B.5, C7, C8, C11).

STIX allows one representation per id and version (3.6), and asks whoever republishes an object with omissions for
a new id (3.5). So the copy has an id of its own and the hub as its creator, and a relationship says where it comes
from. Its id is an HMAC: a plain hash would let a reader test guesses of the original id.

What was removed must not show. The id depends on the *place* of the removed parts, and for lists of references on
what stays in them, never on a removed text or id: the copy of another secret is the same copy, byte for byte. Two
readers who see the same parts get the same copy.

When a copy would be no valid object, or would still show what is hidden, there is none: the object is hidden.
"""

from __future__ import annotations

import hmac
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from taxii_server.errors import InvalidObject
from taxii_server.model import Removal
from taxii_server.stix.canonical import canonical_bytes
from taxii_server.stix.cutting import Moved, Tree, add, cut, ends, is_cut
from taxii_server.stix.references import ALL_HARD_TYPES, is_one_of, mentions, reference_lists
from taxii_server.stix.schema import check_schema
from taxii_server.stix.selectors import path_of, selector_of
from taxii_server.stix.structure import check_common
from taxii_server.stix.validate import read_spec_version
from taxii_server.stix.whole import fixed_properties, is_broken, is_never_cut, is_whole, may_be_cut

#: What a relationship cannot start from (STIX 2.1, 5.1).
_RELATIONS = frozenset({"relationship", "sighting"})


@dataclass(frozen=True, slots=True)
class Maker:
    """Who makes the copies: the key of their ids, and the identity that stands as their creator.

    STIX 2.0 takes no other UUIDs than version 4: with another identity there are no copies of STIX 2.0 objects.
    `hub_identity` makes a fitting one.
    """

    secret: bytes
    identity: str


@dataclass(frozen=True, slots=True)
class Derived:
    """A copy, and the `derived-from` relationship from the copy to the original, each as JSON.

    `relation_id` and `relation` are empty for the copy of a relationship or sighting: STIX lets none start there.
    """

    id: str
    type: str
    spec_version: str
    content: bytes
    relation_id: str
    relation: bytes


def takes_away(value: Mapping[str, Any], removal: Removal) -> bool:
    """True when the removal touches this object; one that it does not touch is delivered as it is."""
    return (
        (removal.creator and "created_by_ref" in value)
        or any(name in value for name in removal.properties)
        or any(_marks(marking, removal.markings) for marking in _markings(value))
        or mentions(value, removal.references)
    )


def derive(
    value: Mapping[str, Any],
    removal: Removal,
    maker: Maker,
    created: str,
    modified: str,
    spec_version: str | None = None,
) -> Derived | None:
    """The copy of an object without the parts that the removal names; None when there can be none: hide it.

    `value` is a stored object, read by the standard library: numbers beyond 64 bits are kept. `created` and
    `modified` are those of the copy, with three digits. `spec_version` is the one it was stored under; without one
    it is read off the object. The copy keeps the order of the members; parts that do not change are not checked
    again.

    Raises ValueError when the removal touches nothing (`takes_away` tells): a copy would hide nothing and the
    original is the right answer.
    """
    if not takes_away(value, removal):
        raise ValueError("the removal touches nothing in this object")
    version = spec_version or read_spec_version(dict(value), None)
    copy = _copy(value, removal, maker, created, modified, version)
    if copy is None:
        return None
    relation = None if _is_relation(value) else _relation(value, copy, maker, version)
    return Derived(
        id=copy["id"],
        type=copy["type"],
        spec_version=version,
        content=_json(copy),
        relation_id=relation["id"] if relation else "",
        relation=_json(relation) if relation else b"",
    )


def can_derive(value: Mapping[str, Any], removal: Removal, spec_version: str) -> bool:
    """Whether there is a copy without these parts; True when nothing is to be removed."""
    return markings_left(value, removal, spec_version) is not None


def markings_left(value: Mapping[str, Any], removal: Removal, spec_version: str) -> frozenset[str] | None:
    """The granular markings of the copy without these parts, languages aside; None when there is no copy.

    Those of the object itself when nothing is to be removed.
    """
    maker, moment = Maker(b"", f"identity--{_uuid(b'', [], '2.0')}"), "2000-01-01T00:00:00.000Z"
    left: Mapping[str, Any] | None = value
    if takes_away(value, removal):
        left = _copy(value, removal, maker, moment, moment, spec_version)
    return None if left is None else frozenset(each["marking_ref"] for each in _markings(left) if "marking_ref" in each)


def hub_identity(secret: bytes) -> str:
    """The id of the identity that stands as creator of copies; the same for the same secret, valid in STIX 2.0."""
    return f"identity--{_uuid(secret, ['hub'], '2.0')}"


def _copy(
    value: Mapping[str, Any], removal: Removal, maker: Maker, created: str, modified: str, spec_version: str
) -> dict[str, Any] | None:
    if is_never_cut(value) or (value["type"] in ALL_HARD_TYPES and mentions(value, removal.references)):
        return None
    fixed = fixed_properties(value, spec_version)
    tree = _parts(value, removal, fixed)
    if tree is None:
        return None
    parts = sorted(ends(tree))
    lists = _cut_references(value, removal.references, tree)
    copy, gone = cut(value, tree, is_broken)
    if not fixed <= copy.keys() or not is_whole(value, copy, spec_version) or mentions(copy, removal.references):
        return None
    if "granular_markings" in value and not _renumber(value, copy, gone):
        return None
    copy["id"] = f"{value['type']}--{_uuid(maker.secret, [value['id'], parts, lists], spec_version)}"
    copy["created_by_ref"] = maker.identity
    copy["created"] = created
    copy["modified"] = modified
    return copy if _is_valid(value, copy, spec_version) else None


def _parts(value: Mapping[str, Any], removal: Removal, fixed: frozenset[str]) -> Tree | None:
    """The parts to cut out, references aside; None when one of them has to stay or a selector names nothing.

    The creator is not among them: every copy has another one anyway.
    """
    tree: Tree = {}
    for marking in _markings(value):
        if _marks(marking, removal.markings):
            for selector in marking["selectors"]:
                path = path_of(selector, value)
                if path is None or not may_be_cut(value, path, fixed):
                    return None
                add(tree, path)
    for name in removal.properties:
        if name in value:
            if not may_be_cut(value, (name,), fixed):
                return None
            add(tree, (name,))
    tree.pop("created_by_ref", None)
    if value["type"] == "location" and ("latitude" in tree or "longitude" in tree):
        # Half a position is not valid, and the precision of none is not either (STIX 2.1, 4.11).
        for name in ("latitude", "longitude", "precision"):
            if name in value:
                add(tree, (name,))
    return tree


def _cut_references(value: Mapping[str, Any], hidden: frozenset[str], tree: Tree) -> list[list[Any]]:
    """Adds the hidden ids in lists to the tree. Gives (steps to the list, ids that stay) of each list concerned."""
    lists: list[list[Any]] = []
    if not hidden:
        return lists
    for path, members in reference_lists(value):
        left = [(index, ref) for index, ref in enumerate(members) if not is_cut(tree, (*path, index))]
        found = [index for index, ref in left if is_one_of(ref, hidden)]
        if found:
            lists.append([path, sorted(ref for _, ref in left if isinstance(ref, str) and not is_one_of(ref, hidden))])
        for index in found:
            add(tree, (*path, index))
    return sorted(lists)


def _renumber(value: Mapping[str, Any], copy: dict[str, Any], gone: Tree) -> bool:
    """Puts the granular markings of what is left into the copy; False when one is not understood."""
    moved = Moved({**gone, "created_by_ref": {}})
    kept = []
    for marking in _markings(value):
        selectors = []
        for selector in marking["selectors"]:
            path = path_of(selector, value)
            if path is None or path[0] == "granular_markings":
                return False
            new = moved.path(path)
            if new is not None:
                selectors.append(selector_of(new))
        if selectors:
            kept.append(marking | {"selectors": selectors})
    if kept:
        copy["granular_markings"] = kept
    else:
        del copy["granular_markings"]
    return True


def _is_valid(value: Mapping[str, Any], copy: dict[str, Any], spec_version: str) -> bool:
    """As valid as the original: a collection may take objects that no schema would.

    The schemas know no markings with a language; `check_common` reads them all.
    """
    try:
        check_common(copy, spec_version)
    except InvalidObject:
        return False
    return _fits_schema(copy, spec_version) or not _fits_schema(value, spec_version)


def _fits_schema(value: Mapping[str, Any], spec_version: str) -> bool:
    try:
        check_schema({name: value[name] for name in value if name != "granular_markings"}, spec_version)
    except InvalidObject:
        return False
    return True


def _relation(value: Mapping[str, Any], copy: Mapping[str, Any], maker: Maker, spec_version: str) -> dict[str, Any]:
    relation = {
        "type": "relationship",
        "spec_version": spec_version,
        "id": f"relationship--{_uuid(maker.secret, [copy['id'], 'derived-from'], spec_version)}",
        "created_by_ref": maker.identity,
        "created": copy["created"],
        "modified": copy["modified"],
        "relationship_type": "derived-from",
        "source_ref": copy["id"],
        "target_ref": value["id"],
    }
    if spec_version == "2.0":
        del relation["spec_version"]
    if "object_marking_refs" in value:
        relation["object_marking_refs"] = value["object_marking_refs"]
    return relation


def _is_relation(value: Mapping[str, Any]) -> bool:
    extensions = value.get("extensions")
    members = extensions.values() if isinstance(extensions, dict) else ()
    return value["type"] in _RELATIONS or any(
        isinstance(member, dict) and member.get("extension_type") == "new-sro" for member in members
    )


def _markings(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = value.get("granular_markings", [])
    return found


def _marks(marking: Mapping[str, Any], ids: frozenset[str]) -> bool:
    return marking.get("marking_ref") in ids


def _uuid(secret: bytes, seed: list[Any], spec_version: str) -> uuid.UUID:
    """A name-based UUID under a key. Marked as version 4 for STIX 2.0, whose ids have to say that (2.0, 2.7)."""
    digest = hmac.digest(secret, canonical_bytes(seed), "sha256")
    return uuid.UUID(bytes=digest[:16], version=4 if spec_version == "2.0" else 5)


def _json(value: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # an integer beyond 64 bits
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")

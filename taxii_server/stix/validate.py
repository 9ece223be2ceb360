"""One posted object checked and read: what is needed to store it, and nothing a library made of it."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from taxii_server.errors import InvalidObject
from taxii_server.stix.canonical import digest
from taxii_server.stix.kinds import MARKING_DEFINITION, is_observable, shown
from taxii_server.stix.markings import read_marking_definition
from taxii_server.stix.parse import Item
from taxii_server.stix.references import read_references
from taxii_server.stix.schema import check_schema
from taxii_server.stix.structure import check_common, read_id, read_type, read_version

Strictness = Literal["structure", "schema"]

#: A document of MongoDB ends at 16 MiB, and holds beside the text each reference again: 52 bytes for one that takes
#: 42 bytes of text. The largest object of any known feed has 0.25 MB.
OBJECT_MAX_BYTES = 7_000_000

SPEC_VERSIONS = ("2.0", "2.1")


class Checked(NamedTuple):
    """A valid object. `raw` is its posted text; the rest are the columns of a Draft (see model.py).

    `marking_definition` is the payload of `markings.read_marking_definition`, None for every other type.
    A tuple for the reason that model.Record is one: 1.3 us less an object.
    """

    value: dict[str, Any]
    raw: bytes
    id: str
    type: str
    spec_version: str
    version: str | None
    version_key: str | None
    digest: bytes
    hard_refs: tuple[str, ...]
    soft_refs: tuple[str, ...]
    marking_definition: str | None


def read_object(item: Item, strictness: Strictness, spec_versions: frozenset[str], submitter: str = "") -> Checked:
    """The object of one item, checked.

    "structure" checks what every STIX object shares and the hub relies on: type, id, timestamps, markings.
    "schema" checks the OASIS schema of the type as well.
    `spec_versions` are those that the collection takes. `submitter` goes into the marking payload; without one
    that payload gives a marking no meaning to anybody.

    Raises InvalidObject, which names the property, what was found and what is expected.
    """
    value = item.value
    if not isinstance(value, dict):
        raise InvalidObject("", f"a STIX object is expected, found {shown(value)}")
    if len(item.raw) > OBJECT_MAX_BYTES:
        raise InvalidObject("", f"the object has {len(item.raw)} bytes, at most {OBJECT_MAX_BYTES} are accepted")
    of_type = read_type(value)
    own_id = read_id(value, of_type)
    spec_version = read_spec_version(value, item.bundle_spec)
    if spec_version not in spec_versions:
        accepted = " and ".join(sorted(spec_versions)) or "no version"
        raise InvalidObject("spec_version", f"this is a STIX {spec_version} object, the collection takes {accepted}")
    version, version_key = read_version(value)
    check_common(value, spec_version)
    if strictness == "schema":
        check_schema(value, spec_version)
    hard_refs, soft_refs = read_references(value)
    marking = read_marking_definition(value, submitter) if of_type == MARKING_DEFINITION else None
    return Checked(
        value=value,
        raw=item.raw,
        id=own_id,
        type=of_type,
        spec_version=spec_version,
        version=version,
        version_key=version_key,
        digest=digest(value),
        hard_refs=hard_refs,
        soft_refs=soft_refs,
        marking_definition=marking,
    )


def read_spec_version(value: dict[str, Any], bundle_spec: str | None) -> str:
    """The STIX version of the object: its own, else its bundle's, else 2.1 for an observable, else 2.0."""
    if "spec_version" in value:
        found = value["spec_version"]
    elif bundle_spec is not None:
        found = bundle_spec
    else:
        found = "2.1" if is_observable(value) else "2.0"
    if found not in SPEC_VERSIONS:
        raise InvalidObject("spec_version", f"{shown(found)} is not a version that is known: 2.0 or 2.1 is expected")
    return str(found)

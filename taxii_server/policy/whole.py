"""What cannot be taken out of the objects of examples: they have no texts, so the types alone tell.

Stored objects are looked at themselves (stix/whole.py); the two agree about the standard types.
"""

from __future__ import annotations

from collections.abc import Mapping

from taxii_server.model import NEVER_CUT

#: Types of which no copy is made: cyber-observables (STIX 2.1, 6), and what explains other objects.
_WHOLE = """
    artifact autonomous-system directory domain-name email-addr email-message file ipv4-addr ipv6-addr mac-addr mutex
    network-traffic process software url user-account windows-registry-key x509-certificate
    marking-definition language-content extension-definition
"""
WHOLE_TYPES = frozenset(_WHOLE.split())

_REQUIRED: Mapping[str, frozenset[str]] = {
    "attack-pattern": frozenset({"name"}),
    "campaign": frozenset({"name"}),
    "course-of-action": frozenset({"name"}),
    "grouping": frozenset({"context", "object_refs"}),
    "identity": frozenset({"name"}),
    "incident": frozenset({"name"}),
    "indicator": frozenset({"pattern", "pattern_type", "valid_from"}),
    "infrastructure": frozenset({"name"}),
    "intrusion-set": frozenset({"name"}),
    "malware": frozenset({"is_family"}),
    "malware-analysis": frozenset({"product"}),
    "note": frozenset({"content", "object_refs"}),
    "observed-data": frozenset({"first_observed", "last_observed", "number_observed"}),
    "opinion": frozenset({"opinion", "object_refs"}),
    "relationship": frozenset({"relationship_type", "source_ref", "target_ref"}),
    "report": frozenset({"name", "published", "object_refs"}),
    "sighting": frozenset({"sighting_of_ref"}),
    "threat-actor": frozenset({"name"}),
    "tool": frozenset({"name"}),
    "vulnerability": frozenset({"name"}),
}
#: Every type of object that STIX 2.1 defines, relationships and markings included.
STANDARD_TYPES = WHOLE_TYPES | frozenset(_REQUIRED)


def is_required(type_: str, name: str) -> bool:
    """Whether an object of this type must have this property (STIX 2.1, 3.2 and section 4)."""
    return name in NEVER_CUT or name in _REQUIRED.get(type_, ())

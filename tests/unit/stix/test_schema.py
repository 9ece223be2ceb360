"""What the OASIS schemas say beyond the check of one object (`test_validate.py`)."""

from __future__ import annotations

import pytest

from taxii_server.stix.schema import required_properties

EVERY = {"type", "id", "created", "modified"}


@pytest.mark.parametrize(
    ("of_type", "spec_version", "own"),
    [
        ("indicator", "2.1", {"spec_version", "pattern", "pattern_type", "valid_from"}),
        ("indicator", "2.0", {"pattern", "labels", "valid_from"}),
        ("report", "2.1", {"spec_version", "name", "object_refs", "published"}),
        ("malware", "2.1", {"spec_version", "is_family"}),
        ("sighting", "2.0", {"sighting_of_ref"}),
        ("location", "2.1", {"spec_version"}),
        ("x-custom", "2.1", {"spec_version"}),
        ("x-custom", "2.0", set()),
        ("location", "2.0", set()),
    ],
)
def test_required_properties(of_type: str, spec_version: str, own: set[str]) -> None:
    assert required_properties(of_type, spec_version) == EVERY | own

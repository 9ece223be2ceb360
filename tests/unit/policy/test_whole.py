"""What the examples of a policy take for vital is what is vital in stored objects."""

from __future__ import annotations

import pytest

from taxii_server.policy import whole
from taxii_server.stix.kinds import OBSERVABLE_TYPES
from taxii_server.stix.schema import required_properties
from taxii_server.stix.whole import fixed_properties, is_never_cut

TYPES = sorted(whole._REQUIRED)


@pytest.mark.parametrize("type_", TYPES)
def test_the_policy_and_the_schema_agree_what_a_type_needs(type_: str) -> None:
    names = required_properties(type_, "2.1") | whole._REQUIRED[type_] | {"description", "labels", "x_other"}
    value = {**dict.fromkeys(names, ""), "type": type_}
    fixed = fixed_properties(value, "2.1")
    assert {name for name in value if whole.is_required(type_, name)} == set(fixed)


def test_no_copy_is_made_of_the_same_types() -> None:
    assert not whole.WHOLE_TYPES & set(TYPES)
    for type_ in whole.WHOLE_TYPES:
        assert is_never_cut({"type": type_, "created": "", "modified": ""})
    assert OBSERVABLE_TYPES <= whole.WHOLE_TYPES
    assert not any(is_never_cut({"type": type_, "created": "", "modified": ""}) for type_ in TYPES)

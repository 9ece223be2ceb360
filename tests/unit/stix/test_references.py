"""Which references hide an object, and which could be taken out of it."""

from __future__ import annotations

from typing import Any

import pytest

from taxii_server.stix.references import mentions, read_references, reference_lists


def _id(type_: str, digit: int) -> str:
    return f"{type_}--{digit:08x}-0000-4000-8000-000000000000"


A, B, C = _id("indicator", 1), _id("malware", 2), _id("report", 3)
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]] = {
    "relationship": ({"type": "relationship", "source_ref": B, "target_ref": A}, (A, B), ()),
    "sighting": (
        {"type": "sighting", "sighting_of_ref": A, "where_sighted_refs": [C, B], "observed_data_refs": [B]},
        (A,),
        (B, C),
    ),
    "report": ({"type": "report", "object_refs": [B, A, B]}, (), (A, B)),
    "note": ({"type": "note", "object_refs": [B, A]}, (A, B), ()),
    "opinion": ({"type": "opinion", "object_refs": [A]}, (A,), ()),
    "translation": ({"type": "language-content", "object_ref": A, "contents": {"de": {"name": B}}}, (A,), ()),
    "observable": ({"type": "file", "contains_refs": [B], "parent_directory_ref": A}, (A, B), ()),
    "custom observable": (
        {"type": "x-a", "x_refs": [B], "extensions": {"e": {"extension_type": "new-sco"}}},
        (B,),
        (),
    ),
    "a listed and a single reference to one id": ({"type": "x-a", "a_ref": A, "b_refs": [A, B]}, (A,), (B,)),
    "creators and markings": (
        {
            "type": "x-a",
            "created_by_ref": _id("identity", 4),
            "x_mitre_modified_by_ref": _id("identity", 5),
            "object_marking_refs": [_id("marking-definition", 6)],
            "granular_markings": [{"marking_ref": _id("marking-definition", 7), "selectors": ["type"]}],
            "external_references": [{"source_name": "a", "x_ref": A}],
        },
        (),
        (),
    ),
    "a list of objects": ({"type": "x-mitre-collection", "x_mitre_contents": [{"object_ref": A}]}, (), (A,)),
    "inside an extension": ({"type": "x-a", "extensions": {"e": {"a_ref": A, "b_refs": [B]}}}, (A,), (B,)),
    "local keys of STIX 2.0": ({"type": "observed-data", "objects": {"0": {"src_ref": "1", "a_refs": ["2"]}}}, (), ()),
    "other names": ({"type": "x-a", "ref": A, "refs": [A], "name": A, "x_reference": A}, (), ()),
    "other values": ({"type": "x-a", "a_ref": None, "b_refs": {"c_ref": A}, "d_refs": [None, [B], 5]}, (A,), (B,)),
    "an upper-case UUID": ({"type": "x-a", "a_ref": "indicator--0000000A-0000-4000-8000-00000000000A"},
                           ("indicator--0000000a-0000-4000-8000-00000000000a",), ()),
    "itself": ({"type": "report", "id": C, "object_refs": [C, A], "a_ref": C}, (), (A,)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_references(name: str) -> None:
    value, hard, soft = CASES[name]
    assert read_references(value) == (hard, soft)


@pytest.mark.parametrize("name", CASES)
def test_mentions_finds_the_same_references(name: str) -> None:
    value, hard, soft = CASES[name]
    for ref in (A, B, _id("marking-definition", 6), _id("marking-definition", 7), _id("identity", 4)):
        assert mentions(value, frozenset({ref, _id("indicator", 99)})) == (ref in hard + soft)
    assert not mentions(value, frozenset())


def test_reference_lists_at_any_depth() -> None:
    value = {
        "a_refs": [A],
        "b_ref": [A],
        "c": [{"d_refs": [[B], {"e_refs": [C], "f": [C]}]}, 1],
        "g_refs": {"h": [A]},
        "made_by_refs": [A],
        "object_marking_refs": [A],
        "external_references": [{"i_refs": [A]}],
    }
    assert list(reference_lists(value)) == [
        (("a_refs",), [A]),
        (("c", 0, "d_refs"), value["c"][0]["d_refs"]),  # type: ignore[index]
        (("c", 0, "d_refs", 0), [B]),
        (("c", 0, "d_refs", 1, "e_refs"), [C]),
    ]

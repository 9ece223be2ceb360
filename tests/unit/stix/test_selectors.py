"""Selectors of granular markings, with the examples of STIX 2.1, section 7.2.3.1."""

from __future__ import annotations

import pytest

from taxii_server.stix.selectors import path_of, resolves, selector_of

VALUE = {
    "id": "vulnerability--ee916c28-c7a4-4d0d-ad56-a8d357f89fef",
    "name": "CVE-2014-0160",
    "external_references": [{"source_name": "cve", "external_id": "CVE-2014-0160"}],
    "labels": ["heartbleed", "has-logo"],
    "extensions": {"archive-ext": {"comment": None}},
    "hashes": {"SHA-256": "a"},
    "[0]": 1,
    "": {"": 1},
}


@pytest.mark.parametrize(
    "selector",
    [
        "id",
        "name",
        "external_references",
        "external_references.[0]",
        "external_references.[0].source_name",
        "labels.[1]",
        "extensions.archive-ext.comment",
        "hashes.SHA-256",
        "[0]",
        ".",
    ],
)
def test_resolves(selector: str) -> None:
    assert resolves(selector, VALUE)


@pytest.mark.parametrize(
    "selector",
    [
        "title",
        "labels.[2]",
        "labels.[-1]",
        "labels.[01]",
        "labels.1",
        "labels.[]",
        "labels[0]",
        "labels.[0].x",
        "labels.[" + "9" * 5000 + "]",
        "labels.[\u0661]",
        "external_references.source_name",
        "external_references.[0].url",
        "external_references.[0]source_name",
        "name.[0]",
        "name.0",
        "id.",
        ".id",
        "..",
        "[1]",
    ],
)
def test_does_not_resolve(selector: str) -> None:
    assert not resolves(selector, VALUE)


def test_a_path_tells_items_of_lists_from_members_of_objects() -> None:
    assert path_of("external_references.[0].source_name", VALUE) == ("external_references", 0, "source_name")
    assert path_of("[0]", VALUE) == ("[0]",)
    assert path_of("labels.[2]", VALUE) is None
    assert selector_of(("external_references", 0, "source_name")) == "external_references.[0].source_name"

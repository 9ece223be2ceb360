"""Objects of many kinds, each of which a hub has to carry unchanged."""

from __future__ import annotations

from typing import Any

from tests.world import indicator, malware, relationship

TLP_GREEN = "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"
IDENTITY = "identity--023d105b-752e-4e3c-941c-7d3f3cb15e9e"
TWIN = "indicator--5c0f1b2e-43a0-4b7e-9d8e-4b1a0a0f9c11"
REVOKED = "indicator--0f0d8b7e-2c1f-4b2b-9a9b-0d2a6b1c7e55"
MALWARE = "malware--fd85d8a1-6e9b-4f0e-ae16-fde90b4b7ec6"
IPV4 = "ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4"
STATEMENT = "marking-definition--34a9a9ea-3b1f-4c59-8c9e-1ec5ad7b0a11"


def observable(id_: str = IPV4, value: str = "198.51.100.3", **more: Any) -> dict[str, Any]:
    """A valid STIX 2.1 observable: neither created nor modified."""
    return {"type": "ipv4-addr", "spec_version": "2.1", "id": id_, "value": value, **more}


def statement(id_: str = STATEMENT, **more: Any) -> dict[str, Any]:
    """A valid STIX 2.1 marking-definition: created, but never modified."""
    return {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": id_,
        "created": "2019-05-05T05:05:05.500Z",
        "definition_type": "statement",
        "definition": {"statement": "Copyright 2026, Example Corp"},
        **more,
    }


def old_form(id_: str = TWIN, modified: str = "2020-01-01T00:00:00.000Z", **more: Any) -> dict[str, Any]:
    """A valid STIX 2.0 indicator, which has no spec_version."""
    return {
        "type": "indicator",
        "id": id_,
        "created": "2018-01-01T00:00:00.000Z",
        "modified": modified,
        "labels": ["malicious-activity"],
        "pattern": "[url:value = 'http://x4z9arb.cn/4712/']",
        "valid_from": "2018-01-01T00:00:00Z",
        **more,
    }


def identity(id_: str = IDENTITY, **more: Any) -> dict[str, Any]:
    """A valid STIX 2.1 identity."""
    times = {"created": "2019-01-01T00:00:00.000Z", "modified": "2019-01-01T00:00:00.000Z"}
    return {"type": "identity", "spec_version": "2.1", "id": id_, **times, "name": "ACME", **more}


#: 4-byte characters, right to left, a combining accent, and a separator that JavaScript once took for a line end.
TEXT = '\U0001f480 \u05e9\u05dc\u05d5\u05dd e\u0301 \u2028 \u4e2d "quoted" \\ / \x7f'

_TIMES = {"created": "2019-02-02T00:00:00.000Z", "modified": "2019-02-02T00:00:00.000Z"}
MIX: list[dict[str, Any]] = [
    indicator("indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f", name=TEXT, x_acme_score=0.1, x_acme_list=[1, [2]]),
    malware(MALWARE),
    relationship("indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f", MALWARE,
                 "relationship--44298a74-ba52-4f0c-87a3-1824e67d7fad"),
    identity(object_marking_refs=[STATEMENT]),
    {"type": "report", "spec_version": "2.1", "id": "report--84e4d88f-44ea-4bcd-bbf3-b2c1c320bcb3", **_TIMES,
     "name": "Report", "published": "2019-02-02T00:00:00Z", "object_refs": [MALWARE]},
    observable(),
    {"type": "file", "spec_version": "2.1", "id": "file--73c4cd13-7206-5100-88ef-822c42d3f02c",
     "hashes": {"SHA-256": "6db12788c37247f2316052e142f42f4b259d6561751e5f401a1ae2a6df9c674b"}},
    statement(),
    {"type": "language-content", "spec_version": "2.1",
     "id": "language-content--b86bd89f-98bb-4fa9-8cb2-9ad421da981d", **_TIMES, "object_ref": MALWARE,
     "object_modified": "2020-01-01T00:00:00.000Z", "contents": {"de": {"name": "Giftefeu"}}},
    {"type": "extension-definition", "spec_version": "2.1",
     "id": "extension-definition--9c59fd79-4215-4ba2-920d-3e4f320e1e62", **_TIMES, "created_by_ref": IDENTITY,
     "name": "New", "schema": "https://example.com/schema.json", "version": "1.0.0",
     "extension_types": ["property-extension"]},
    {"type": "x-acme-thing", "spec_version": "2.1", "id": "x-acme-thing--d9a5bd0c-6e3e-4a1f-8c2a-1f0c6b2d9e11",
     **_TIMES, "anything": {"deep": [True, None, 1.5, "x"]}},
    old_form(TWIN, name="twin in 2.0"),
    indicator(TWIN, name="twin in 2.1"),
    indicator(REVOKED, "2020-01-01T00:00:00.000Z", name="valid"),
    indicator(REVOKED, "2021-01-01T00:00:00.000Z", name="revoked", revoked=True),
]  # fmt: skip

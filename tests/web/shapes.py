"""What an answer may look like: one closed shape per TAXII resource, and `inspect`, which every answer passes.

A shape names every key with a check of its value. A key that no shape names, a missing required one, a null and an
empty list are faults wherever they occur, so no test has to look for them.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from werkzeug.test import TestResponse

from tests.web.described import faults
from tests.world import FIRST, LAST, MT

Check = Callable[[Any], bool]

TS6 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_URL = re.compile(r"(?:https://[^/?#]+)?/[^/?#]+/")
_MEDIA_TYPE = re.compile(r"application/stix\+json;version=2\.[01]")
_CUSTOM = re.compile(r"x_[a-z0-9_]{1,248}")


def is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def is_like(pattern: re.Pattern[str]) -> Check:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def is_list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and bool(value) and all(check(each) for each in value)


@dataclass(frozen=True)
class Shape:
    """The keys of a resource, each with the check of its value."""

    required: Mapping[str, Check] = field(default_factory=dict)
    optional: Mapping[str, Check] = field(default_factory=dict)

    def faults(self, value: Any) -> list[str]:
        """What is wrong with a value; empty when it is of this shape."""
        if not isinstance(value, dict):
            return ["not an object"]
        known = {**self.required, **self.optional}
        return (
            [f"lacks {key}" for key in self.required if key not in value]
            + [f"unknown key {key}" for key in value if key not in known and not _CUSTOM.fullmatch(key)]
            + [f"{key} is {value[key]!r}" for key in value if key in known and not known[key](value[key])]
        )

    def __call__(self, value: Any) -> bool:
        return not self.faults(value)


def is_stix(value: Any) -> bool:
    """A STIX object, not a bundle, with nothing of the store in it."""
    return (
        isinstance(value, dict)
        and is_text(value.get("id"))
        and is_text(value.get("type"))
        and value["type"] != "bundle"
        and not any(key.startswith("_") for key in value)
    )


_PAGED = {"more": lambda value: value is True, "next": is_like(re.compile(r"[A-Za-z0-9_-]{1,511}"))}
_DETAILS = Shape({"id": is_text, "version": lambda value: isinstance(value, str)}, {"message": is_text})
_COLLECTION = Shape(
    {"id": is_like(UUID4), "title": is_text, "can_read": is_flag, "can_write": is_flag},
    {"description": is_text, "alias": is_text, "media_types": is_list_of(is_like(_MEDIA_TYPE))},
)
_MANIFEST_RECORD = Shape(
    {"id": is_text, "date_added": is_like(TS6), "version": is_text}, {"media_type": is_like(_MEDIA_TYPE)}
)
_QUARANTINED = Shape(
    {
        "id": is_like(UUID4),
        "state": lambda value: value in ("held", "released", "dropped"),
        "guard": is_text,
        "object_id": is_text,
        "type": is_text,
        "spec_version": is_text,
        "submitter": is_text,
        "held": is_like(TS6),
        "can_release": is_flag,
    },
    {"version": is_text, "decided": is_like(TS6), "decided_by": is_text, "object": is_stix},
)
_RELEASE = Shape(
    {
        "id": is_text,
        "objects": is_list_of(is_text),
        "to": Shape({}, {"audience": is_list_of(is_text), "group": is_list_of(is_text)}),
        "can_withdraw": is_flag,
    },
    {"not_before": is_like(TS6), "until": is_like(TS6), "why": is_text},
)
_OWN_ROOT = Shape(
    {
        "url": is_like(_URL),
        "title": is_text,
        "releases": is_text,
        "collections": is_list_of(
            Shape(
                {"id": is_like(UUID4), "title": is_text, "can_read": is_flag, "can_write": is_flag}, {"alias": is_text}
            )
        ),
    },
)
SHAPES = {
    "quarantine": Shape({}, {**_PAGED, "quarantine": is_list_of(_QUARANTINED)}),
    "quarantine-entry": _QUARANTINED,
    "release": _RELEASE,
    "releases": Shape({}, {"releases": is_list_of(_RELEASE)}),
    "rights": Shape(
        {"name": is_text, "suspended": is_flag},
        {
            "title": is_text,
            "kind": is_text,
            "clearance": is_text,
            "countries": is_list_of(is_text),
            "sector": is_text,
            "groups": is_list_of(is_text),
            "attributes": lambda value: bool(value) and all(map(is_list_of(is_text), value.values())),
            "identities": is_list_of(is_text),
            "admin": lambda value: value is True,
            "credential": Shape(
                {"id": is_text, "scheme": is_text}, {"kind": is_text, "created": is_text, "comment": is_text}
            ),
            "api_roots": is_list_of(_OWN_ROOT),
            "markings": is_list_of(Shape({"id": is_text, "name": is_text, "readable": is_flag}, {"reason": is_text})),
        },
    ),
    "discovery": Shape(
        {"title": is_text},
        {
            "description": is_text,
            "contact": is_text,
            "default": is_text,
            "api_roots": is_list_of(is_like(_URL)),
        },
    ),
    "api-root": Shape(
        {
            "title": is_text,
            "versions": is_list_of(is_like(re.compile(r"application/taxii\+json;version=\d+\.\d+"))),
            "max_content_length": lambda value: is_count(value) and value > 0,
        },
        {"description": is_text},
    ),
    "status": Shape(
        {
            "id": is_like(UUID4),
            "status": lambda value: value in ("complete", "pending"),
            "total_count": is_count,
            "success_count": is_count,
            "failure_count": is_count,
            "pending_count": is_count,
        },
        {
            "request_timestamp": is_like(TS6),
            "successes": is_list_of(_DETAILS),
            "failures": is_list_of(_DETAILS),
            "pendings": is_list_of(_DETAILS),
        },
    ),
    "collections": Shape({}, {"collections": is_list_of(_COLLECTION)}),
    "collection": _COLLECTION,
    "manifest": Shape({}, {**_PAGED, "objects": is_list_of(_MANIFEST_RECORD)}),
    "envelope": Shape({}, {**_PAGED, "objects": is_list_of(is_stix)}),
    "versions": Shape({}, {**_PAGED, "versions": is_list_of(is_text)}),
    "error": Shape(
        {"title": is_text},
        {
            "description": is_text,
            "error_id": is_text,
            "error_code": is_text,
            "http_status": is_like(re.compile(r"[45]\d\d")),
            "external_details": is_text,
            "details": lambda value: isinstance(value, dict),
        },
    ),
}

#: Method and path -> the shape of a success, and whether it carries the date headers.
_ENDPOINTS = [
    ("GET", r"/taxii2/", "discovery", False),
    ("GET", r"/[^/]+/status/[^/]+/", "status", False),
    ("GET", r"/[^/]+/collections/", "collections", False),
    ("GET", r"/[^/]+/collections/[^/]+/", "collection", False),
    ("GET", r"/[^/]+/collections/[^/]+/manifest/", "manifest", True),
    ("GET", r"/[^/]+/collections/[^/]+/objects/", "envelope", True),
    ("POST", r"/[^/]+/collections/[^/]+/objects/", "status", False),
    ("GET", r"/[^/]+/collections/[^/]+/objects/[^/]+/", "envelope", True),
    ("DELETE", r"/[^/]+/collections/[^/]+/objects/[^/]+/", None, False),
    ("GET", r"/[^/]+/collections/[^/]+/objects/[^/]+/versions/", "versions", True),
    ("GET", r"/taxii2/rights/", "rights", False),
    ("GET", r"/[^/]+/releases/", "releases", False),
    ("POST", r"/[^/]+/releases/", "release", False),
    ("GET", r"/[^/]+/releases/[^/]+/", "release", False),
    ("DELETE", r"/[^/]+/releases/[^/]+/", None, False),
    ("GET", r"/[^/]+/collections/[^/]+/quarantine/", "quarantine", False),
    ("GET", r"/[^/]+/collections/[^/]+/quarantine/[^/]+/", "quarantine-entry", False),
    ("POST", r"/[^/]+/collections/[^/]+/quarantine/[^/]+/release/", "quarantine-entry", False),
    ("DELETE", r"/[^/]+/collections/[^/]+/quarantine/[^/]+/", None, False),
    ("GET", r"/[^/]+/", "api-root", False),
]


def inspect(method: str, path: str, answer: TestResponse) -> None:
    """Hold an answer to what is true of all answers: the description, media type, shape, date headers, caching."""
    assert not faults(method, path, answer), f"{method} {path}: {faults(method, path, answer)}"
    if path.startswith(("/healthz", "/livez", "/readyz")) and answer.status_code != 405:
        return
    if path == "/taxii2/openapi.json" and answer.status_code == 200:
        return
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert {"Accept", "Authorization"} <= set(answer.headers["Vary"].replace(" ", "").split(","))
    if method == "OPTIONS" and answer.status_code == 204:
        assert not answer.data
        assert "Content-Type" not in answer.headers
        return
    if answer.status_code == 304:  # HTTP has no Content-Type here
        assert method in ("GET", "HEAD")
        assert not answer.data
        assert answer.headers[FIRST] <= answer.headers[LAST]
        assert answer.headers["ETag"]
        return
    assert answer.headers["Content-Type"] == MT, answer.headers["Content-Type"]
    dated = False
    if method == "HEAD" or (method == "DELETE" and answer.status_code == 200):
        assert not answer.data
    if answer.status_code >= 400:
        _inspect_error(method, answer)
    else:
        shape, dated = _expected(method, path, answer.status_code)
        if answer.data:
            assert shape is not None, f"{method} {path} has no body"
            body = body_of(answer)
            assert not SHAPES[shape].faults(body), SHAPES[shape].faults(body)
            _inspect_paging(body)
    for name in (FIRST, LAST):
        assert (name in answer.headers) == dated, f"{name} on {method} {path} {answer.status}"
    if dated:
        assert TS6.fullmatch(answer.headers[FIRST])
        assert TS6.fullmatch(answer.headers[LAST])
        assert answer.headers[FIRST] <= answer.headers[LAST]


def body_of(answer: TestResponse) -> Any:
    """The JSON of a body, whatever its Content-Encoding; UTF-8 without a byte order mark."""
    raw = gzip.decompress(answer.data) if answer.headers.get("Content-Encoding") == "gzip" else answer.data
    assert raw[:1] == b"{"
    return json.loads(raw.decode("utf-8"))


def _expected(method: str, path: str, status: int) -> tuple[str | None, bool]:
    bare = path.partition("?")[0]
    for known, pattern, shape, dated in _ENDPOINTS:
        if known == method.replace("HEAD", "GET") and re.fullmatch(pattern, bare):
            assert status == (
                {"release": 201, "quarantine-entry": 200}.get(shape or "", 202) if method == "POST" else 200
            )
            return shape, dated
    raise AssertionError(f"{method} {path} is no TAXII endpoint, yet it answers {status}")


def _inspect_error(method: str, answer: TestResponse) -> None:
    if method == "HEAD":
        return
    body = body_of(answer)
    assert not SHAPES["error"].faults(body), SHAPES["error"].faults(body)
    assert body["http_status"] == str(answer.status_code)
    assert "Traceback" not in answer.text
    assert ".py" not in answer.text
    if answer.status_code == 401:
        assert answer.headers.get("WWW-Authenticate")


def _inspect_paging(body: dict[str, Any]) -> None:
    # More to come without a `next`, a `next` on the last page, an empty page with more: each of them
    # sends some client into an endless loop or makes it stop early.
    assert ("next" in body) == ("more" in body)
    if "more" in body:
        assert "objects" in body or "versions" in body or "quarantine" in body

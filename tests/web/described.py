"""Whether an answer is one that the description of the interface (OpenAPI) allows for its request."""

from __future__ import annotations

import gzip
import re
from functools import cache
from typing import Any

import jsonschema_rs
import orjson
from werkzeug.test import TestResponse

from taxii_server.web.openapi import describe

METHODS = ("get", "head", "post", "delete", "options")


@cache
def document() -> dict[str, Any]:
    return describe()


def operations() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Every operation by its id: path, method, and what is said of it."""
    return {
        path[method]["operationId"]: (url, method.upper(), path[method])
        for url, path in document()["paths"].items()
        for method in METHODS
        if method in path
    }


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """What a reference leads to, or the part itself."""
    if "$ref" not in part:
        return part
    found: Any = document()
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return dict(found)


@cache
def _patterns() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    """The paths as patterns, those without parameters first."""
    ordered = sorted(document()["paths"].items(), key=lambda each: each[0].count("{"))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", url)), path) for url, path in ordered]


@cache
def _validator(schema: bytes) -> jsonschema_rs.Draft202012Validator:
    whole = {**orjson.loads(schema), "components": {"schemas": document()["components"]["schemas"]}}
    return jsonschema_rs.Draft202012Validator(whole)


def faults(method: str, path: str, answer: TestResponse) -> list[str]:
    """What about this answer is not in the description."""
    bare = path.partition("?")[0]
    found = next((each for pattern, each in _patterns() if pattern.fullmatch(bare)), None)
    if found is None or method.lower() not in found:
        allowed = (401, 404, 405) if found is not None else (401, 404)
        return [] if answer.status_code in allowed else [f"{method} {path} is not described, yet {answer.status}"]
    operation = found[method.lower()]
    said = operation["responses"].get(str(answer.status_code))
    if said is None:
        return [f"{operation['operationId']} does not say {answer.status_code}"]
    said = resolved(said)
    wrong = []
    for name, header in said.get("headers", {}).items():
        header = resolved(header)
        values = answer.headers.getlist(name)
        if header.get("required") and not values:
            wrong.append(f"lacks the header {name}")
        wrong += [f"{name}: {value}" for value in values if not _validates(header["schema"], value)]
    content = said.get("content", {})
    if method == "HEAD" or not content:
        return wrong + (["has a body"] if answer.data else [])
    if answer.content_type.replace("; charset=utf-8", "") not in content:
        return [*wrong, f"is {answer.content_type}"]
    schema = next(iter(content.values()))["schema"]
    raw = gzip.decompress(answer.data) if answer.headers.get("Content-Encoding") == "gzip" else answer.data
    body = orjson.loads(raw) if "json" in answer.content_type else raw.decode()
    validator = _validator(orjson.dumps(schema))
    return wrong + [f"{error.instance_path}: {error.message[:300]}" for error in validator.iter_errors(body)]


def _validates(schema: dict[str, Any], value: str) -> bool:
    return bool(_validator(orjson.dumps(schema)).is_valid(value))

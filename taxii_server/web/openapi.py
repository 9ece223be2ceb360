"""The description of the whole HTTP interface (OpenAPI 3.1): openapi.json beside this module, written by hand.

What is the same everywhere is not repeated in the file but added here: HEAD beside every GET, OPTIONS at every URL,
the headers of every answer, and the refusals that any request can meet before it is looked at.

Why it needs credentials: it holds no secret, but a stranger learns nothing of this server but that it is there.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import orjson
from flask import Blueprint, Response

blueprint = Blueprint("openapi", __name__)

URL = "/taxii2/openapi.json"
_METHODS = ("get", "post", "delete")
#: Headers of every answer of a URL that asks for credentials (app.py).
EVERYWHERE = {"Vary": "Vary", "Cache-Control": "CacheControl", "X-Content-Type-Options": "NoSniff"}

#: What may answer any request: status -> response; the second only where credentials are asked for.
OF_ANY_HEAD = {"414": "UrlTooLong", "431": "HeadersTooLarge"}
OF_ANY_SENDER = {"403": "Forbidden", "429": "TooManyRequests"}


@blueprint.get(URL)
def get_description() -> Response:
    """The description, the same for everybody. JSON for tools, so no Accept header is refused."""
    return Response(_text(), content_type="application/json")


@cache
def _text() -> bytes:
    return orjson.dumps(describe())


def describe() -> dict[str, Any]:
    """The OpenAPI document: the file, and what is added to it. A new one each time."""
    document: dict[str, Any] = orjson.loads(resources.files(__package__).joinpath("openapi.json").read_bytes())
    shared = document["components"]["responses"]
    for path in document["paths"].values():
        operations = [path[method] for method in _METHODS if method in path]
        for operation in operations:
            operation["responses"] = dict(sorted((_anywhere(operation) | operation["responses"]).items()))
        answers = [answer for operation in operations for answer in operation["responses"].values()]
        for answer in answers:
            if "$ref" not in answer:
                _add_headers(answer)
    for answer in shared.values():
        _add_headers(answer)
    for path in document["paths"].values():
        path["options"] = _options(next(path[method] for method in _METHODS if method in path))
        if "get" in path:
            path["head"] = _head(path["get"], shared)
    return document


def _anywhere(operation: dict[str, Any]) -> dict[str, Any]:
    found = OF_ANY_HEAD if "security" in operation else OF_ANY_HEAD | OF_ANY_SENDER
    return {status: {"$ref": f"#/components/responses/{name}"} for status, name in found.items()}


def _add_headers(answer: dict[str, Any]) -> None:
    names = EVERYWHERE | ({"Content-Encoding": "ContentEncoding"} if "content" in answer else {})
    more = {name: {"$ref": f"#/components/headers/{component}"} for name, component in names.items()}
    answer["headers"] = answer.get("headers", {}) | more


def _head(get: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """HEAD as its GET: the same answers without their bodies."""
    answers = {
        status: {key: part for key, part in _resolved(answer, shared).items() if key != "content"}
        for status, answer in get["responses"].items()
    }
    return get | {
        "operationId": f"{get['operationId']}_head",
        "summary": f"{get['summary']}: headers only",
        "description": "The status and the headers of GET, without its body.",
        "responses": answers,
    }


def _resolved(answer: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = shared[answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer
    return found


def _options(like: dict[str, Any]) -> dict[str, Any]:
    """OPTIONS at the URL of this operation: its methods, whatever the parts of the URL name."""
    methods = {"description": "No body.", "headers": {"Allow": {"$ref": "#/components/headers/Allow"}}}
    _add_headers(methods)
    is_public = "security" in like
    kept = [*OF_ANY_HEAD] if is_public else ["401", "500", "503", *OF_ANY_HEAD, *OF_ANY_SENDER]
    return {
        "operationId": f"{like['operationId']}_options",
        "tags": like["tags"],
        "summary": "The methods of this URL",
        "description": "Answered to everybody who has credentials, whatever the parts of the URL name.",
        "responses": {"204": methods} | {status: like["responses"][status] for status in kept},
    } | ({"security": []} if is_public else {})

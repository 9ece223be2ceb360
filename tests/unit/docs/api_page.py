"""docs/api.md, written from the description of the interface: `python -m tests.unit.docs.api_page > docs/api.md`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from taxii_server.web import openapi
from taxii_server.web.openapi import describe

_METHODS = ("get", "post", "delete")
_ANYWHERE = {*openapi.OF_ANY_HEAD.values(), *openapi.OF_ANY_SENDER.values()} - {"Forbidden"}
_HEAD = f"""# The HTTP interface

Written from the OpenAPI 3.1 description that the server serves at `GET {openapi.URL}`, to whoever has credentials;
the file is [openapi.json](../taxii_server/web/openapi.json). A test compares this page with it, and every answer of the
web tests with the description. Point a code generator or an API browser at it:

```sh
curl -u cert-fr:txs_... https://taxii.example.com{openapi.URL}
```

What TAXII leaves open and how it is decided: [taxii.md](taxii.md).
"""


def page() -> str:
    """The whole page."""
    return "\n".join(_lines(describe())).rstrip() + "\n"


def _lines(document: dict[str, Any]) -> Iterator[str]:
    yield _HEAD
    yield document["info"]["description"]
    yield from ("", "Every answer has these headers:", "")
    yield from _headers(document)
    yield from ("", "## Logging in", "")
    for name, scheme in document["components"]["securitySchemes"].items():
        yield f"* `{name}`: {scheme['description']}"
    yield ""
    yield from _errors(document)
    for tag in document["tags"]:
        yield f"## {tag['name']}"
        yield from ("", tag["description"], "")
        for path, item in document["paths"].items():
            for method in _METHODS:
                if method in item and item[method]["tags"] == [tag["name"]]:
                    yield from _operation(document, path, method, item)
    yield from ("## Parameters", "", "| parameter | in | meaning | example |", "|---|---|---|---|")
    for each in document["components"]["parameters"].values():
        yield f"| `{each['name']}` | {each['in']} | {each['description']} | {_example(each)} |"
    yield from ("", "## Resources", "", "Properties in **bold** are always there.", "")
    for name, schema in document["components"]["schemas"].items():
        yield from _resource(name, schema)


def _errors(document: dict[str, Any]) -> Iterator[str]:
    yield from ("## Errors", "", "Each is an [error resource](#error).", "")
    yield from ("| error_code | status | when |", "|---|---|---|")
    statuses = {
        answer["$ref"]: status
        for item in document["paths"].values()
        for method in _METHODS
        if method in item
        for status, answer in item[method]["responses"].items()
        if "$ref" in answer
    }
    for name, answer in document["components"]["responses"].items():
        if "x-error-code" in answer:
            status = statuses.get(f"#/components/responses/{name}", "405")
            yield f"| `{answer['x-error-code']}` | {status} | {answer['description']}{_named_headers(answer)} |"
    yield ""


def _operation(document: dict[str, Any], path: str, method: str, item: dict[str, Any]) -> Iterator[str]:
    operation = item[method]
    yield f"### {method.upper()} `{path}`"
    yield from ("", f"**{operation['summary']}.** {operation['description']}", "")
    parameters = [_resolved(document, each) for each in [*item.get("parameters", []), *operation.get("parameters", [])]]
    for place in ("query", "header"):
        names = [f"`{each['name']}`" for each in parameters if each["in"] == place]
        if names:
            yield f"* {place}: {', '.join(names)}"
    if "requestBody" in operation:
        body = operation["requestBody"]
        types = ", ".join(f"`{each}`" for each in body["content"])
        yield f"* body: {body['description']} {_link(next(iter(body['content'].values()))['schema'])} as {types}"
    refused = []
    for status, answer in operation["responses"].items():
        said = _resolved(document, answer)
        if answer.get("$ref", "").rpartition("/")[2] in _ANYWHERE:
            continue  # said once, at the top
        if "x-error-code" in said:
            refused.append(f"{status} `{said['x-error-code']}`")
            continue
        kinds = [_link(content["schema"]) for content in said.get("content", {}).values()]
        yield f"* {status}: {said['description']}{' ' + kinds[0] if kinds and kinds[0] else ''}{_named_headers(said)}"
    if refused:
        yield f"* refused: {', '.join(refused)}"
    yield ""


def _named_headers(answer: dict[str, Any]) -> str:
    own = [f"`{name}`" for name in answer.get("headers", {}) if name not in {*openapi.EVERYWHERE, "Content-Encoding"}]
    return f" With {', '.join(own)}." if own else ""


def _headers(document: dict[str, Any]) -> Iterator[str]:
    for name, component in (openapi.EVERYWHERE | {"Content-Encoding": "ContentEncoding"}).items():
        yield f"* `{name}`: {document['components']['headers'][component]['description']}"


def _resource(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    yield from ("", schema["description"], "")
    if "properties" in schema:
        yield from ("| property | type | meaning |", "|---|---|---|")
        for key, value in schema["properties"].items():
            shown = f"**`{key}`**" if key in schema.get("required", ()) else f"`{key}`"
            yield f"| {shown} | {_type(value)} | {value.get('description', '')} |"
        yield ""
    else:
        yield from (f"Pattern: `{schema['pattern']}`", "")
    for example in schema.get("examples", []):
        if isinstance(example, dict):
            yield from ("```json", json.dumps(example, indent=2), "```", "")


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _link(schema)
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{each}`" for each in schema["enum"])
    return {"string": "text", "boolean": "true or false", "integer": "number"}.get(schema["type"], schema["type"])


def _link(schema: dict[str, Any]) -> str:
    name = schema.get("$ref", "").rpartition("/")[2]
    return f"[{name}](#{name.lower()})" if name else ""


def _example(parameter: dict[str, Any]) -> str:
    example = parameter.get("example")
    if example is None:
        return ""
    return f"`{','.join(example) if isinstance(example, list) else example}`"


def _resolved(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in part:
        return part
    kind, name = re.findall(r"#/components/(\w+)/(\w+)", part["$ref"])[0]
    found: dict[str, Any] = orjson.loads(orjson.dumps(document["components"][kind][name]))
    return found


if __name__ == "__main__":
    print(page(), end="")
